"""``ryla-gen lora`` as people and programs use it."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import envelope, here, lines, ryla, started
from tests.models.downloads.hub import Hub
from tests.remote.conftest import eventually

from .files import file_name, lora, safetensors, stored

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    return stored(tmp_path, "Ada v2.safetensors", lora(metadata={"modelspec.trigger_phrase": "ohwx"}))


def told(capsys: Capsys, *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert here(*arguments, "--json") == code
    found = envelope(capsys.readouterr().out)
    assert found["command"] == f"{arguments[0]} {arguments[1]}"
    return dict(found)


def test_from_a_file_to_a_picture_and_away_again(ada: Path, tmp_path: Path, capsys: Capsys) -> None:
    assert here("lora", "push", str(ada)) == 0
    out = capsys.readouterr().out
    assert "ada-v2 is stored" in out
    assert 'ryla-gen run flux-lora "PROMPT" --lora-id ada-v2 --trigger-word "ohwx"' in out
    small = ["--width", "256", "--height", "256", "--steps", "1"]
    assert here("run", "flux-lora", "fox", "--lora-id", "ada-v2", *small, "-o", str(tmp_path / "fox.png")) == 0
    assert here("lora", "list") == 0
    assert "ada-v2  stored  flux" in capsys.readouterr().out
    assert here("lora", "pull", "ada-v2", "-o", str(tmp_path / "back.safetensors")) == 0
    assert (tmp_path / "back.safetensors").read_bytes() == ada.read_bytes()
    assert here("lora", "remove", "ada-v2", "--yes") == 0
    assert here("lora", "show", "ada-v2") == 1
    assert "error[lora_not_found]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wan, ComfyUI", 'ryla-gen run wan2 "ohwx, PROMPT" --lora ada'),
        ("wan, VideoX-Fun", 'ryla-gen run wan22 "ohwx, PROMPT" --lora ada\nAlso taken by: wan2 --model 14B\n'),
        ("flux, kohya", 'ryla-gen run flux-lora "PROMPT" --lora-id ada --trigger-word "ohwx"\nAlso taken by: flux-kontext'),
    ],
)
def test_a_push_names_a_command_that_takes_the_lora(kind: str, said: str, tmp_path: Path, capsys: Capsys) -> None:
    assert here("lora", "push", str(stored(tmp_path, "ada.safetensors", lora(kind))), "--trigger-word", "ohwx") == 0
    assert f"Use it: {said}" in capsys.readouterr().out


def test_the_command_that_a_push_names_runs_as_it_stands(tmp_path: Path, capsys: Capsys) -> None:
    assert here("lora", "push", str(stored(tmp_path, "ada.safetensors", lora("wan, ComfyUI")))) == 0
    command = shlex.split(capsys.readouterr().out.partition("Use it: ryla-gen ")[2].splitlines()[0])
    small = ["--width", "256", "--height", "256", "--length", "5", "--steps", "1"]
    assert here(*command, *small, "-o", str(tmp_path / "waves.mp4")) == 0


def test_a_push_says_what_comfyui_does_not_load_and_which_model_it_is_for(tmp_path: Path, capsys: Capsys) -> None:
    path = stored(tmp_path, "ada_low_noise.safetensors", lora("wan, diffusers"))
    assert here("lora", "push", str(path), "--id", "ada") == 0
    out = capsys.readouterr().out
    assert "for wan 1.3B." in out
    assert "ComfyUI loads none of its 2 tensors, so it will have no effect there: transformer.blocks.*.attn1.to_q." in out
    assert "low-noise model" in out
    assert here("lora", "list") == 0
    assert "wan 1.3B" in capsys.readouterr().out
    assert len(told(capsys, "lora", "show", "ada")["data"]["notes"]) == 2


def test_every_verb_answers_in_json(ada: Path, tmp_path: Path, capsys: Capsys) -> None:
    pushed = told(capsys, "lora", "push", str(ada), "--id", "ada")["data"]
    assert (pushed["outcome"], pushed["file"], pushed["trigger_words"]) == ("pushed", file_name(ada.read_bytes()), ["ohwx"])
    assert told(capsys, "lora", "push", str(ada), "--id", "ada")["data"]["outcome"] == "already"
    [item] = told(capsys, "lora", "list")["data"]["items"]
    assert item == told(capsys, "lora", "show", "ada")["data"]
    assert told(capsys, "lora", "verify")["data"]["items"][0]["ok"] is True
    assert told(capsys, "lora", "pull", "ada", "-o", str(tmp_path / "x.safetensors"))["data"]["bytes"] == len(ada.read_bytes())
    assert told(capsys, "lora", "remove", "ada", "--yes")["data"]["removed"] == [
        f"ada/{file_name(ada.read_bytes())}",
        "ada/lora.json",
    ]
    assert told(capsys, "lora", "list")["data"] == {"items": []}


def test_verify_ends_with_1_and_names_what_is_wrong(ada: Path, capsys: Capsys, clean_environment: Path) -> None:
    assert here("lora", "push", str(ada), "--id", "ada") == 0
    (clean_environment / "emulator" / "models" / "loras" / "ada" / file_name(ada.read_bytes())).write_bytes(b"torn")
    found = told(capsys, "lora", "verify", code=1)
    assert found["error"]["code"] == "lora_not_found"
    assert "lora push FILE --id ada" in found["error"]["hint"]
    assert found["data"]["items"][0]["problems"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["push", "nothing.safetensors"], 2, "does not exist"),
        (["push", "{ada}", "--id", "Ada V2"], 2, "Nearest valid: --id ada-v2"),
        (["push", "{ada}", "--base", "sdxl"], 1, "Leave out --base"),
        (["push", "hf://wrong"], 2, "hf://OWNER/REPOSITORY/FILE"),
        (["push", "{ada}", "--backend", "runpod"], 1, "not reachable from outside"),
        (["push", "{ada}", "--backend", "comfyui"], 1, "comfyui.lora_folder"),
        (["remove", "nobody", "--yes"], 1, "lora_not_found"),
        (["pull", "nobody"], 1, "lora_not_found"),
    ],
)
def test_nonsense_ends_with_a_clear_error(ada: Path, capsys: Capsys, arguments: list[str], code: int, words: str) -> None:
    assert here("lora", *(item.format(ada=ada) for item in arguments)) == code
    assert words in " ".join(capsys.readouterr().err.split())


def test_removing_asks_and_where_nobody_can_answer_it_is_refused(ada: Path, tmp_path: Path) -> None:
    assert ryla("lora", "push", str(ada), "--id", "ada").returncode == 0
    done = ryla("lora", "remove", "ada")
    assert done.returncode == 2
    assert b"--yes" in done.stderr
    assert envelope(ryla("lora", "list", "--json").stdout)["data"]["items"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child there")
def test_ctrl_c_in_a_download_leaves_nothing_to_see_and_the_next_push_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = safetensors({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (300, 3072)})
    with Hub() as hub:
        hub.put("someone/ada", "ada.safetensors", data)
        hub.knobs.speed = 400_000.0
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        process = started("lora", "push", "hf://someone/ada/ada.safetensors", "--json")
        folder = tmp_path / "home" / "downloads" / "loras"
        eventually(lambda: process.poll() is not None or any(path.stat().st_size for path in folder.glob(".*.part")))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 130, err
        assert lines(out)[-1]["error"]["code"] == "job_canceled"
        assert envelope(ryla("lora", "list", "--json").stdout)["data"]["items"] == []
        hub.knobs.speed = None
        assert envelope(ryla("lora", "push", "hf://someone/ada/ada.safetensors", "--json").stdout)["data"]["outcome"] == "pushed"
        assert hub.seen.starts[-1] > 0, "it went on where it was stopped"
