"""Read the graph from whatever holds one: a JSON file, a saved picture or video, a workflow. Must not run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic_core import PydanticCustomError

from .. import media
from ..errors import InvalidInputError
from ..media.base import VIDEO_LIMIT_BYTES, sniff_media_type
from ..models.node_schemas import node_schemas
from ..support.shell_words import path_word
from .api_format import checked_nodes, unwrap
from .converting import convert
from .graph import Graph
from .graph_file import HINT, LIMIT_BYTES, graph_texts, parse, parse_inside, read_bytes
from .ui import is_ui

LOCK_SUFFIX = ".lock"
"""What the name of a lock's file ends with."""


@runtime_checkable
class Builds(Protocol):
    """Anything that builds a graph, as every workflow does."""

    def build(self) -> Graph:
        """Return the graph."""


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
        return _read_embedded(path, with_picture)
    try:
        return recognise(parse(read_bytes(path, LIMIT_BYTES), str(path)))
    except InvalidInputError:
        if str(path).endswith(LOCK_SUFFIX):
            word = path_word(str(path))
            hint = f"Run it: ryla-gen run {word}. Its inputs: ryla-gen run {word} --help"
            raise InvalidInputError(f"{path} is a lock, which is more than a graph.", hint) from None
        raise


def recognise(data: Any) -> Found:
    """Detect which of the two formats a graph is in, and check the API format's form.

    Raises:
        InvalidInputError: it is neither.

    """
    if not isinstance(data, dict):
        raise InvalidInputError(f"Must be a dictionary of nodes, not {type(data).__name__}.", HINT)
    data = unwrap(data)
    if is_ui(data):
        return Found("ui", data)
    try:
        return Found("api", checked_nodes(data))
    except PydanticCustomError as error:
        raise InvalidInputError(f"{error.message()}.".replace("..", "."), HINT) from None


def _read_embedded(path: str | PathLike[str], data: bytes) -> Found:
    """Find the graph that a saved picture or video carries: the one that ran, else the drawing beside it."""
    texts = graph_texts(media.read_metadata(data))
    failed: InvalidInputError | None = None
    for name in ("prompt", "workflow"):
        if name in texts:
            try:
                return recognise(parse_inside(texts[name], path))
            except InvalidInputError as error:
                failed = failed or error
    if failed is not None:
        raise failed
    hint = "Only files that ComfyUI or this package saved, unedited, carry their graph; messengers and editors remove it."
    raise InvalidInputError(f"{path} is a picture or video without a graph inside.", hint)


def api_of(source: Any, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the API format of anything that is, holds or builds a graph.

    Args:
        source: a graph in either format, a :class:`Graph`, a workflow, or the path of a file.
        schemas: node schemas for the UI format; the packaged ones when absent.

    Raises:
        InvalidInputError: there is no graph in it.

    """
    if isinstance(source, Graph):
        return source.to_api()
    if isinstance(source, Builds):
        return source.build().to_api()
    item = recognise(dict(source)) if isinstance(source, Mapping) else read(source)
    if item.kind == "api":
        return item.data
    return convert(item.data, node_schemas() if schemas is None else schemas, lenient=True).graph
