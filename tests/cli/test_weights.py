"""``ryla-gen weights`` on a folder of this machine; on Modal it is tested beside ``deploy``."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ryla_gen.tools.local.folder import Folder
from ryla_gen.tools.local.install import InstallPlan
from ryla_gen.workflows.registry import workflow_class
from ryla_gen_cli.commands.local import _download_weights
from ryla_gen_cli.screen import Screen
from tests.locks.locking import checkpoint, portrait_lock, write_lock
from tests.models.downloads.https_host import CivitaiHost
from tests.models.downloads.hub import COMMIT, Hub

from .shell import envelope, environment, here, lines, ryla

OPEN, FACES = b"open weights" * 1000, b"face weights" * 500

SOURCE = '''
import json
from pathlib import Path
from typing import ClassVar
from ryla_gen import Flux
from ryla_gen.models.weights_table import Weights

class Tiny(Flux):
    """Made for tests: its weights are small."""

    name: ClassVar[str] = "tiny"

    def required_weights(self):
        rows = json.loads(Path(__file__).with_name("rows.json").read_text())
        return tuple(Weights(**{**row, "nodes": ()}) for row in rows)
'''


def row(name: str, data: bytes, **more: object) -> dict[str, object]:
    known = {"folder": "checkpoints", "name": name, "repo": "maker/model", "revision": COMMIT, "file": name, "nodes": []}
    known |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "approx_size": None, "sha256_source": "primary"}
    return known | {"gated": False, "licence": "Apache-2.0", "source": "", "note": None} | more


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        server.put("maker/model", "open.safetensors", OPEN)
        server.put("maker/faces", "face.onnx", FACES)
        yield server


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed plug-in whose weights lie on the hub of the test."""
    folder = tmp_path / "site"
    info = folder / "tiny-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "tiny.py").write_text(SOURCE)
    faces = row("face.onnx", FACES, repo="maker/faces", licence="non-commercial research", folder="insightface")
    (folder / "rows.json").write_text(json.dumps([row("open.safetensors", OPEN), faces]))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ryla_gen.workflows]\ntiny = tiny:Tiny\n")
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def run(site: Path, hub: Hub, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    path = f"{site}:{environment()['PYTHONPATH']}"
    return ryla("weights", *arguments, PYTHONPATH=path, HF_ENDPOINT=hub.url, HF_HOME=str(site / "hf"), **more)


def test_the_list_needs_nobody_and_names_sizes_and_licences(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("weights", "list", "--json") == 0
    data = envelope(capsys.readouterr().out)["data"]
    items = {item["file"]: item for item in data["items"]}
    schnell, dev = items["checkpoints/flux1-schnell-fp8.safetensors"], items["checkpoints/flux1-dev-fp8.safetensors"]
    assert (schnell["non_commercial"], dev["non_commercial"]) == (False, True)
    assert schnell["workflows"] == ["flux"]
    assert "flux_dev" in dev["workflows"]
    assert data["bytes"] == sum(item["bytes"] or 0 for item in data["items"]) > 50e9
    assert here("weights", "list", "flux") == 0
    said = capsys.readouterr().out
    assert "17.24 GB" in said
    assert "Apache-2.0" in said
    assert "1 file, 17.24 GB." in said


def test_options_of_a_workflow_may_need_more(capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for more in ([], ["--all-options"]):
        assert here("weights", "list", "wan2", "--json", *more) == 0
        counts.append(len(envelope(capsys.readouterr().out)["data"]["items"]))
    assert counts[0] == 3 < counts[1]


def test_sync_brings_them_and_verify_finds_what_is_wrong(site: Path, hub: Hub, models: Path) -> None:
    done = run(site, hub, "sync", "tiny", "--local", str(models), "--json")
    assert done.returncode == 0, done.stderr
    data = envelope(done.stdout)["data"]
    assert [(item["file"], item["outcome"]) for item in data["files"]] == [
        ("checkpoints/open.safetensors", "downloaded"),
        ("insightface/face.onnx", "downloaded"),
    ]
    assert data["downloaded"] == len(OPEN) + len(FACES)
    assert {item["type"] for item in lines(done.stdout)[:-1]} <= {"weights"}
    assert b"forbids commercial use (insightface/face.onnx)" in done.stderr
    assert (models / "insightface" / "face.onnx").read_bytes() == FACES

    listed = run(site, hub, "list", "tiny", "--local", str(models), "--json")
    assert [item["state"] for item in envelope(listed.stdout)["data"]["items"]] == ["present", "present"]

    (models / "insightface" / "face.onnx").write_bytes(FACES[::-1])
    (models / "checkpoints" / "open.safetensors").unlink()
    wrong = run(site, hub, "verify", "tiny", "--local", str(models), "--json")
    assert wrong.returncode == 1
    found = envelope(wrong.stdout)
    assert [item["state"] for item in found["data"]["files"]] == ["missing", "wrong_hash"]
    assert found["error"]["code"] == "model_not_found"
    assert found["error"]["hint"] == f"Download them: ryla-gen weights sync tiny --local {models}"
    again = run(site, hub, "sync", "tiny", "--local", str(models))
    assert (again.returncode, again.stdout.count(b"downloaded")) == (0, 2)
    assert b"commercial" not in again.stderr  # it was said once
    asked = run(site, hub, "sync", "tiny", "--local", str(models), "--licences")
    assert b"forbids commercial use (insightface/face.onnx)" in asked.stderr
    assert (models / "insightface" / "face.onnx").read_bytes() == FACES


def test_what_is_pending_is_said_before_and_fixed_by_the_first_sync(site: Path, hub: Hub, models: Path) -> None:
    open_ = row("open.safetensors", OPEN, revision=None, sha256=None, sha256_source=None)
    (site / "rows.json").write_text(json.dumps([open_, row("face.onnx", FACES, repo="maker/faces", folder="insightface")]))
    listed = run(site, hub, "list", "tiny", "--json")
    assert [item["pending"] for item in envelope(listed.stdout)["data"]["items"]] == [["hash", "commit"], []]
    done = run(site, hub, "sync", "tiny", "--local", str(models), "--json")
    sha256 = hashlib.sha256(OPEN).hexdigest()
    assert [item["fixed"] for item in envelope(done.stdout)["data"]["files"]] == [{"hash": sha256, "commit": COMMIT}, {}]
    again = run(site, hub, "sync", "tiny", "--local", str(models))
    assert f"fixed: checkpoints/open.safetensors: hash {sha256} and commit {COMMIT};".encode() in again.stderr
    (models / "checkpoints" / "open.safetensors").write_bytes(OPEN[::-1])
    wrong = run(site, hub, "verify", "tiny", "--local", str(models), "--json")
    assert [item["state"] for item in envelope(wrong.stdout)["data"]["files"]] == ["wrong_hash", "present"]


def test_a_gated_file_says_how_to_get_in_and_the_others_come(site: Path, hub: Hub, models: Path) -> None:
    hub.gated["maker/faces"] = {"hf_good"}
    done = run(site, hub, "sync", "tiny", "--local", str(models), "--json")
    assert done.returncode == 1
    found = envelope(done.stdout)
    assert [item["outcome"] for item in found["data"]["files"]] == ["downloaded", "failed"]
    assert found["error"]["code"] == "not_authorized"
    assert "insightface/face.onnx" in found["error"]["message"]
    assert "HF_TOKEN" in found["error"]["hint"]
    assert run(site, hub, "sync", "tiny", "--local", str(models), HF_TOKEN="hf_good").returncode == 0


@pytest.mark.parametrize(
    "line", ["list nope", "sync", "sync nope --local x", "verify", "list flux --local x --deployed", "frobnicate"]
)
def test_what_does_not_fit_is_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("weights", *line.split()) == 2
    assert "hint: " in capsys.readouterr().err


def test_without_a_token_modal_is_not_asked_twice(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_CONFIG_PATH", "/dev/null")
    done = ryla("weights", "sync", "flux", MODAL_CONFIG_PATH="/dev/null")
    assert done.returncode == 1
    assert b"error[not_authorized]" in done.stderr
    assert b"modal token new" in done.stderr


def test_civitai_s_token_reaches_civitai_alone_where_files_come_to_this_machine(
    civitai: CivitaiHost, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    civitai.put(7, OPEN, login=True)
    known = {"file": "a.safetensors", "sha256": hashlib.sha256(OPEN).hexdigest(), "gated": True}
    item = checkpoint("https://civitai.com/api/download/models/7", **known)
    path = write_lock(portrait_lock("mine", models=(item,)), tmp_path / "a folder")
    monkeypatch.setenv("RYLA_GEN_CIVITAI_URL", civitai.url)
    monkeypatch.setenv("RYLA_GEN_ALLOW_PRIVATE_ADDRESSES", "true")
    without = ryla("weights", "sync", str(path), "--local", str(models), "--json")
    assert envelope(without.stdout)["error"]["code"] == "not_authorized"
    monkeypatch.setenv("CIVITAI_TOKEN", "civitai-good")
    done = ryla("weights", "sync", str(path), "--local", str(models), "--json")
    assert done.returncode == 0, done.stdout
    assert (models / "checkpoints" / "a.safetensors").read_bytes() == OPEN
    assert (civitai.seen.logins, civitai.store.seen.logins) == ({"Bearer civitai-good"}, set())
    folder = Folder(tmp_path / "installed")
    made = InstallPlan(folder, "cpu", (), workflow_class(str(path))(prompt="x").required_weights(), 0, 0, 0, 0)
    _download_weights(Screen("local install"), made)
    assert (folder.models / "checkpoints" / "a.safetensors").read_bytes() == OPEN
    assert civitai.store.seen.logins == set()
