"""The images: what goes in, that nothing in the build can fail quietly, and the two scripts that run there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ryla_gen import locks
from ryla_gen.locks.families import node_packs
from ryla_gen.models.node_schemas import node_schemas
from ryla_gen.remote import image, pins
from ryla_gen.remote.build import patch_pulid
from ryla_gen.remote.config import FAMILIES
from ryla_gen.remote.variants import family_nodes
from tests.modal_loopback import Loopback

from .conftest import deploy

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "ryla_gen" / "remote" / "build"
ONLY_OUTSIDE = {
    "modal": "Modal puts its own client into every container",
    "typer": "the CLI's",
    "rich": "the CLI's",
    "tomlkit": "writes the settings of a person's machine",
    "pyyaml": "reads environments of comfy-cli and comfy-pack, for locks",
    "packaging": "reads what a hook requires, before a deploy",
}


def test_the_image_has_what_the_package_needs_at_versions_it_accepts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {item.name: item for item in map(Requirement, project["dependencies"]) if item.name not in ONLY_OUTSIDE}
    pinned = {item.name: str(item.specifier).removeprefix("==") for item in map(Requirement, (*pins.SDK, *pins.HUB))}
    assert set(pinned) == set(needed)
    for name, requirement in needed.items():
        assert requirement.specifier.contains(pinned[name]), f"{name}=={pinned[name]} is not {requirement}"


def test_the_range_of_modal_is_the_one_that_the_tests_pass_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [modal] = [item for item in map(Requirement, project["dependencies"]) if item.name == "modal"]
    assert modal.specifier.contains(distribution("modal").version)
    assert not modal.specifier.contains("1.6.3"), "it runs a redelivered input a second time, and fails the loopback"
    assert not modal.specifier.contains("1.7.0"), "nobody has tried it"


def test_the_worker_imports_nothing_that_its_image_lacks() -> None:
    code = (
        "import sys; import ryla_gen.remote.worker, ryla_gen.remote.app; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not {"typer", "huggingface_hub"} & set(loaded)
    assert {"pydantic", "aiohttp"} <= set(loaded)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_repository_is_at_its_commit_or_the_build_ends(family: str) -> None:
    recipe = image.recipe(family)
    for pack, steps in [
        (recipe.comfyui, image.comfyui_steps(recipe.comfyui)),
        *((p, image.pack_steps((p,))) for p in recipe.packs),
    ]:
        assert re.fullmatch(r"[0-9a-f]{40}", pack.commit)
        assert any(f'rev-parse HEAD)" = {pack.commit}' in step for step in steps)


def test_each_family_has_its_own_packs_and_custom_all_of_them() -> None:
    recipes = {family: image.recipe(family) for family in FAMILIES}
    names = {family: [pack.name for pack in recipe.packs] for family, recipe in recipes.items()}
    assert names["flux"] == names["video"] == []
    assert names["faces"] == ["ComfyUI_InstantID", "ComfyUI_PuLID_Flux_ll"]
    assert names["upscale"] == ["ComfyUI-SeedVR2_VideoUpscaler"]
    assert names["custom"] == [pack.name for pack in node_packs()]
    assert [family for family in names if recipes[family].needs_gpu] == ["upscale", "custom"]


def commands_of(family: str) -> list[str]:
    recipe = image.recipe(family)
    first = [*image.install_steps(recipe.lock), *image.comfyui_steps(recipe.comfyui)]
    return [*first, *image.pack_steps(recipe.packs), *image.snapshot_steps(), *image.check_steps(recipe)]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_no_command_hides_a_failure(family: str) -> None:
    commands = commands_of(family)
    for command in commands:
        assert not re.search(r"\|\||;|\|\s|2>|set \+e|true$", command), command
        for part in command.split("&&"):
            assert part.split()[0] in ("comfy", "git", "test", "python", "pip", "uv", "cd", "mkdir", "cp"), part
    [check] = [command for command in commands if "check_nodes.py" in command]
    assert any("check_snapshot.py" in command for command in commands) != image.recipe(family).needs_gpu
    assert set(family_nodes(family)) <= set(check.split()), "the classes are passed inline"
    assert set(family_nodes(family)) <= set(node_schemas(str(image.recipe(family).comfyui.version)))
    assert ("--cpu" in check) != image.recipe(family).needs_gpu


@pytest.mark.parametrize("family", list(FAMILIES))
def test_nothing_is_installed_but_the_lock(family: str) -> None:
    commands = commands_of(family)
    installing = [command for command in commands if re.search(r"\b(pip|uv|comfy)\b.*\binstall\b", command)]
    first, whole, *rest, comfyui = installing
    lock = f"{image.SCRIPTS_IN_IMAGE}/{image.recipe(family).lock.name}"
    assert commands.index(whole) == 1
    assert first.startswith(image.INSTALL) and first.endswith(f" -c {lock}")
    assert whole == f"{image.INSTALL} -r {lock}"
    assert all(command.startswith(image.INSTALL) and command.endswith(f" -r {lock}") for command in rest)
    assert {"--require-hashes", "--no-build-isolation"} <= set(image.INSTALL.split())
    assert {"--skip-requirement", "--skip-manager", "--skip-torch-or-directml"} <= set(comfyui.split())


def test_the_module_that_two_packages_bring_is_the_one_without_a_display() -> None:
    for family in FAMILIES:
        again = [step for step in image.install_steps(image.recipe(family).lock) if "--reinstall-package" in step]
        both = {"opencv-python", "opencv-python-headless"} <= set(locks.pins(image.recipe(family).lock.read_text()))
        assert [step.split()[-3] for step in again] == ["opencv-python-headless"] * both, family
    assert both, "custom has both"


def test_the_scripts_need_the_standard_library_only() -> None:
    for script in set(SCRIPTS.glob("*.py")) - {SCRIPTS / image.SNAPSHOT_NODE}:  # which runs inside ComfyUI
        for node in ast.walk(ast.parse(script.read_text())):
            names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "?"] if isinstance(node, ast.ImportFrom) and not node.level else []
            known = {*sys.stdlib_module_names, *(path.stem for path in SCRIPTS.glob("check_*.py"))}
            assert {name.partition(".")[0] for name in names} <= known, f"{script.name}: {names}"


def check_nodes(*classes: str, command: str = "") -> subprocess.CompletedProcess[str]:
    emulator = command or f"{sys.executable} -m ryla_gen.emulator --port {{port}}"
    call = [sys.executable, str(SCRIPTS / "check_nodes.py"), emulator, *classes]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_the_build_goes_on_when_every_class_is_registered() -> None:
    done = check_nodes("KSampler", "ApplyPulidFlux")
    assert (done.returncode, done.stdout) == (0, "all 2 node classes are registered\n"), done.stderr


def test_the_build_ends_when_a_class_is_missing_or_comfyui_does_not_boot() -> None:
    done = check_nodes("KSampler", "NodeOfABrokenPack")
    assert done.returncode == 1
    assert "does not have these node classes: NodeOfABrokenPack" in done.stderr
    done = check_nodes("KSampler", command=f"{sys.executable} -c 'raise SystemExit(\"no torch here\")'")
    assert done.returncode == 1
    assert "no torch here" in done.stderr
    assert "ended while it started" in done.stderr


WRAPPER = """def {name}(wrapper_executor, noise, latent_image, disable_pbar=False, seed=None):
    callback = None
    return wrapper_executor(noise, latent_image, callback, disable_pbar, seed)


