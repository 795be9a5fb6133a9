"""Save what a job made, and show it: files under our own names, and pictures small enough for a model. Knows no call."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_types import ContentBlock, ImageContent, TextContent

from ... import media
from ...errors import InvalidInputError
from ...media.frames import frames_of
from ...media.images import open_picture
from ...results import Generation, Output
from ...results.provenance import ran_emulated

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SIDE, THUMBNAIL_SIDE = 1024, 256
"""Pixels of a shown picture, and of one of many: models look at no more."""
MOST_BYTES = 500_000
"""Of one shown picture, encoded; hosts refuse results of about a megabyte, and base64 adds a third."""
MOST_SHOWN = 4
"""Pictures of one result that are shown, each then with its share of the bytes; all of them are saved."""
LONGEST_TEXT = 20_000
"""Characters of a text output that are shown."""
QUALITIES = (85, 70, 50)


def shown(data: bytes, side: int = LONGEST_SIDE, most: int = MOST_BYTES) -> ImageContent:
    """Return a picture, or the first frame of a video, scaled down for a model.

    Raises:
        InvalidInputError: it cannot be decoded.

    """
    kind = media.sniff_media_type(data) or ""
    picture = frames_of(data, 1)[0] if kind.startswith("video/") else _decoded(data)
    found, media_type = _encoded(picture, side, most)
    return ImageContent(type="image", data=base64.b64encode(found).decode(), mime_type=media_type)


def _decoded(data: bytes) -> Image:
    with open_picture(data) as opened:
        try:
            opened.load()
        except Exception as error:  # decoders raise anything on a broken file
            raise InvalidInputError(f"The picture cannot be decoded: {error}.", "Open its file to check it.") from None
        return opened.copy()


def _encoded(picture: Image, side: int, most: int) -> tuple[bytes, str]:
    """Encode as JPEG, or as PNG where something is transparent, ever smaller until it fits."""
    clear = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    picture = picture.convert("RGBA" if clear else "RGB")
    while True:
        picture.thumbnail((side, side))
        for quality in (None,) if clear else QUALITIES:
            buffer = io.BytesIO()
            picture.save(buffer, "PNG" if clear else "JPEG", **({"quality": quality} if quality else {}))
            if buffer.tell() <= most or side <= 64:
                return buffer.getvalue(), "image/png" if clear else "image/jpeg"
        side = side * 3 // 4


def save_outputs(generation: Generation, folder: Path) -> list[Path | None]:
    """Write the files of a job under names of our own, and return their paths; None for what was uploaded and is not here.

    What an earlier call wrote stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Path | None] = []
    for index, item in enumerate(generation.outputs):
        path = folder / f"{generation.workflow.name}-{generation.job}-{index}{item.suffix}"
        found.append(None if item.url else path if path.is_file() else item.save(path))
    return found


async def content_of(generation: Generation) -> list[ContentBlock]:
    """Return what a model sees of a result: pictures, a frame of a video, texts."""
    return await asyncio.to_thread(lambda: list(_blocks(generation.outputs)))


def _blocks(outputs: Sequence[Output]) -> Iterator[ContentBlock]:
    seen = [item for item in outputs if item.kind in ("image", "video") and not item.url][:MOST_SHOWN]
    for item in outputs:
        if item.kind == "text":
            yield TextContent(type="text", text=(item.text or "")[:LONGEST_TEXT])
        elif any(item is other for other in seen):
            try:
                yield shown(item.data, most=MOST_BYTES // len(seen))
            except InvalidInputError as error:  # a file that cannot be shown is saved all the same
                yield TextContent(type="text", text=error.message)


def described(generation: Generation, paths: Sequence[Path | None]) -> dict[str, Any]:
    """Describe a result in plain data: the job, its files and what it took."""
    told: dict[str, Any] = {
        "job": generation.job,
        "state": "succeeded",
        "workflow": generation.workflow.name,
        "seed": generation.seed,
        "files": [_file(item, path) for item, path in zip(generation.outputs, paths, strict=True)],
        "seconds": round(generation.timings.total, 1),
        "usd": round(generation.cost.total_usd, 6),
    }
    told |= {"emulated": "drawn by the emulator, not made by a model"} if ran_emulated(generation) else {}
    return told | ({"warnings": [item.message for item in generation.warnings]} if generation.warnings else {})


def _file(item: Output, path: Path | None) -> dict[str, Any]:
    place = {"path": str(path), "bytes": len(item.data)} if path is not None else {"url": item.url, "bytes": item.size}
    facts = {"kind": item.kind, "media_type": item.media_type, **place}
    sizes = {name: getattr(item, name) for name in ("width", "height", "frames", "fps") if getattr(item, name) is not None}
    return {**facts, **sizes}
