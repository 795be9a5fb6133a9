from __future__ import annotations

import json
import re
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from ryla_gen.comfy.server import free_port

from .shell import SECONDS, SMALL, envelope, here, picture, started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_says_where_once(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    process = started("emulator", "--port", str(port), "--folder", str(tmp_path / "files"))
    assert process.stdout is not None
    url = re.search(r"http://\S+", process.stdout.readline().decode())
    assert url is not None
    assert url[0] == f"http://127.0.0.1:{port}"
    with urllib.request.urlopen(f"{url[0]}/system_stats", timeout=SECONDS) as answer:
        assert json.load(answer)["system"]["comfyui_version"]
    assert here("run", "flux", "fox", *SMALL, "--url", url[0], "-o", str(tmp_path / "x.png")) == 0
    assert picture(tmp_path / "x.png").size == (256, 256)
    assert list((tmp_path / "files" / "output").rglob("*.png")) != []
    capsys.readouterr()
    assert here("emulator", "--port", str(port)) == 1  # taken, while the other one serves
    said = capsys.readouterr().err
    assert f"Port {port} is in use" in said
    assert "--port" in said.partition("hint:")[2]
    process.send_signal(number)
    rest, notes = process.communicate(timeout=SECONDS)
    assert (process.returncode, rest) == (0, b"")
    assert b"--url" in notes
    assert b"Traceback" not in notes


def test_programs_read_the_address_as_json() -> None:
    process = started("emulator", "--port", "0", "--json")
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=SECONDS)
    assert (rest, process.returncode) == (b"", 0)
    data = envelope(line)["data"]
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+", data["url"])
    assert not Path(data["folder"]).exists()  # a temporary one goes with the process


@pytest.mark.parametrize(("host", "said"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_listening_everywhere_is_said_with_an_address_that_can_be_used(host: str, said: str) -> None:
    if host == "::" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    process = started("emulator", "--host", host, "--port", "0", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    url = envelope(process.stdout.readline())["data"]["url"]
    assert url.startswith(f"http://{said}:")
    notes = b""
    while b"Use it:" not in notes:  # the last it says before it serves
        notes += process.stderr.readline() or b"Use it: never said"
    with urllib.request.urlopen(f"{url}/system_stats", timeout=SECONDS) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert b"warning: it listens on every address" in notes
    assert f"--url {url} ".encode() in notes


@pytest.mark.parametrize("host", ["", " "])
def test_an_empty_host_is_not_taken_for_every_address(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("emulator", "--port", "0", "--host", host) == 2
    assert "--host 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--host", "192.0.2.1"], ["--host", "no such host"], ["--folder", "/dev/null/x"]])
def test_what_cannot_be_served_is_one_clear_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert here("emulator", "--port", "0", *arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("error[server_unhealthy]")
    assert "hint:" in said


@pytest.mark.parametrize(("more", "release"), [((), "0.28.2"), (("--comfyui", "0.3.71"), "0.3.71")])
def test_the_emulator_is_of_the_release_that_is_asked_for(more: tuple[str, ...], release: str) -> None:
    process = started("emulator", "--port", "0", "--json", *more)
    assert process.stdout is not None
    data = envelope(process.stdout.readline())["data"]
    with urllib.request.urlopen(f"{data['url']}/system_stats", timeout=SECONDS) as answer:
        assert json.load(answer)["system"]["comfyui_version"] == data["comfyui"] == release
    with urllib.request.urlopen(f"{data['url']}/object_info/ResizeImageMaskNode", timeout=SECONDS) as answer:
        assert bool(json.load(answer)) is (release == "0.28.2")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)


def test_a_release_without_schemas_starts_no_emulator() -> None:
    process = started("emulator", "--port", "0", "--comfyui", "9.9")
    _, notes = process.communicate(timeout=SECONDS)
    assert process.returncode == 2 and b"0.28.2 and 0.3.71" in notes


@pytest.mark.parametrize("strict", [True, False])
def test_a_strict_one_refuses_weights_that_it_does_not_have(
    strict: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "of_a_stranger.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0], "seed": 1, "steps": 2,
                "cfg": 1.0, "sampler_name": "er_sde", "scheduler": "simple", "denoise": 1.0,
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
    }  # fmt: skip
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    process = started("emulator", *(["--strict"] if strict else []), "--port", "0", "--json")
    assert process.stdout is not None
    url = envelope(process.stdout.readline())["data"]["url"]
    code = here("graph", "run", str(tmp_path / "graph.json"), "--url", url, "-o", str(tmp_path / "x.png"), "--json")
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    if strict:
        assert (code, answer["error"]["code"]) == (1, "model_not_found")
    else:
        assert code == 0
        assert "emulated_weights" in json.dumps(answer["data"])
