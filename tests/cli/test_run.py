from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from ryla_gen import FluxDev, Generation, load
from ryla_gen.emulator.server import Emulator
from ryla_gen.results.output_files import text_output
from ryla_gen_cli.generate import page, summary

from .shell import COMMAND, SECONDS, SMALL, envelope, environment, here, lines, picture, ryla, started


def test_one_line_makes_a_picture(tmp_path: Path) -> None:
    done = ryla("run", "flux-dev", "a lighthouse at dusk, red roof", *SMALL, "--seed", "7", "-o", "x.png", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"x.png\n")
    assert picture(tmp_path / "x.png").size == (256, 256)
    said = done.stderr.decode()
    assert "emulated" in said
    assert "seed 7" in said
    assert "\x1b" not in said
    assert "Traceback" not in said
    assert load(tmp_path / "x.png") == FluxDev(prompt="a lighthouse at dusk, red roof", width=256, height=256, steps=1, seed=7)


def test_json_is_events_and_one_last_line(tmp_path: Path) -> None:
    done = ryla("run", "flux_dev", "fox", *SMALL, "-o", "x.png", "--json", "--tag", "night", folder=tmp_path)
    assert done.returncode == 0
    found = lines(done.stdout)
    assert [item["type"] for item in found[:-1] if item["type"] != "progress"][-1] == "finished"
    assert "preview" not in {item.get("type") for item in found}
    assert len({item["job"] for item in found[:-1]}) == 1
    last = envelope(done.stdout)
    data = last["data"]
    assert (last["ok"], last["command"], last["error"]) == (True, "run", None)
    assert (data["workflow"], data["backend"], data["job"]) == ("flux_dev", "emulator", found[0]["job"])
    assert data["outputs"] == [
        {
            "kind": "image",
            "media_type": "image/png",
            "name": f"flux_dev-{data['seed']}-0.png",
            "width": 256,
            "height": 256,
            "node": "8",
            "bytes": (tmp_path / "x.png").stat().st_size,
            "path": "x.png",
        }
    ]
    assert data["cost"]["total_usd"] == 0
    assert data["timings"]["total"] > 0


def test_quiet_says_the_file_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RYLA_GEN_BACKEND", "emulator")
    assert here("run", "flux", "fox", *SMALL, "-q", "-o", "a.png") == 0
    assert capsys.readouterr() == ("a.png\n", "")


def test_without_a_name_files_go_to_the_output_folder_and_replace_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    here("config", "set", "output_dir", str(folder))
    for _ in range(3):
        assert here("run", "flux", "fox", *SMALL, "--seed", "5") == 0
    assert sorted(item.name for item in folder.iterdir()) == ["flux-5-0-1.png", "flux-5-0-2.png", "flux-5-0.png"]
    assert str(folder / "flux-5-0-2.png") in capsys.readouterr().out


def test_a_file_that_exists_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "x.png"
    target.write_bytes(b"mine")
    for name in (str(target), f"{tmp_path}/{{workflow}}.png"):
        (tmp_path / "flux.png").write_bytes(b"mine")
        assert here("run", "flux", "fox", *SMALL, "-o", name) == 1
        assert "error[output_exists]" in capsys.readouterr().err
    assert target.read_bytes() == b"mine"
    assert here("jobs", "list") == 0
    assert "No jobs yet" in capsys.readouterr().out
    assert here("run", "flux", "fox", *SMALL, "-o", str(target), "--overwrite") == 0
    assert picture(target).size == (256, 256)


