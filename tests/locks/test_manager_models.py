"""ComfyUI-Manager's list, as its package has it on disk: found by name and folder, several addresses are several answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.tools.locking.manager_models import find_in_manager, listed_in_manager, manager_models

HUB = "https://huggingface.co/maker/model/resolve/main"


def entry(filename: str, save_path: str = "default", type: str = "checkpoint", url: str | None = None) -> dict[str, Any]:  # noqa: A002
    place = {"filename": filename, "save_path": save_path, "type": type, "url": url or f"{HUB}/{filename}"}
    return {**place, "name": filename, "base": "SDXL", "description": "", "reference": "", "size": "1GB"}


ENTRIES = [
    entry("a.safetensors"),
    entry("up.pth", type="upscale"),
    entry("t5.safetensors", "clip", "clip"),
    entry("easy.pt", "embeddings/SD1.5", "embedding", "https://civitai.com/api/download/models/9208"),
    entry("model.safetensors", "clip_vision/SD1.5", "clip_vision", f"{HUB}/one/model.safetensors"),
    entry("twice.safetensors", "loras/one", "lora", f"{HUB}/one/twice.safetensors"),
    entry("twice.safetensors", "loras/two", "lora", f"{HUB}/two/twice.safetensors"),
    entry("raw.py", "groundingdino", "GroundingDINO", "https://huggingface.co/maker/model/raw/main/raw.py"),
    entry("<huggingface>", "diffusers", "diffusers", "maker/model"),
    entry("out.safetensors", "../outside", "lora"),
    entry("pack.safetensors", "custom_nodes/pack", "lora"),
    entry("odd.safetensors", type="unheard of"),
    entry("plain.safetensors", "vae", "vae", "http://models.example/plain.safetensors"),
]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a package of that name, whose import would fail the test."""
    info = tmp_path / "comfyui_manager-4.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: comfyui-manager\nVersion: 4.9\n")
    (info / "RECORD").write_text("comfyui_manager/__init__.py,,\ncomfyui_manager/model-list.json,,\n")
    (tmp_path / "comfyui_manager").mkdir()
    (tmp_path / "comfyui_manager" / "__init__.py").write_text("raise AssertionError('it was imported')\n")
    (tmp_path / "comfyui_manager" / "model-list.json").write_text(json.dumps({"models": ENTRIES}))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    manager_models.cache_clear()
    yield tmp_path / "comfyui_manager" / "model-list.json"
    manager_models.cache_clear()


def found(file: str, folder: str) -> list[str]:
    return [item.url for item in find_in_manager(file, folder)]


def test_a_file_is_found_in_its_folder_by_type_path_or_an_older_name(site: Path) -> None:
    assert found("a.safetensors", "checkpoints") == [f"{HUB}/a.safetensors"]
    assert found("up.pth", "upscale_models") == [f"{HUB}/up.pth"]
    assert found("t5.safetensors", "text_encoders") == found("t5.safetensors", "clip") == [f"{HUB}/t5.safetensors"]
    assert found("easy.pt", "embeddings") == found("SD1.5/easy.pt", "embeddings") != []
    assert found("a.safetensors", "vae") == [] == found("b.safetensors", "checkpoints")
    assert listed_in_manager("", "up.pth") == (("upscale_models", f"{HUB}/up.pth"),)
    assert {item.source for item in manager_models()} == {"comfyui-manager 4.9"}


def test_several_addresses_are_several_answers_unless_the_folder_tells(site: Path) -> None:
    assert found("twice.safetensors", "loras") == [f"{HUB}/one/twice.safetensors", f"{HUB}/two/twice.safetensors"]
    assert found("two/twice.safetensors", "loras") == [f"{HUB}/two/twice.safetensors"]


def test_a_name_that_many_makers_give_counts_only_where_the_list_says(site: Path) -> None:
    assert found("model.safetensors", "clip_vision") == []
    assert found("SD1.5\\model.safetensors", "clip_vision") == [f"{HUB}/one/model.safetensors"]


def test_what_a_lock_may_not_name_is_left_out(site: Path) -> None:
    assert {item.file for item in manager_models()} == {
        *("a.safetensors", "up.pth", "t5.safetensors", "easy.pt", "model.safetensors", "twice.safetensors", "raw.py")
    }
    assert found("raw.py", "groundingdino") == [f"{HUB}/raw.py"]


def test_a_list_of_another_form_or_no_package_gives_nothing(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write_text('{"models": [1]}')
    assert manager_models() == ()
    manager_models.cache_clear()
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(site.parent.parent)])
    if not any(Path(place).glob("comfyui_manager-*") for place in sys.path if Path(place).is_dir()):
        assert manager_models() == ()
