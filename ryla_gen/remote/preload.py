"""Run one step of a family's usual workflow right after the start, so that the first request finds its weights in VRAM."""

from __future__ import annotations

import io
import logging
import uuid
from typing import Any

from ..engine import Engine
from ..errors import RylaGenError
from ..events import Event
from ..workflows.base import Workflow
from ..workflows.registry import workflow_class
from .variants import default_of

log = logging.getLogger("ryla_gen.remote")

EDGE = 512
"""Pixels of the drawn head."""


def smallest(name: str) -> Workflow:
    """Return the cheapest request that loads a workflow's weights; its pictures are a drawn head."""
    default = default_of(workflow_class(name))
    heads: dict[str, Any] = {
        key: _head() for key, kind in default.media_fields().items() if kind == "image" and getattr(default, key)
    }
    return default.changed(**default.smallest, **heads)


async def preload(engine: Engine, name: str) -> bool:
    """Run it. A failure is logged and does not fail the start: weights may be missing, or the drawn head may not pass for a face.

    Returns:
        Whether it ran to its end.
    """
    try:
        await engine.run(smallest(name), job=str(uuid.uuid4()), emit=_ignore)
    except RylaGenError as error:
        log.warning("%s was not preloaded: %s", name, error.message)
        return False
    return True


def _ignore(kind: type[Event], **fields: Any) -> None:
    """Drop an event: a preload has no caller that reads them."""


def _head() -> bytes:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (EDGE, EDGE), "#607080")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((140, 80, 372, 440), fill="#e0b898")
    for x in (205, 307):
        draw.ellipse((x - 18, 215, x + 18, 237), fill="#202020")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
