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
from ryla_gen.locks.families import node_packs
from ryla_gen.models.node_schemas import VERSIONS
from ryla_gen.remote import image as image_of
from ryla_gen.remote import pins
from ryla_gen.remote.locks import __main__ as command
from ryla_gen.remote.variants import family_nodes

online = pytest.mark.skipif(not os.environ.get("RYLA_LOCK_TESTS"), reason="it needs the network: set RYLA_LOCK_TESTS=1")
COMMAND_LINE = ("click", "typer", "rich")
"""What Modal's client needs where people type, and in no container."""
IMAGES = pytest.mark.parametrize("image", pins.IMAGES)
FAMILIES = pytest.mark.parametrize("family", list(pins.FAMILIES))
ROOT = Path(__file__).resolve().parents[2]


def lock_of(image: str) -> str:
    return pins.requirements_file(image).read_text(encoding="utf-8")


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
    shutil.copytree(pins.requirements_file("flux").parent, tmp_path / "locks")
    flux = tmp_path / "locks" / "flux.lock"
    flux.write_text(flux.read_text().replace('"torch==', '"torch==9', 1))
    monkeypatch.setattr(pins, "LOCKS", tmp_path / "locks")
    capsys.readouterr()
    assert command.main(["--check"]) == 1
    printed = capsys.readouterr()
    assert "flux: stale" in printed.out and "video: made from the pins as they are" in printed.out
    assert printed.err == "Write them again: python -m ryla_gen.remote.locks flux\n"


def test_packages_that_are_not_those_the_lock_names_are_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(pins.LOCKS, tmp_path / "locks")
    monkeypatch.setattr(pins, "LOCKS", tmp_path / "locks")
    assert command.fresh("upscale")
    with pins.requirements_file("upscale").open("a") as file:
        file.write("# changed by hand\n")
    assert not command.fresh("upscale")


def test_images_of_the_same_packages_share_one_file_and_an_image_with_others_gets_its_own() -> None:
    core = lock_of("flux")
    assert pins.requirements_file("video") == pins.requirements_file("flux")
    assert command.file_of("video", core, {"video": core}) == "core.requirements.txt"
    other = core + "# another package\n"
    assert command.file_of("video", other, {"video": other}) == "video.requirements.txt"
    assert command.file_of("faces", core, {"faces": core}) == "core.requirements.txt"
    every = {family: other for family in pins.FAMILIES if pins.requirements_file(family) == pins.requirements_file("flux")}
    assert {command.file_of(family, other, every) for family in every} == {"core.requirements.txt"}, "moved together, they share it"


@FAMILIES
def test_a_lock_has_the_packs_whose_classes_the_workflows_of_its_family_use_and_no_other(family: str) -> None:
    lock, used = pins.image_lock(family), family_nodes(family)
    assert [pack for pack in node_packs() if used.intersection(pack.nodes)] == list(lock.packs)
    assert set(pins.PACK_REQUIREMENTS) >= {pack.name for pack in lock.packs}


@FAMILIES
def test_everything_that_a_lock_takes_in_has_a_source_and_a_licence(family: str) -> None:
    lock = pins.image_lock(family)
    assert [item.name for item in (lock.comfyui, *lock.packs) if not item.source or not item.licence] == []
    assert lock.comfyui.source in (f"its tag v{lock.release}", "named by --commit")


@FAMILIES
def test_the_recipe_is_what_the_lock_says(family: str) -> None:
    lock, recipe = pins.image_lock(family), image_of.recipe(family)
    assert (recipe.comfyui, recipe.packs, recipe.python) == (lock.comfyui, lock.packs, lock.python.version)
    assert recipe.lock.name == lock.python.file
    assert locks.sha256_of(recipe.lock.read_text(encoding="utf-8")) == lock.python.sha256


@FAMILIES
def test_the_node_classes_of_the_pinned_comfyui_are_packaged(family: str) -> None:
    assert pins.image_lock(family).release in VERSIONS


def test_no_other_source_names_a_release_or_a_commit_of_what_is_locked() -> None:
    pinned = {pack for family in pins.FAMILIES for pack in (pins.image_lock(family).comfyui, *pins.image_lock(family).packs)}
    assert len({pack.name for pack in pinned}) == len(pinned), "one commit of a repository in all families"
    for path in sorted(ROOT.joinpath("ryla_gen").rglob("*.*")):
        if path.suffix in (".py", ".json", ".toml"):
            text = path.read_text(encoding="utf-8")
            assert [pack.name for pack in pinned if pack.commit in text] == [], path
    for name in ("pins", "image", "config", "app"):
        text = ROOT.joinpath("ryla_gen", "remote", f"{name}.py").read_text(encoding="utf-8")
        assert [release for release in VERSIONS if release in text] == [], name


@pytest.mark.parametrize("given", ["ComfyUI", "Comfy=/tmp", "ComfyUI="])
def test_a_source_that_names_no_repository_is_refused_with_the_names(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["flux", "--source", given]) == 1
    assert "names: ComfyUI, ComfyUI-SeedVR2_VideoUpscaler, ComfyUI_InstantID" in capsys.readouterr().err
