"""Collect what a character job made: its pictures, its contact sheet, or why there are fewer. Saves files; runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from .. import media
from ..errors import InternalError, JobCanceledError, RylaGenError, StorageFailedError
from ..media.origin import EDITED_BY_MODEL, Mark
from ..media.sheet import Tile, contact_sheet
from ..results.notes import SHEET_KEY, is_emulated
from ..results.provenance import mark_of_sheet
from ..support.counting import count_text
from .base import CharacterPlan, Kind, ShotFile
from .store import SHEET

if TYPE_CHECKING:
    from PIL.Image import Image

TITLES: dict[Kind, str] = {"base": "Base images", "swap": "Face swap", "sheet": "Character sheet"}
"""What people call each kind of job."""
EMULATED = "emulated: not a measure of likeness"
"""What a contact sheet says when the emulator painted its pictures."""


@dataclass(frozen=True)
class CharacterResult:
    """All pictures of one job."""

    job: str
    kind: Kind
    pictures: tuple[ShotFile, ...]
    """In the order they were asked for."""
    sheet: Path | None
    """The contact sheet, on this machine's disk; None for a single picture."""
    cost_usd: float
    """What all of them cost, retried ones included."""

    @property
    def images(self) -> list[Image]:
        """All pictures, as PIL images."""
        from io import BytesIO

        from PIL.Image import open as open_picture

        opened: list[Image] = [open_picture(BytesIO(item.data)) for item in self.pictures]
        for picture in opened:
            picture.load()
        return opened

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Copy the pictures and the sheet into a folder, and return the files; the sheet comes last.

        Raises:
            OutputExistsError: a file exists; nothing was written.
            StorageFailedError: a file could not be written; what this call had written is removed again.

        """
        return copy(self.pictures, self.sheet, Path(folder), overwrite=overwrite)


def copy(pictures: tuple[ShotFile, ...] | list[ShotFile], sheet: Path | None, folder: Path, *, overwrite: bool) -> list[Path]:
    """Copy what is there into a folder; see :meth:`CharacterResult.save`."""
    files = dict(_files(pictures, sheet, folder.expanduser()))
    for target in files:
        media.check_target(target, overwrite=overwrite)
    written: list[Path] = []
    try:
        for target, source in files.items():
            media.save_atomically(target, _read(source), overwrite=overwrite)
            written.append(target)
    except BaseException:
        for target in () if overwrite else written:
            target.unlink(missing_ok=True)
        raise
    return written


def _files(pictures: tuple[ShotFile, ...] | list[ShotFile], sheet: Path | None, folder: Path) -> Iterator[tuple[Path, Path]]:
    for item in pictures:
        yield folder / item.path.name, item.path
    if sheet is not None:
        yield folder / SHEET, sheet


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageFailedError(f"Cannot read {path}: {error.strerror or error}.", "Was it removed?") from None


def compose(plan: CharacterPlan) -> bytes:
    """Draw the contact sheet of what is there, with a mark of its origin; a picture that did not come keeps its place."""
    tiles = [Tile(part.label, part.path.read_bytes() if part.path else None) for part in plan.parts]
    made = sum(tile.data is not None for tile in tiles)
    count = count_text(made, "picture") if made == len(tiles) else f"{made} of {count_text(len(tiles), 'picture')}"
    words = [plan.workflow, f"seed {plan.seed}", count, plan.id[:8]]
    pictures = [tile.data for tile in tiles if tile.data is not None]
    if any(is_emulated(data) for data in pictures):
        words.insert(0, EMULATED)  # first, because a line that is too long is cut at its end
    sheet = contact_sheet(tiles, title=TITLES[plan.kind], note=" · ".join(words))
    mark = mark_of_sheet(pictures) or Mark(EDITED_BY_MODEL)  # pictures without a mark are of an earlier version: a model made them
    return media.add_png_text(mark.write(sheet, "image/png"), {SHEET_KEY: plan.id})


def save_sheet(plan: CharacterPlan, file: Path) -> None:
    """Compose the contact sheet of a job of several pictures, when one is there."""
    if len(plan.parts) > 1 and any(part.path for part in plan.parts):
        media.save_atomically(file, compose(plan), overwrite=True)


def failure(plan: CharacterPlan) -> RylaGenError:
    """Build the error for the pictures that were not made, in the class of the first one's error."""
    lacking = [part for part in plan.parts if part.state != "succeeded"]
    first = next((part.error for part in lacking if part.error is not None), None)
    names = ", ".join(part.name for part in lacking)
    kept = len(plan.parts) - len(lacking)
    what = f"{len(lacking)} of {count_text(len(plan.parts), 'picture')} missing: {names}."
    if all(part.state == "canceled" for part in lacking):
        cls: type[RylaGenError] = JobCanceledError
        what = f"The character job {plan.id} was canceled; {kept} of {count_text(len(plan.parts), 'picture')} had finished."
    else:
        cls = type(first) if first is not None else InternalError
        what += f" {first.message if first else 'No reason is known.'}" + (
            f" {count_text(kept, 'picture')} finished." if kept else ""
        )
    lost = any(part.error is not None and not part.ended for part in lacking)
    hint = f"Retry only these: ryla-gen character retry {plan.id[:8]}"
    if lost:
        hint = f"Running pictures continue there. Resume it: ryla-gen character resume {plan.id[:8]}"
    reason = first.hint if first is not None and first.http_status < 500 and not isinstance(first, JobCanceledError) else ""
    details = {"job": plan.id, "failed": [part.name for part in lacking], "kept": kept, **({"contact_lost": True} if lost else {})}
    return cls(what, f"{reason} {hint}".strip(), details)
