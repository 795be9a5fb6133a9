"""What the files of a result say made them: read from the graph that ran, so that plug-ins and graphs of one's own say it too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import grid
from ryla_gen.media.origin import EDITED_BY_MODEL, EMULATED, EMULATED_EDIT, MADE_BY_MODEL, MIXED, TOOL, Mark
from ryla_gen.media.provenance import read_mark
from ryla_gen.media.xmp import SOURCE_TYPES
from ryla_gen.results import Output
from ryla_gen.results.output_files import as_output, output_notices, text_output
from ryla_gen.results.provenance import mark_of, mark_of_sheet
from ryla_gen.workflows.registry import BUILT_IN, workflow_class

from ..conftest import encoded, portrait
from ..media_samples import sound, video

GRAPHS = Path(__file__).resolve().parent.parent / "data" / "graphs"


PNG = encoded(portrait((64, 64)))
CAPTURE = f"{SOURCE_TYPES}digitalCapture"
BY_EMULATOR = f"{TOOL} (emulated)"


def graph(*classes: str) -> dict[str, Any]:
    return {str(place): {"class_type": name, "inputs": {}} for place, name in enumerate(classes)}


@pytest.mark.parametrize(
    ("classes", "emulated", "term"),
    [
        (("KSampler", "SaveImage"), False, MADE_BY_MODEL),
        (("LoadImage", "KSampler", "SaveImage"), False, EDITED_BY_MODEL),
        (("VHS_LoadVideoPath", "SaveImage"), False, EDITED_BY_MODEL),
        (("ETN_LoadImageBase64", "SaveImage"), False, EDITED_BY_MODEL),
        (("easy loadImageBase64", "SaveImage"), False, EDITED_BY_MODEL),
        (("ImageOnlyCheckpointLoader", "SaveImage"), False, MADE_BY_MODEL),
        (("KSampler", "SaveImage"), True, EMULATED),
        (("LoadVideo", "SaveVideo"), True, EMULATED_EDIT),
        ((), False, MADE_BY_MODEL),
    ],
)
def test_the_term_follows_from_the_graph(classes: tuple[str, ...], emulated: bool, term: str) -> None:
    made = mark_of(graph(*classes), emulated=emulated)
    assert made.source_type == term
    assert made.tool.endswith("(emulated)") is emulated


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_workflow_that_was_given_a_picture_makes_an_edit(name: str) -> None:
    recorded = json.loads((GRAPHS / f"{name}.json").read_text(encoding="utf-8")) if (GRAPHS / f"{name}.json").exists() else {}
    cls = workflow_class(name)
    required = any(cls.model_fields[field].is_required() for field in cls.media_fields())
    if recorded and required:
        assert mark_of(recorded, emulated=False).source_type == EDITED_BY_MODEL
    if recorded and not cls.media_fields():
        assert mark_of(recorded, emulated=False).source_type == MADE_BY_MODEL


@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
def test_an_output_is_marked_in_the_format_that_was_asked_for(wanted: str) -> None:
    mark = mark_of({}, emulated=False)
    output = as_output(encoded(portrait((64, 64))), "a.png", "flux-7-0", wanted, {"ryla": "{}"}, mark=mark)
    assert output.media_type == f"image/{wanted}"
    assert read_mark(output.data, output.media_type) == (MADE_BY_MODEL, mark.tool)
    assert mark.write(output.data, output.media_type) == output.data


@pytest.mark.parametrize("data", [b"", b"?", encoded(portrait((64, 64)))[:200], b"<!doctype html><html>"])
def test_what_is_broken_or_no_picture_is_kept_as_it_came(data: bytes) -> None:
    assert as_output(data, "a.png", "flux-7-0", "png", {}, mark=mark_of({}, emulated=False)).data == data


def test_a_result_says_once_that_files_of_its_kind_carry_no_mark() -> None:
    mark = mark_of({}, emulated=False)
    made = [as_output(sound(kind), f"a.{kind}", "song-7-0", "png", {}, mark=mark) for kind in ("flac", "mp3", "ogg", "wav")]
    films = [as_output(video(kind), f"a.{kind}", "film-7-0", "png", {}, mark=mark) for kind in ("webm", "mp4")]
    (notice,) = output_notices((*made, *films))
    assert notice.code == "unmarked"
    assert notice.message.startswith("song-7-0.flac and 2 more cannot carry the mark")
    assert output_notices((made[1], made[3], films[1], text_output("a caption", "text", node=None))) == ()
    assert read_mark(made[1].data, "audio/mpeg") == read_mark(made[3].data, "audio/wav") == (MADE_BY_MODEL, mark.tool)


def picture(term: str | None) -> bytes:
    """A picture with a mark; the emulator's terms are marked as the emulator's."""
    tool = BY_EMULATOR if term in (EMULATED, EMULATED_EDIT) else TOOL
    return PNG if term is None else Mark(term, tool).write(PNG, "image/png")


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [
        ((MADE_BY_MODEL, MADE_BY_MODEL), (MADE_BY_MODEL, TOOL)),
        ((MADE_BY_MODEL, EDITED_BY_MODEL), (EDITED_BY_MODEL, TOOL)),
        ((MADE_BY_MODEL, None), (EDITED_BY_MODEL, TOOL)),
        ((MADE_BY_MODEL, EMULATED), (EDITED_BY_MODEL, TOOL)),
        ((EMULATED, EMULATED), (EMULATED, BY_EMULATOR)),
        ((EMULATED, EMULATED_EDIT), (EMULATED_EDIT, BY_EMULATOR)),
        ((EMULATED, None), (EMULATED_EDIT, BY_EMULATOR)),
        ((EMULATED, CAPTURE), (MIXED, TOOL)),
        ((CAPTURE, None), (MIXED, TOOL)),
        ((None, None), None),
    ],
)
def test_a_sheet_says_what_its_pictures_say(terms: tuple[str | None, ...], wanted: tuple[str, str] | None) -> None:
    mark = mark_of_sheet(picture(term) for term in terms)
    assert (mark and (mark.source_type, mark.tool)) == wanted


def test_a_grid_is_marked_by_its_pictures_and_by_the_videos_of_its_stills(tmp_path: Path) -> None:
    film = Output("video", "video/mp4", "a.mp4", Mark(MADE_BY_MODEL).write(video(), "video/mp4"))
    opened = Output("image", "image/png", "a.png", picture(MADE_BY_MODEL)).image()
    sheet = grid([picture(MADE_BY_MODEL), film, opened]).save(tmp_path / "grid.png").read_bytes()
    assert read_mark(sheet, "image/png") == (MADE_BY_MODEL, TOOL)
    assert read_mark(grid([picture(EMULATED)])._repr_png_(), "image/png") == (EMULATED, BY_EMULATOR)
    assert read_mark(grid([PNG])._repr_png_(), "image/png") == (None, None), "of a foreign picture nothing is known"
