"""Show several results side by side: one sheet of pictures, each above a label of what differs. Must not run jobs.

In Jupyter a list of results shows itself so; :func:`grid` makes one of anything that holds pictures.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from .. import media, notebook
from ..errors import InvalidInputError, RylaGenError
from ..media.frames import frames_of
from ..media.origin import TOOL
from ..media.provenance import marked, read_mark
from ..media.sheet import Tile
from ..media.xmp import read_packet
from ..support.counting import count_text
from . import Generation, Output
from .provenance import mark_of_sheet

MOST = 60
"""Pictures on one sheet: fifteen rows of four, of 256 pixels each."""

MOST_NOTES = 4
"""Warnings below a sheet."""


class Grid:
    """Pictures in rows, and the players of the videos among them. The last expression of a cell shows it.

    Args:
        items: generations, outputs, character pictures, PIL images, files, and errors in the place of a result.
        labels: a line below each item; without, what is different about its request.

    Raises:
        InvalidInputError: there is nothing to show, too much of it, or the labels do not fit.

    """

    def __init__(self, items: Iterable[Any], labels: Sequence[str] | None = None) -> None:
        self._items = list(items)
        if labels is not None and len(labels) != len(self._items):
            raise InvalidInputError(
                f"{count_text(len(labels), 'label')} for {count_text(len(self._items), 'item')}.", "Give one for each, or none."
            )
        said = list(labels) if labels is not None else _labels(self._items)
        self._tiles = [tile for item, label in zip(self._items, said, strict=True) for tile in _tiles(item, label)]
        if not self._tiles:
            raise InvalidInputError("There is no picture to show.", "Give generations, PIL images or files.")
        if len(self._tiles) > MOST:
            raise InvalidInputError(
                f"A grid shows at most {MOST} pictures, not {len(self._tiles)}.", "Show a part: grid(list[:20])"
            )

    def __repr__(self) -> str:
        return f"<Grid of {len(self._tiles)}: {', '.join(tile.label for tile in self._tiles[:6])}{' …' * (len(self._tiles) > 6)}>"

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the sheet as a PNG, with a mark of its origin where its pictures have one.

        Raises:
            OutputExistsError: the file exists.
            StorageFailedError: it cannot be written.

        """
        target = Path(path).expanduser()
        media.save_atomically(target, self._repr_png_(), overwrite=overwrite)
        return target

    def _repr_png_(self) -> bytes:
        return self._marked(_png([notebook.rows(self._tiles)]), "image/png")

    def _marked(self, sheet: bytes, media_type: str) -> bytes:
        mark = mark_of_sheet(tile.data for tile in self._tiles if tile.data is not None)
        return sheet if mark is None else mark.write(sheet, media_type)

    def _ipython_display_(self) -> None:
        if notebook.shell() is None:
            raise NotImplementedError  # IPython's terminal goes on to the plain text
        videos = [output for item in self._items for output in _outputs(item) if output.kind == "video"]
        if videos:
            players = "".join(
                f'<div style="max-width:24em">{notebook.player(video.media_type, video.data, video.name)}</div>' for video in videos
            )
            row = f'<div style="display:flex;flex-wrap:wrap;gap:8px">{players}</div>'
            notebook.publish({"text/html": row, "text/plain": f"{count_text(len(videos), 'video')}"})
        sheet = self._marked(notebook.jpeg(notebook.rows(self._tiles)), "image/jpeg")
        notebook.publish({"image/jpeg": notebook.encode(sheet), "text/plain": repr(self)})
        notebook.show_lines(self._notes())

    def _notes(self) -> list[str]:
        """Return what the results warn of, each once."""
        said = [item.message for result in self._items if isinstance(result, Generation) for item in result.warnings]
        notes = [f"⚠ {message}" for message in dict.fromkeys(said)]
        rest = count_text(len(notes) - MOST_NOTES, "more warning")
        return [*notes[:MOST_NOTES], f"… and {rest}: see .warnings of each result"] if len(notes) > MOST_NOTES else notes