"""


FORWARD = """def pulid_forward_orig(
    self,
    guidance: Tensor = None,
    control = None,
    transformer_options={},
    attn_mask: Tensor = None,
) -> Tensor:
    return transformer_options


"""


def pack(tmp_path: Path, text: str, forward: str = FORWARD) -> Path:
    (tmp_path / patch_pulid.FILE).write_text(text)
    (tmp_path / patch_pulid.HOOK_FILE).write_text(forward)
    return tmp_path


def mend(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(SCRIPTS / "patch_pulid.py"), *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=600)


def wrappers() -> str:
    return "".join(WRAPPER.format(name=name) for name in patch_pulid.WRAPPERS)


def test_pulid_is_mended_so_that_its_functions_take_the_new_keywords(tmp_path: Path) -> None:
    folder = pack(tmp_path, wrappers())
    assert "does not take latent_shapes" in mend("--check", str(folder)).stderr
    assert mend(str(folder)).returncode == 0
    assert mend("--check", str(folder)).returncode == 0
    names: dict[str, object] = {"Tensor": object}
    exec((folder / patch_pulid.FILE).read_text(), names)
    for name in patch_pulid.WRAPPERS:
        seen = names[name](lambda *a, **k: k, 1, 2, latent_shapes=[3])  # type: ignore[operator]
        assert seen == {"latent_shapes": [3]}
    exec((folder / patch_pulid.HOOK_FILE).read_text(), names)
    forward = names[patch_pulid.FORWARD]
    assert forward(None, timestep_zero_index=None, transformer_options={"a": 1}) == {"a": 1}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "forward", "found"),
    [
        (WRAPPER.format(name=patch_pulid.WRAPPERS[0]), FORWARD, "pulidflux.py: .* found 1"),
        (wrappers(), "", "PulidFluxHook.py: .* found 0"),
    ],
)
def test_a_pack_with_another_text_is_left_alone_and_ends_the_build(tmp_path: Path, text: str, forward: str, found: str) -> None:
    folder = pack(tmp_path, text, forward)
    done = mend(str(folder))
    assert done.returncode == 1
    assert re.search(found, done.stderr)
    assert (folder / patch_pulid.FILE).read_text() == text
    assert (folder / patch_pulid.HOOK_FILE).read_text() == forward


def test_a_plugins_entry_points_travel_with_its_source() -> None:
    class Point:
        dist = distribution("pytest")

    files = dict(image.plugin_metadata([Point()]))  # type: ignore[list-item]
    assert {path.name for path in files} == {"METADATA", "entry_points.txt"}
    assert all(path.is_file() for path in files)
    assert all(re.fullmatch(r"/root/pytest-[\d.]+\.dist-info/\w+(\.txt)?", remote) for remote in files.values())


@pytest.mark.parametrize(("given", "builder"), [({}, image.BUILDER), ({image.BUILDER_VARIABLE: "2024.10"}, "2024.10")])
def test_the_images_are_built_by_the_builder_that_is_pinned_whatever_the_workspace_has(
    given: dict[str, str], builder: str, tmp_path: Path
) -> None:
    with Loopback() as loopback:
        loopback.knobs.image_builder = "2026.10"
        deploy(loopback, tmp_path, **given)
        assert {request.builder_version for request in loopback._world.images.values()} == {builder}
