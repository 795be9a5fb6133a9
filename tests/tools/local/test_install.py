"""Installing a ComfyUI on this machine: real git, a real Python environment, and a server that has to start."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ryla_gen.errors import BackendNotConfiguredError, ServerUnhealthyError, StorageFailedError
from ryla_gen.tools.local import install_steps
from ryla_gen.tools.local.command_runner import CommandRunner, Step
from ryla_gen.tools.local.folder import Folder
from ryla_gen.tools.local.install import install, plan
from ryla_gen.tools.local.install_steps import Pins
from ryla_gen.tools.local.process import Local
from tests.cli.shell import ryla

from .conftest import ROOT, Sources, git

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="installs ComfyUI on Linux and macOS only")


def titles(made) -> list[str]:
    return [step.title for step in made.steps]


def carried_out(folder: Folder, origin: Sources, pins: Pins | None = None) -> list[str]:
    done: list[str] = []
    made = plan(folder, ("flux",), "cpu", pins=pins or origin.pins, weights=False)
    install(made, origin.environment, told=lambda step: done.append(step.title))
    return done


@pytest.mark.usefixtures("comfy_cli")
async def test_an_installation_is_made_once_started_and_stopped(folder: Folder, origin: Sources) -> None:
    local = Local(folder, origin.environment)
    assert (await local.status()).state == "not installed"
    assert "ComfyUI 0.28.2" in carried_out(folder, origin)
    assert folder.head(folder.comfyui) == origin.pins.comfyui.commit
    assert folder.head(folder.comfyui / "custom_nodes" / "a_pack") == origin.pins.packs[0].commit
    assert not (folder.root / "ComfyUI.part").exists()
    again = carried_out(folder, origin)
    assert [title for title in again if title.startswith(("ComfyUI", "Python", "requirements", "download"))] == []

    assert (await local.status()).state == "stopped"
    found = await local.start(port=0, cpu=True, ready_within=60)
    try:
        assert (found.state, found.comfyui) == ("ready", "0.28.2")
        same = await Local(folder, origin.environment).start(port=0, cpu=True, ready_within=60)
        assert (same.pid, same.url) == (found.pid, found.url)
        assert str(folder.models) in (folder.root / "work" / "extra_model_paths.yaml").read_text()
    finally:
        assert local.stop() == found.pid
    assert (await local.status()).state == "stopped"
    assert local.stop() is None


@pytest.mark.usefixtures("comfy_cli")
def test_a_command_that_fails_is_shown(folder: Folder, origin: Sources) -> None:
    wrong = replace(origin.pins, comfyui=replace(origin.pins.comfyui, version="9.9.9"))
    steps = plan(folder, ("flux",), "cpu", pins=wrong, weights=False).steps
    runner = CommandRunner(folder.state, folder.install_log, origin.environment)
    folder.root.mkdir()
    with pytest.raises(ServerUnhealthyError) as caught:
        for step in steps[1:]:
            runner.run(step)
    assert caught.value.details["step"] == "ComfyUI 9.9.9"
    assert "v9.9.9" in caught.value.details["output"] and "comfy_cli" in caught.value.message
    assert "v9.9.9" in folder.install_log.read_text()
    assert not folder.comfyui.exists()


def test_the_reason_of_a_failure_is_shown_and_not_the_traceback_that_followed_it(tmp_path: Path) -> None:
    runner = CommandRunner(tmp_path / "state", tmp_path / "log", {"PATH": "/bin:/usr/bin"})
    traceback = "\n".join(f'  File "comfy_cli/{number}.py", line {number}, in run' for number in range(60))
    why = "Collecting torch==9\nERROR: No matching distribution found for torch==9"
    said = f"{why}\nTraceback (most recent call last):\n{traceback}"
    step = Step("PyTorch", ("sh", "-c", f"cat <<'END'\n{said}\nCalledProcessError: it returned 1\nEND\nexit 1"))
    with pytest.raises(ServerUnhealthyError) as caught:
        runner.run(step)
    assert caught.value.message.endswith("\n    ERROR: No matching distribution found for torch==9")
    with pytest.raises(ServerUnhealthyError, match="\n    something else\n"):
        runner.run(Step("another", ("sh", "-c", "echo something else; exit 1")))


def test_what_is_done_is_remembered_until_it_is_gone_or_another_command(tmp_path: Path) -> None:
    runner = CommandRunner(tmp_path / "state", tmp_path / "log", {"PATH": "/bin:/usr/bin"})
    made = Step("a file", ("touch", str(tmp_path / "made")), produces=tmp_path / "made")
    never = Step("nothing", ("true",), produces=tmp_path / "never")
    runner.run(made)
    with pytest.raises(ServerUnhealthyError, match="not there afterwards"):
        runner.run(never)
    assert runner.pending([made, never]) == [never]
    assert runner.pending([replace(made, command=("touch", "other"))]) != []
    (tmp_path / "made").unlink()
    assert runner.pending([made]) == [made]


@pytest.mark.usefixtures("comfy_cli")
def test_a_tag_that_moved_is_not_taken_for_the_pin(folder: Folder, origin: Sources) -> None:
    moved = replace(origin.pins, comfyui=replace(origin.pins.comfyui, commit="0" * 40))
    steps = [item for item in plan(folder, ("flux",), "cpu", pins=moved, weights=False).steps if "ComfyUI" in item.title]
    runner = CommandRunner(folder.state, folder.root / "log", origin.environment)
    folder.root.mkdir()
    runner.run(steps[0])
    with pytest.raises(ServerUnhealthyError, match=f"expected {'0' * 40}, found {origin.pins.comfyui.commit}"):
        runner.run(steps[1])
    assert not folder.comfyui.exists()


@pytest.mark.usefixtures("comfy_cli")
def test_a_clone_that_was_killed_halfway_is_begun_again(folder: Folder, origin: Sources) -> None:
    (folder.root / "ComfyUI.part" / ".git").mkdir(parents=True)
    steps = plan(folder, ("flux",), "cpu", pins=origin.pins, weights=False).steps
    runner = CommandRunner(folder.state, folder.install_log, origin.environment)
    for step in steps[1:4]:
        runner.run(step)
    assert folder.head(folder.comfyui) == origin.pins.comfyui.commit


@pytest.mark.usefixtures("comfy_cli")
def test_an_older_installation_is_moved_to_the_pin_unless_somebody_changed_it(folder: Folder, origin: Sources) -> None:
    folder.comfyui.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", str(origin.comfyui), str(folder.comfyui)], check=True, timeout=600)
    (folder.comfyui / "nodes.py").write_text("older")
    git(folder.comfyui, "commit", "-aqm", "older")
    (folder.comfyui / "nodes.py").write_text("changed by hand")
    steps = [item for item in install_steps.steps(folder, origin.pins, "cpu", frozenset()) if item.title.endswith("of ComfyUI")]
    runner = CommandRunner(folder.state, folder.install_log, origin.environment)
    with pytest.raises(ServerUnhealthyError, match="checkout of ComfyUI"):
        for step in steps:
            runner.run(step)
    assert (folder.comfyui / "nodes.py").read_text() == "changed by hand"
    git(folder.comfyui, "checkout", "-q", "nodes.py")
    for step in steps:
        runner.run(step)
    assert folder.head(folder.comfyui) == origin.pins.comfyui.commit


def test_a_missing_extra_is_said_with_the_command_that_brings_it(folder: Folder) -> None:
    with pytest.raises(BackendNotConfiguredError, match="comfy-cli") as caught:
        plan(folder, ("flux",), "cpu", weights=False)
    assert caught.value.hint == "pip install 'ryla-gen[local]'"


@pytest.mark.usefixtures("comfy_cli")
def test_a_disk_that_is_too_small_is_noticed_before_anything_is_done(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(install_steps.SOFTWARE_BYTES, "cpu", 10**18)
    with pytest.raises(StorageFailedError, match="GB free") as caught:
        plan(folder, ("flux",), "cpu")
    assert caught.value.details["needed"] > 10**18
    assert not folder.root.exists()


@pytest.mark.usefixtures("comfy_cli")
def test_the_plan_counts_the_weights_that_are_not_there(folder: Folder) -> None:
    made = plan(folder, ("flux",), "cpu")
    assert made.weights_bytes == 17_236_328_572
    assert plan(folder, ("flux",), "cpu", weights=False).weights_bytes == 0


@pytest.mark.parametrize("on", ["cpu", "nvidia", "apple"])
def test_only_a_machine_with_cuda_gets_the_packages_for_it(on: install_steps.Device) -> None:
    wanted = install_steps.requirements_of(Pins.of(("flux_pulid", "instantid")), on)
    gpu = [item for item in wanted if item.startswith("onnxruntime-gpu==")]
    cpu = [item for item in wanted if item.startswith("onnxruntime==")]
    assert (len(gpu), len(cpu)) == ((1, 0) if on == "nvidia" else (0, 1))


def test_commands_see_no_token_and_a_stopped_one_leaves_nothing_running(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    told: list[str] = []
    command = (sys.executable, "-c", "import os; print(sorted(k for k in os.environ if 'TOKEN' in k)); raise SystemExit(3)")
    environment = folder.places({}).environment({"HF_TOKEN": "hf_secret", "MODAL_TOKEN_SECRET": "as-secret", "PATH": "/bin"})
    with pytest.raises(ServerUnhealthyError, match="exit code 3"):
        CommandRunner(folder.state, folder.install_log, environment).run(Step("a look", command), told.append)
    assert told == ["[]"]
    assert "secret" not in folder.install_log.read_text()


def test_nothing_is_downloaded_without_a_yes(tmp_path: Path, origin: Sources) -> None:
    place = tmp_path / "place"
    paths = os.pathsep.join([origin.environment["PYTHONPATH"], str(ROOT / "cli")])
    done = ryla("local", "install", "flux", "--cpu", "--folder", str(place), PYTHONPATH=paths)
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert "3.00 GB of programs and 17.24 GB of weights" in said and "--yes" in said
    assert not place.exists()
