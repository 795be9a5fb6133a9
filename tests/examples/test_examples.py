"""Every example runs as its first lines say, gives what it promises, and a second run replaces nothing."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import av
import pytest
from PIL import Image

from ryla_gen import Flux, load
from tests.conftest import encoded

from .running import EXAMPLES, SECONDS, Run, example, size_of

HERE = ("first_picture", "async_pictures", "batch_with_progress", "lora_character", "face_identity", "video", "upscaling")
HERE += ("custom_graph", "costs_and_budget")
"""Examples that the embedded emulator runs; the others are in tests/suite and tests/delivery, beside the servers that they need."""
ELSEWHERE = ("submit_and_resume", "without_the_sdk", "webhook_receiver")

Twice = dict[str, "Future[tuple[Run, Run]]"]


@pytest.fixture(scope="session")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    """Two runs of each example, one after the other in one folder; two examples at a time."""

    def both(name: str) -> tuple[Run, Run]:
        folder = tmp_path_factory.mktemp(name)
        first, second = example(folder, name), example(folder, name)
        for done in (first, second):
            assert done.code == 0, done.said + done.told
            assert done.changed == ()
            assert "Traceback" not in done.told
        return first, second

    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(both, name) for name in HERE}


def runs(twice: Twice, name: str) -> tuple[Run, Run]:
    return twice[name].result(timeout=SECONDS)


def test_every_example_is_listed_here_and_in_the_readme() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(HERE + ELSEWHERE)
    listed = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(HERE + ELSEWHERE)


@pytest.mark.parametrize("name", HERE + ELSEWHERE)
def test_an_example_is_short_typed_and_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert text.count("\n") <= 40
    tree = ast.parse(text)
    assert f"\npython examples/{name}.py" in (ast.get_docstring(tree) or "")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.returns is not None
            assert all(argument.annotation for argument in node.args.args), node.name


def test_the_first_picture_brings_its_request_back(twice: Twice) -> None:
    for done in runs(twice, "first_picture"):
        (file,) = done.new
        assert size_of(file) == (512, 512)
        request = load(file)
        assert f"first-picture-{request.seed}.png" == file.name  # type: ignore[attr-defined]
        assert "width=1024" in done.said, "the request with another value"


def test_async_pictures_come_all_three_and_tell_how_far_they_are(twice: Twice) -> None:
    for done in runs(twice, "async_pictures"):
        assert [size_of(file) for file in done.new] == [(384, 384)] * 3
        assert [file.name in done.said for file in done.new] == [True] * 3
        assert re.search(r"a fox in the snow: \d+%", done.said)


def test_the_batch_makes_six_and_its_bar_ends_at_six(twice: Twice) -> None:
    for done in runs(twice, "batch_with_progress"):
        assert [(file.parent.name, size_of(file)) for file in done.new] == [("animals", (256, 256))] * 6
        assert "6/6" in done.said


def test_the_lora_is_sent_once_and_changes_no_size(twice: Twice) -> None:
    first, second = runs(twice, "lora_character")
    assert "sample-lora for flux: pushed" in first.said
    assert "sample-lora for flux: already, 0 bytes sent" in second.said
    pictures = [file for file in first.new if file.suffix == ".png"]
    assert [size_of(file) for file in pictures] == [(384, 384)] * 2
    assert {load(file).lora_id for file in pictures} == {"sample-lora"}  # type: ignore[attr-defined]
    assert "no place" not in first.said, "ComfyUI takes every tensor of it"


def test_the_face_is_made_first_and_kept_nowhere(twice: Twice) -> None:
    for done in runs(twice, "face_identity"):
        assert [file.name.rpartition("-")[0] for file in done.new] == ["face", "flux_pulid", "instantid"]
        assert [size_of(file) for file in done.new] == [(384, 384)] * 3
        for file in done.new[1:]:
            with Image.open(file) as picture:
                kept = json.loads(picture.info["ryla"])["inputs"]["reference_image"]
            assert set(kept) == {"sha256", "bytes"}


def test_the_video_plays_and_is_as_long_as_it_says(twice: Twice) -> None:
    for done in runs(twice, "video"):
        (file,) = done.new
        with av.open(str(file)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 17
        assert frames[0].shape == (256, 320, 3)
        assert (frames[0] != frames[-1]).any(), "nothing moves"
        assert "320×256, 17 frames at 16 a second" in done.said
        assert "preview" in done.said


def test_the_larger_picture_is_twice_as_large(twice: Twice) -> None:
    for done in runs(twice, "upscaling"):
        assert {file.name.partition("-")[0]: size_of(file) for file in done.new} == {"small": (256, 256), "large": (512, 512)}


def test_the_graph_ran_with_the_values_that_were_set(twice: Twice) -> None:
    for done in runs(twice, "custom_graph"):
        (file,) = done.new
        assert size_of(file) == (384, 512)
        with Image.open(file) as picture:
            graph = json.loads(picture.info["prompt"])
        assert (graph["2"]["inputs"]["text"], graph["4"]["inputs"]["steps"]) == ("a fox under the northern lights", 3)


def test_costs_are_told_before_and_after_and_the_limit_refuses(twice: Twice) -> None:
    first, second = runs(twice, "costs_and_budget")
    assert re.search(r"before: \$0\.0\d+ \(.*\) on L40S\n", first.said)
    assert "refused: It would cost about $0.03" in first.said
    assert "(limit $0.001)" in first.said
    assert "7 days of flux: 1 jobs, 0 failed" in first.said
    assert "7 days of flux: 2 jobs, 0 failed" in second.said, "the refused one is no job"


def test_files_of_ones_own_are_taken(tmp_path: Path, twice: Twice) -> None:
    """A video to enlarge, and a graph from a file."""
    (video,) = runs(twice, "video")[0].new
    larger = example(tmp_path, "upscaling", str(video))
    assert larger.code == 0, larger.told
    with av.open(str(larger.new[0])) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (640, 512)
    graph = tmp_path / "mine_api.json"
    graph.write_text(json.dumps(Flux(prompt="a hill", width=256, height=320, steps=2).build().to_api()), encoding="utf-8")
    done = example(tmp_path, "custom_graph", str(graph))
    assert [size_of(file) for file in done.new] == [(256, 320)]


def test_a_picture_without_a_face_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "wall.png").write_bytes(encoded(Image.new("RGB", (256, 256), "#808080")))
    done = example(tmp_path, "face_identity", str(tmp_path / "wall.png"))
    assert (done.code, done.new) == (1, ())
    assert "face" in done.told
    assert "Traceback" not in done.told
