"""The bar, the rows of pictures and the frames, without a kernel; and that nothing of this happens in a script."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ryla_gen import Client, Flux, Generation, Grid, Output, grid
from ryla_gen.errors import InvalidInputError, OutputExistsError, WorkflowError
from ryla_gen.events import Finished, Preview, Progress, Queued, Started
from ryla_gen.media.frames import frames_of
from ryla_gen.notebook import Live, live, shell
from tests.conftest import encoded, portrait
from tests.media_samples import video

PNG = encoded(portrait())
MP4 = video()


def animated() -> bytes:
    frames = [portrait((64, 64), colour) for colour in ("#a02020", "#20a020", "#2020a0", "#a0a020")]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=60)
    return file.getvalue()


def result(*files: Output, **fields: object) -> Generation:
    flux = Flux.from_plain({"prompt": "a fox", "seed": 7, **fields}, trusted=True)
    return Generation(flux, files or (Output("image", "image/png", "a.png", PNG, 256, 256),), flux.seed or 0, "j", "emulator")


class Cell:
    """Keeps what a bar shows."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str, bool]] = []

    def __call__(self, bundle: dict[str, str], again: bool) -> None:
        self.shown.append((bundle["text/plain"], bundle["text/html"], again))


def test_a_bar_follows_its_job_and_leaves_one_line() -> None:
    cell = Cell()
    bar = Live("flux_dev", cell, width=1024)
    for event in (
        Queued(position=2),
        Started(cold_start=12.4),
        Preview(data=b"x"),
        Finished(state="succeeded"),
        Progress(fraction=1),
    ):
        bar(event)
    bar.end("failed")
    lines = [line for line, _, _ in cell.shown]
    assert lines[:3] == [
        "flux_dev · queued, 2 ahead of it",
        "flux_dev · started, after 12 s for the server · 0%",
        "flux_dev · started, after 12 s for the server · 0%",
    ]
    assert lines[3].startswith("flux_dev · done in ")
    assert len(lines) == 4
    assert [again for _, _, again in cell.shown] == [False, True, True, True]
    assert "<img" in cell.shown[2][1]
    assert "width:384px" in cell.shown[2][1]
    assert "progressbar" not in cell.shown[3][1]


def test_a_bar_that_ends_early_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Live.__module__], "PAUSE", 3600.0)
    cell = Cell()
    bar = Live("flux_dev", cell)
    bar(Progress(fraction=0.35, step=7, steps=20, node="KSampler"))
    bar(Progress(fraction=0.40, step=8, steps=20, node="KSampler"))  # at once after the first: not drawn
    bar.end("canceled")
    assert cell.shown[0][0] == "flux_dev · KSampler 7/20 · 35%"
    assert len(cell.shown) == 2
    assert cell.shown[1][0].startswith("flux_dev · canceled after ")
    assert cell.shown[1][0].endswith(" at 40%, KSampler 8/20")


def test_outside_a_kernel_nothing_is_shown_and_ipython_is_not_loaded() -> None:
    assert shell() is None
    assert live(Flux(prompt="a"), on=True) is None
    code = (
        "import sys\nfrom ryla_gen import Client, Flux\n"
        "with Client('emulator') as client:\n    made = client.flux(prompt='a', width=256, height=256, steps=1)\n"
        "assert not {'IPython', 'ipywidgets', 'matplotlib'} & set(sys.modules)\n"
        "import IPython\nassert client.settings.notebook\n"
        "try:\n    made._ipython_display_()\nexcept NotImplementedError:\n    print('text only')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == ("text only\n", "")


def test_labels_say_what_differs() -> None:
    assert repr(grid([result(steps=2), result(steps=4)])) == "<Grid of 2: steps 2, steps 4>"
    assert repr(grid([result(prompt="an owl", seed=1), result(seed=2)])) == "<Grid of 2: an owl, a fox>"
    assert repr(grid([result(seed=1), result(seed=2)])) == "<Grid of 2: seed 1, seed 2>"
    two = Output("image", "image/png", "a.png", PNG)
    assert repr(grid([result(two, two)])) == "<Grid of 2: seed 7 · 1, seed 7 · 2>"
    assert repr(grid([result(), InvalidInputError("no")])) == "<Grid of 2: seed 7, invalid_input>"
    assert repr(grid([portrait(), PNG], labels=["a", "b"])) == "<Grid of 2: a, b>"


def test_a_grid_takes_whatever_holds_pictures_and_saves_itself(tmp_path: Path) -> None:
    file = tmp_path / "face.png"
    file.write_bytes(PNG)
    clip = result(Output("video", "video/mp4", "a.mp4", MP4))
    shown = grid([file, str(file), clip, clip.output, WorkflowError("no"), Image.new("RGB", (80, 300))])
    saved = shown.save(tmp_path / "grid.png")
    with Image.open(saved) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 256 * 2
    with pytest.raises(OutputExistsError):
        shown.save(saved)


@pytest.mark.parametrize(
    ("items", "labels", "said"),
    [
        ([], None, "no picture"),
        ([PNG] * 61, None, "at most 60"),
        ([PNG], ["a", "b"], "2 labels for 1 item."),
        (["/nowhere/face.png"], None, "Cannot read"),
        ([7], None, "int is not a picture"),
    ],
)
def test_a_grid_refuses_what_it_cannot_show(items: list[object], labels: list[str] | None, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Grid(items, labels)


def test_a_long_label_is_wrapped_not_cut() -> None:
    narrow, wide = (Image.open(io.BytesIO(grid([PNG], [label])._repr_png_())) for label in ("a fox", "a fox in the snow " * 4))
    assert narrow.width == wide.width
    assert wide.height > narrow.height


@pytest.mark.parametrize("data", [MP4, animated()], ids=["mp4", "webp"])
def test_frames_are_spread_from_the_first_to_the_last(data: bytes) -> None:
    frames = frames_of(data, 3)
    assert len(frames) == 3
    assert len({frame.tobytes() for frame in frames}) == 3
    assert len(frames_of(data, 1)) == 1


@pytest.mark.parametrize("data", [b"", b"no video", MP4[:200]], ids=["empty", "text", "cut"])
def test_what_is_no_video_gives_no_frames(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        frames_of(data, 3)


def test_a_client_outside_a_kernel_calls_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with Client("emulator") as client:
        client.flux(prompt="a", width=256, height=256, steps=1)
    assert capsys.readouterr() == ("", "")
