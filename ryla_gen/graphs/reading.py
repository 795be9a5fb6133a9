"""Finds the graph in whatever holds one: a JSON file in either format, a saved picture or video, a workflow. Runs nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from .. import media
from ..errors import InvalidInputError
from ..media.base import VIDEO_LIMIT_BYTES, sniff_media_type
from ..workflows.base import Workflow
from ..workflows.custom import checked_nodes, unwrapped
from ..workflows.graph import Graph
from ..workflows.graph_file import HINT, LIMIT_BYTES, graph_texts, parse, parse_inside, read_bytes
from ..workflows.registry import workflow_class
from ..workflows.schemas import node_schemas
from .converting import convert
from .ui import is_ui

SAMPLES: tuple[dict[str, Any], ...] = ({}, {"lora_id": "character"}, {"image": b""}, {"video": b""})
"""What a workflow needs beside its required fields before it can build a graph to look at."""


@dataclass(frozen=True, slots=True)
class Found:
    """A graph, and how it was found."""

    kind: Literal["api", "ui"]
    data: dict[str, Any] = field(repr=False)
    """The graph in the API format, or the drawing in the UI format."""


def read(path: str | PathLike[str]) -> Found:
    """Read the graph in a file: JSON in either format, or a picture or video that carries its graph.

    Raises:
        InvalidInputError: the file cannot be read, or holds no graph.

    """
    with_picture = read_bytes(path, VIDEO_LIMIT_BYTES)
    if sniff_media_type(with_picture):
        return _embedded(path, with_picture)
    return found(parse(read_bytes(path, LIMIT_BYTES), str(path)))


def found(data: Any) -> Found:
    """Tell the two formats apart, and check the API format's form.

    Raises:
        InvalidInputError: it is neither.

    """
    if not isinstance(data, dict):
        raise InvalidInputError(f"Must be a dictionary of nodes, not {type(data).__name__}.", HINT)
    data = unwrapped(data)
    if is_ui(data):
        return Found("ui", data)
    try:
        return Found("api", checked_nodes(data))
    except PydanticCustomError as error:
        raise InvalidInputError(f"{error.message()}.".replace("..", "."), HINT) from None


def _embedded(path: str | PathLike[str], data: bytes) -> Found:
    """The graph that a saved picture or video carries: what ran, else the drawing beside it."""
    texts = graph_texts(media.read_metadata(data))
    failed: InvalidInputError | None = None
    for name in ("prompt", "workflow"):
        if name in texts:
            try:
                return found(parse_inside(texts[name], path))
            except InvalidInputError as error:
                failed = failed or error
    if failed is not None:
        raise failed
    hint = "Only files that ComfyUI or this package saved, unedited, carry their graph; messengers and editors remove it."
    raise InvalidInputError(f"{path} is a picture or video without a graph inside.", hint)


def preview_of(name: str) -> dict[str, Any]:
    """Build a workflow's graph from its defaults, to look at.

    Raises:
        InvalidInputError: there is no such workflow, or it cannot be built without the caller's values.

    """
    cls = workflow_class(name)
    known = {"prompt": "a lighthouse at dusk", **dict.fromkeys(cls.media_fields(), b"")}
    needed = {field: known[field] for field, info in cls.model_fields.items() if info.is_required() and field in known}
    for extra in SAMPLES:
        if set(extra) <= set(cls.model_fields):
            try:
                return cls.from_plain({**needed, **extra}, trusted=True).build().to_api()
            except (InvalidInputError, NotImplementedError):
                continue
    text = f"The workflow {name} cannot be shown without values of its own."
    raise InvalidInputError(text, "Save its graph and show that: ryla-gen graph draw graph_api.json")


def api_of(source: Any, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the API format of anything that is, holds or builds a graph.

    Args:
        source: a graph in either format, a :class:`Graph`, a workflow, the name of a workflow, or the path of a file.
        schemas: node schemas for the UI format; the packaged ones when absent.

    Raises:
        InvalidInputError: there is no graph in it.

    """
    if isinstance(source, Workflow):
        return source.build().to_api()
    if isinstance(source, Graph):
        return source.to_api()
    if isinstance(source, Mapping):
        item = found(dict(source))
    elif isinstance(source, str) and not Path(source).suffix and not os.path.isfile(source):  # noqa: PTH113 - Path's raises for odd names
        return preview_of(source)
    else:
        item = read(source)
    if item.kind == "api":
        return item.data
    return convert(item.data, node_schemas() if schemas is None else schemas, lenient=True).graph
