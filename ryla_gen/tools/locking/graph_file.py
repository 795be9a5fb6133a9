"""Read the graph that is to be locked, with its drawing where there is one. Asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from ... import graphs, media
from ...comfy.schema import Schemas
from ...errors import InvalidInputError, WorkflowInvalidError
from ...graphs.graph_file import LIMIT_BYTES, graph_texts, parse, parse_inside, read_bytes
from ...graphs.reading import recognise
from ...graphs.tracing import running_nodes
from ...graphs.ui import is_ui, read_drawing
from ...media.base import VIDEO_LIMIT_BYTES, sniff_media_type
from .drawn_packs import ClassHint, class_hints, partner_classes

PAGES = {"0.28.2": (1, 45, 21)}
"""Release of ComfyUI → version of the page that it brings (its requirements pin comfyui-frontend-package)."""
NEVER = 10**9
SHOWN = 6
"""Node classes that a sentence lists."""


@dataclass(frozen=True, slots=True)
class GraphSource:
    """A graph as it was found."""

    name: str
    """Name of the file, without its folders."""
    api: Mapping[str, Any] | None = field(repr=False)
    """The API format; None where there is only a drawing."""
    drawing: Mapping[str, Any] | None = field(repr=False)
    """The UI format, which says where packs and models come from; None where there is none."""

    @property
    def page(self) -> tuple[int, ...]:
        """Version of ComfyUI's page that drew it; empty where that is not known."""
        return read_drawing(self.drawing).page if self.drawing else ()

    def classes(self) -> tuple[str, ...]:
        """Return the node classes that would run."""
        if self.api is not None:
            return tuple(dict.fromkeys(str(node["class_type"]) for node in self.api.values()))
        return tuple(dict.fromkeys(node.type for _, node in running_nodes(read_drawing(self.drawing or {}))))

    def unknown_classes(self, schemas: Schemas) -> dict[str, ClassHint]:
        """Return the node classes that the schemas lack, with what the drawing says of them."""
        return class_hints(self.drawing, [name for name in self.classes() if name not in schemas])

    def to_api(self, schemas: Schemas) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the graph in the API format, and what was decided on the way.

        Raises:
            InvalidInputError: it cannot be converted.

        """
        if self.api is not None:
            return dict(self.api), ()
        done = graphs.convert(self.drawing or {}, schemas).runnable(schemas)
        return done.graph, done.notes


def read_source(path: str | PathLike[str]) -> GraphSource:
    """Read a graph: JSON in either format, or a picture or video that carries its graph and its drawing.

    Raises:
        InvalidInputError: the file cannot be read, or holds no graph.

    """
    name, data = Path(path).name, read_bytes(path, VIDEO_LIMIT_BYTES)
    if not sniff_media_type(data):
        found = recognise(parse(read_bytes(path, LIMIT_BYTES), str(path)))
        return GraphSource(name, None, found.data) if found.kind == "ui" else GraphSource(name, found.data, None)
    read = graphs.read(path)
    if read.kind == "ui":
        return GraphSource(name, None, read.data)
    return GraphSource(name, read.data, _drawing_in(path, data))


def _drawing_in(path: str | PathLike[str], data: bytes) -> Mapping[str, Any] | None:
    """Return the drawing that a picture carries beside the graph that ran; a damaged one says nothing."""
    text = graph_texts(media.read_metadata(data)).get("workflow")
    try:
        drawing = parse_inside(text, path) if text else None
    except InvalidInputError:
        return None
    return drawing if isinstance(drawing, dict) and is_ui(drawing) else None


def refuse_what_no_image_has(source: GraphSource, unknown: Mapping[str, ClassHint], release: str) -> None:
    """Refuse a graph that needs a newer ComfyUI, or services that are not run here.

    A class without a word of its pack, in a drawing of a page as new as the release's or newer, counts as one of a newer ComfyUI.

    Args:
        source: the graph.
        unknown: node classes that neither the schemas nor any pack that was found have.
        release: of ComfyUI.

    Raises:
        WorkflowInvalidError: it does.

    """
    if partners := sorted(partner_classes().intersection(source.classes())):
        text = f"{source.name} uses {_some(partners)}: paid services of somebody else, which no GPU of yours can stand in for."
        raise WorkflowInvalidError(text, "Replace these nodes, or mute them, and save the graph again.", {"classes": partners})
    young = source.page >= PAGES.get(release, (NEVER,))
    newer = [name for name, hint in unknown.items() if hint.core or (young and hint == ClassHint())]
    if newer:
        versions = sorted({unknown[name].ver for name in newer} - {""}, key=_numbers)
        said = f" (it was saved with {versions[-1]})" if versions else ""
        text = f"{source.name} needs a ComfyUI newer than {release}{said}: that one has no {_some(newer)}."
        hint = (
            "This package has node schemas up to that release; a newer one may have more: pip install -U ryla-gen. "
            f"If a node pack gives them, name it: --pack {newer[0]}=OWNER/REPOSITORY@COMMIT"
        )
        raise WorkflowInvalidError(text, hint, {"classes": newer, "comfyui": release})


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() and len(part) < 9 else 0 for part in version.split("."))