@pytest.mark.parametrize("place", ["file/x.png", "file/deeper/x.png", "/dev/null", "/dev/null/x.png"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert here("run", "flux", "fox", *SMALL, "-o", str(tmp_path / place)) == 1
    assert "error[storage_failed]" in capsys.readouterr().err
    here("jobs", "list")
    assert "No jobs yet" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root, or the system, may write everywhere")
def test_a_folder_without_rights_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    assert here("run", "flux", "fox", *SMALL, "-o", str(tmp_path / "x.png")) == 1
    assert "not writable" in capsys.readouterr().err


def test_what_was_made_is_kept_when_its_place_was_taken_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    with Emulator() as server:
        server.knobs.hold_nodes = True
        process = started("run", "flux", "fox", *SMALL, "--url", server.url, "-o", str(target), "--json")
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["type"] != "started":
            pass
        target.write_bytes(b"mine")
        server.knobs.hold_nodes = False
        rest, _ = process.communicate(timeout=SECONDS)
    error = envelope(rest)["error"]
    assert (process.returncode, error["code"], target.read_bytes()) == (1, "output_exists", b"mine")
    (kept,) = error["details"]["kept"]
    assert picture(Path(kept)).size == (256, 256)
    assert kept in error["hint"]
    shutil.rmtree(Path(kept).parent)


def test_a_name_that_is_too_long_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("run", "flux", "fox", *SMALL, "-o", f"{tmp_path}/{'x' * 300}.png") == 1
    assert "error[storage_failed]" in capsys.readouterr().err
    here("jobs", "list")
    assert "No jobs yet" in capsys.readouterr().out


def test_the_suffix_chooses_the_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, kind in (("a.webp", "WEBP"), ("a.jpg", "JPEG"), ("a.png", "PNG")):
        assert here("run", "flux", "fox", *SMALL, "-o", str(tmp_path / name)) == 0
        assert picture(tmp_path / name).format == kind


def test_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "waves.mp4"
    assert here("run", "wan2", "waves", *SMALL, "--length", "5", "-o", str(target), "--json") == 0
    (output,) = envelope(capsys.readouterr().out)["data"]["outputs"]
    assert (output["kind"], output["media_type"], output["frames"]) == ("video", "video/mp4", 5)
    assert target.read_bytes()[4:8] == b"ftyp"


def test_a_file_goes_to_stdout_alone(tmp_path: Path) -> None:
    done = ryla("run", "flux", "-", *SMALL, "-o", "-", stdin="ein Füchslein\n".encode(), folder=tmp_path)
    assert done.returncode == 0
    assert "ein F" in Image.open(io.BytesIO(done.stdout)).text["ryla"]
    assert list(tmp_path.glob("*.png")) == []
    assert b"emulated" in done.stderr


def test_stdout_takes_either_the_file_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("run", "flux", "fox", "-o", "-", "--json") == 2
    assert envelope(capsys.readouterr().out)["error"]["code"] == "invalid_input"
    assert here("run", "flux", "fox", "-o", "-", "--batch-size", "2") == 2


def test_a_prompt_that_is_no_text_is_refused() -> None:
    done = ryla("run", "flux", "-", stdin=b"\xff\xfe\x00")
    assert done.returncode == 2
    assert b"UTF-8" in done.stderr
    assert ryla("run", "flux", "-", stdin=b" \n").returncode == 2


@pytest.mark.parametrize("arguments", [["-o", "-"], ["--json"]])
def test_a_reader_that_leaves_early_gets_no_complaint(arguments: list[str], server: Emulator, tmp_path: Path) -> None:
    server.knobs.hold_nodes = True  # until the reader has left: a pipe may hold all that is said
    with subprocess.Popen(
        [*COMMAND, "run", "flux", "fox", "--url", server.url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(0 if "-" in arguments else 10)  # the picture itself is said at the end
        process.stdout.close()
        server.knobs.hold_nodes = False
        said = process.stderr.read().decode()
        assert process.wait(SECONDS) == 1
    assert "Traceback" not in said
    assert "Broken" not in said
    assert "Exception ignored" not in said


def test_a_server_that_is_not_there_is_exit_1_and_a_backend_that_does_not_exist_is_exit_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert here("run", "flux", "fox", "--url", "http://127.0.0.1:9") == 1
    assert "error[backend_unreachable]" in capsys.readouterr().err
    assert here("run", "flux", "fox", "--backend", "nowhere") == 2
    assert "error[invalid_input]" in capsys.readouterr().err


def test_several_loras_and_their_strengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "x.png")
    assert (
        here("run", "flux-lora", "fox", *SMALL, "--lora", "character:0.5", "--lora", "example-style", "-o", target, "--json") == 0
    )
    graph = envelope(capsys.readouterr().out)["data"]["graph"]
    used = [
        (node["inputs"]["lora_name"], node["inputs"]["strength_model"])
        for node in graph.values()
        if node["class_type"] == "LoraLoader"
    ]
    assert used == [("character.safetensors", 0.5), ("example-style.safetensors", 1.0)]


def test_an_option_that_was_not_given_stays_away_from_the_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Turbo sets eight steps unless the caller sets them, so the command must not hand it the default."""
    assert (
        here(
            "run",
            "flux-dev",
            "fox",
            "--speed",
            "turbo",
            "--width",
            "256",
            "--height",
            "256",
            "-o",
            str(tmp_path / "x.png"),
            "--json",
        )
        == 0
    )
    assert envelope(capsys.readouterr().out)["data"]["inputs"]["steps"] == 8


def test_a_misspelt_variable_is_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_BAKEND", "comfyui")
    monkeypatch.setenv("RYLA_GEN_DEBUG", "1")
    assert here("run", "flux", "fox", *SMALL, "-o", str(tmp_path / "x.png")) == 0
    said = capsys.readouterr().err
    assert "RYLA_GEN_BAKEND" in said
    assert "RYLA_GEN_DEBUG" not in said


def test_warnings_of_the_result_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("run", "flux", "fox", *SMALL, "--negative-prompt", "bear", "-o", str(tmp_path / "x.png")) == 0
    assert "warning[negative_prompt_ignored]" in capsys.readouterr().err


def test_a_name_without_suffix_is_checked_with_the_one_it_will_get(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.png").write_bytes(b"mine")
    assert here("run", "flux", "fox", *SMALL, "-o", str(tmp_path / "x")) == 1
    assert "error[output_exists]" in capsys.readouterr().err
    here("jobs", "list")
    assert "No jobs yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a-{seed:05}.png", "{seed.real}.png", "{index!r}.png", "{nobody}.png", "{seed.png", "{}.png"])
def test_a_name_that_cannot_be_filled_in_is_refused_before_anything_runs(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("run", "flux", "fox", *SMALL, "--seed", "7", "-o", str(tmp_path / name)) == 2
    assert "{workflow}, {seed}, {index}, {job}, {name}" in capsys.readouterr().err
    here("jobs", "list")
    assert "No jobs yet" in capsys.readouterr().out


def test_one_name_for_several_files_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = ["run", "flux", "fox", *SMALL, "--seed", "7", "--batch-size", "2", "-o"]
    assert here(*several, str(tmp_path / "{workflow}-{seed}.png")) == 2
    assert "{index}" in capsys.readouterr().err
    here("jobs", "list")
    assert "No jobs yet" in capsys.readouterr().out
    assert here(*several, str(tmp_path / "{name}.png")) == 0
    assert here(*several, str(tmp_path / "{workflow}-{index}.png")) == 0
    assert sorted(item.name for item in tmp_path.glob("*.png")) == ["flux-0.png", "flux-1.png", "flux-7-0.png", "flux-7-1.png"]


def test_an_upscaled_picture_that_exists_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "small.png", tmp_path / "large.png"
    assert here("run", "flux", "fox", *SMALL, "-o", str(source)) == 0
    target.write_bytes(b"mine")
    assert here("run", "seedvr2", "--image", str(source), "-o", str(target)) == 1
    assert "error[output_exists]" in capsys.readouterr().err
    here("jobs", "list", "--json")
    assert len(envelope(capsys.readouterr().out)["data"]["items"]) == 1


def test_a_text_is_printed_and_saved(tmp_path: Path) -> None:
    flux = FluxDev(prompt="a fox", seed=7)
    made = Generation(flux, (text_output("a fox in the snow", "workflow-7-0", node="5"),), 7, "job", "emulator")
    paths = made.save(tmp_path / "caption.png")
    assert page(made, paths) == f"{tmp_path / 'caption.txt'}\na fox in the snow"
    assert paths[0].read_text(encoding="utf-8") == "a fox in the snow"
    (output,) = summary(made, [*paths])["outputs"]
    assert (output["kind"], output["text"], output["bytes"], output["path"]) == ("text", "a fox in the snow", 17, str(paths[0]))
