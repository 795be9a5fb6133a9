"""The sample files: the same bytes every time, over nobody's files, and each works with the command that is printed beside it."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import pytest

from docs_tools.markdown import blocks
from ryla_gen.faces.looking import look_for_face
from ryla_gen.models.loras.loading import not_loaded
from ryla_gen.models.loras.source import default_id
from ryla_gen.tools.samples import FILES, SAMPLES, write_samples
from ryla_gen.tools.samples.loras import LORAS, lora_file

from .shell import here

ROOT = Path(__file__).resolve().parents[2]
BASES = {"mira": "flux", "mira-z": "z_image", "mira-qwen": "qwen", "mira-wan": "wan"}
HASHES = {
    "mira.safetensors": "ee38b885ebd46881",
    "mira-z.safetensors": "b0b2c8e22ad54635",
    "mira-qwen.safetensors": "23c7716a619e87b7",
    "mira-wan.safetensors": "61e7f6f7565f648e",
}
"""Of what is made by code; the others are files."""


def test_they_are_written_once_and_a_file_of_the_same_name_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new" / "photo.png").mkdir(parents=True)
    (tmp_path / "new" / "face.png").write_bytes(b"mine")
    for states in ({"written", "kept"}, {"there", "kept"}):
        assert here("samples", str(tmp_path / "new"), "--json") == 0
        told = capsys.readouterr()
        items = json.loads(told.out)["data"]["items"]
        assert {item["state"] for item in items} == states
        assert [item["name"] for item in items if item["state"] == "kept"] == ["face.png", "photo.png"]
        assert told.err.count("left alone") == 2
    assert (tmp_path / "new" / "face.png").read_bytes() == b"mine"
    (tmp_path / "file").write_bytes(b"")
    assert here("samples", str(tmp_path / "file")) == 1
    assert "ryla-gen samples -o FOLDER" in capsys.readouterr().err


def test_they_go_where_the_option_says_and_the_remarks_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "face.png").write_bytes(b"mine")
    assert here("samples", "-o", "new", "--quiet") == 0
    told = capsys.readouterr()
    assert (told.err, told.out.startswith("cd new\n")) == ("", True)
    assert (tmp_path / "new" / "photo.png").is_file()
    assert here("samples", "new", "--output", "other") == 2
    assert "hint: Give it once: ryla-gen samples -o other" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_they_are_the_same_bytes_on_every_machine() -> None:
    found = {sample.name: hashlib.sha256(sample.read()).hexdigest()[:16] for sample in SAMPLES}
    assert {name: found[name] for name in LORAS} == HASHES
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 70_000, "they travel with the package"


def test_the_graph_is_the_one_of_the_page_that_shows_it() -> None:
    page = (ROOT / "docs" / "adding-a-workflow.md").read_text(encoding="utf-8")
    shown = next(block for block in blocks(page, "adding-a-workflow.md") if block.language == "json")
    assert json.loads((FILES / "lighthouse.json").read_bytes()) == json.loads(shown.text)


@pytest.mark.parametrize("name", LORAS)
def test_a_lora_is_of_its_base_and_all_of_it_is_loaded(name: str, tmp_path: Path) -> None:
    data = lora_file(name)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors = {key: value for key, value in header.items() if key != "__metadata__"}
    assert max(value["data_offsets"][1] for value in tensors.values()) == len(data) - 8 - size
    assert not_loaded(tensors, BASES[default_id(name)]) == []


def test_the_face_passes_the_emulators_check(tmp_path: Path) -> None:
    assert look_for_face((FILES / "face.png").read_bytes(), emulated=True, models=tmp_path) == "face"


@pytest.mark.parametrize("command", [sample.command for sample in SAMPLES])
def test_the_command_beside_a_file_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_samples(tmp_path)
    monkeypatch.chdir(tmp_path)
    quick = ["--steps", "1"] if "instantid" in command or "fill" in command else []
    assert here(*shlex.split(command)[1:], *quick) == 0


def test_a_lora_is_stored_for_its_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(tmp_path)
    for name, base in BASES.items():
        assert here("lora", "push", str(tmp_path / f"{name}.safetensors"), "--json") == 0
        assert f'"base": "{base}"' in capsys.readouterr().out