def grid(items: Iterable[Any], labels: Sequence[str] | None = None) -> Grid:
    """Make a grid of results; see :class:`Grid`."""
    return Grid(items, labels)


def show_lists() -> None:
    """Make a Jupyter cell that ends in a list of results show a grid. Does nothing outside a kernel, or the second time."""
    shell = notebook.shell()
    if shell is not None:
        shell.display_formatter.ipython_display_formatter.for_type(list, _show_list)


def _show_list(items: list[Any]) -> None:
    if not any(isinstance(item, Generation) for item in items) or len(items) > MOST:
        raise NotImplementedError  # an ordinary list: IPython shows its text
    if not all(isinstance(item, Generation | RylaGenError) for item in items):
        raise NotImplementedError
    Grid(items)._ipython_display_()


def _outputs(item: Any) -> Sequence[Output]:
    return item.outputs if isinstance(item, Generation) else (item,) if isinstance(item, Output) else ()


def _tiles(item: Any, label: str) -> list[Tile]:
    if isinstance(item, BaseException):
        return [Tile(label, None)]
    if not isinstance(item, Generation | Output):
        return [Tile(label, _image_bytes(item))]
    shown = [output for output in _outputs(item) if output.kind in ("image", "video")]
    several = len(shown) > 1
    return [Tile(f"{label} · {place}" if several else label, _still(output)) for place, output in enumerate(shown, 1)]


def _still(output: Output) -> bytes | None:
    """Return the picture that stands for an output: of a video the middle frame, None when it cannot be read."""
    if output.url is not None:
        return None
    if output.kind == "image":
        return output.data
    try:
        still = _png(frames_of(output.data, 3)[1:2] or frames_of(output.data, 1))
    except InvalidInputError:
        return None
    return _with_mark(still, *read_mark(output.data, output.media_type))


def _with_mark(png: bytes, term: str | None, tool: str | None) -> bytes:
    """Return a picture with the mark of what it was taken from."""
    return png if term is None else marked(png, "image/png", term, tool or TOOL)


def _png(pictures: Sequence[Any]) -> bytes:
    buffer = io.BytesIO()
    pictures[0].save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _image_bytes(item: Any) -> bytes:
    """Return the bytes of a picture, a file, a PIL image, or an object that has them in ``data``."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, str | PathLike):
        try:
            return Path(item).expanduser().read_bytes()
        except OSError as error:
            raise InvalidInputError(f"Cannot read {item}: {error.strerror}.", "Give the path of an existing picture.") from None
    if isinstance(data := getattr(item, "data", None), bytes):
        return data
    if hasattr(item, "save"):
        packet = getattr(item, "info", {}).get("xmp")  # where PIL keeps the XMP of the file that a picture was read from
        return _with_mark(_png([item]), *read_packet(packet if isinstance(packet, bytes) else None))
    raise InvalidInputError(f"{type(item).__name__} is not a picture.", "Give generations, PIL images or files.")


def _labels(items: Sequence[Any]) -> list[str]:
    """Label each picture by what differs: the fields in which the requests differ, else seed, name, or position."""
    asked = [item.workflow.described() | {"seed": item.seed} for item in items if isinstance(item, Generation)]
    differ = [key for key in dict.fromkeys(key for fields in asked for key in fields) if len({repr(f.get(key)) for f in asked}) > 1]
    wanted = [key for key in differ if key != "seed"] or ["seed"]
    return [_label(item, wanted, place) for place, item in enumerate(items, 1)]


def _label(item: Any, wanted: Sequence[str], place: int) -> str:
    if isinstance(item, Generation):
        fields: Mapping[str, Any] = item.workflow.described() | {"seed": item.seed}
        return ", ".join(str(fields[key]) if key == "prompt" else f"{key} {fields[key]}" for key in wanted if key in fields)
    if isinstance(item, RylaGenError):
        return item.code
    return str(getattr(item, "label", "") or getattr(item, "name", "") or place)
