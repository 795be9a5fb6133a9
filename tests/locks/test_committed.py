"""The committed locks: made from the pins as they are, closed, and the same wherever two images hold the same package."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from ryla_gen import locks
from ryla_gen.errors import InvalidInputError
from ryla_gen.remote import pins
from ryla_gen.remote.locks import __main__ as command

online = pytest.mark.skipif(not os.environ.get("RYLA_LOCK_TESTS"), reason="it needs the network: set RYLA_LOCK_TESTS=1")
COMMAND_LINE = ("click", "typer", "rich")
"""What Modal's client needs where people type, and in no container."""
IMAGES = pytest.mark.parametrize("image", pins.IMAGES)


def lock_of(image: str) -> str:
    return pins.lock_file(image).read_text(encoding="utf-8")


@IMAGES
def test_the_lock_was_made_from_the_pins_as_they_are(image: str) -> None:
    assert command.fresh(image), f"write it anew: {command.COMMAND} {image}"


@IMAGES
def test_the_lock_has_our_own_pins_and_a_hash_for_everything(image: str) -> None:
    lock = lock_of(image)
    pinned = locks.pins(lock)
    for item in map(Requirement, pins.requirements(image).own):
        assert item.specifier.contains(pinned[locks.canonical(item.name)]), item
    entries = [entry for entry in lock.split("\n") if entry and not entry.startswith((" ", "#"))]
    assert len(entries) == len(pinned)
    assert all(entry.endswith(" \\") for entry in entries), "what follows is a hash"


def test_two_images_with_a_gpu_hold_the_same_version_of_a_package() -> None:
    found: dict[str, set[str]] = {}
    for image in pins.FAMILIES:
        for name, version in locks.pins(lock_of(image)).items():
            found.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in found.items() if len(versions) > 1} == {}
    assert found["transformers"] == {"4.57.1"}, "one tokenizer for every prompt"
    assert found["opencv-python"] == found["opencv-python-headless"] == {"4.12.0.88"}
    assert not {"onnxruntime", "opencv-contrib-python"} & set(found)
    assert max(found["click"], key=Version) == "8.1.8", "comfy-cli 1.5.3 takes no later one"


@IMAGES
def test_modals_client_works_with_the_versions_of_the_image(image: str) -> None:
    """Modal appends what its client needs to the path of modules, so that an image's own packages win."""
    pinned = locks.pins(lock_of(image))
    for item in map(Requirement, requires("modal") or []):
        version = pinned.get(locks.canonical(item.name))
        wanted = item.marker is None or item.marker.evaluate({"extra": ""})
        if wanted and version and item.name not in COMMAND_LINE:
            assert item.specifier.contains(version), f"{item} meets {version}"


@online
@pytest.mark.timeout(600)
@IMAGES
def test_the_lock_is_closed_and_fits_together(image: str) -> None:
    locks.check_closed(lock_of(image), pins.requirements(image))


@online
@pytest.mark.timeout(600)
def test_a_lock_that_lacks_a_package_or_has_a_wrong_hash_is_noticed() -> None:
    lock = lock_of(pins.WEIGHTS)
    start = lock.index("\nfsspec==") + 1
    end = lock.index("\n", lock.index("# via", start)) + 1
    with pytest.raises(InvalidInputError, match="fsspec"):
        locks.check_closed(lock[:start] + lock[end:], pins.requirements(pins.WEIGHTS))
    broken = lock[:start] + f"fsspec=={locks.pins(lock)['fsspec']} \\\n    --hash=sha256:{'0' * 64}\n" + lock[end:]
    with pytest.raises(InvalidInputError, match=r"fsspec|hash"):
        locks.check_closed(broken, pins.requirements(pins.WEIGHTS))


def test_a_stale_lock_is_named_with_the_command_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--check"]) == 0
    shutil.copytree(pins.lock_file("flux").parent, tmp_path / "locks")
    flux = tmp_path / "locks" / "flux.requirements.txt"
    flux.write_text(flux.read_text().replace("# own: torch==2.9.1\n", "# own: torch==2.9.0\n", 1))
    monkeypatch.setattr(pins, "LOCKS", tmp_path / "locks")
    capsys.readouterr()
    assert command.main(["--check"]) == 1
    printed = capsys.readouterr()
    assert "flux: stale" in printed.out and "video: made from the pins as they are" in printed.out
    assert printed.err == "Write them again: python -m ryla_gen.remote.locks flux\n"


@pytest.mark.parametrize("given", ["ComfyUI", "Comfy=/tmp", "ComfyUI="])
def test_a_source_that_names_no_repository_is_refused_with_the_names(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["flux", "--source", given]) == 1
    assert "names: ComfyUI, ComfyUI-SeedVR2_VideoUpscaler, ComfyUI_InstantID" in capsys.readouterr().err
