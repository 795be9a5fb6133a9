"""A container that begins from a snapshot: ComfyUI is there before it, the GPU is chosen after it, and a failure costs no job."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import InvalidInputError
from ryla_gen.remote import config
from ryla_gen.remote.build import check_snapshot
from ryla_gen.remote.container_paths import HIDE_GPU, WITHOUT_GPU, Places
from ryla_gen.remote.snapshot import ReadAhead
from ryla_gen.settings import Settings

from .conftest import EMULATOR, SMALL, eventually, method


def first_picture() -> dict[str, Any]:
    reply: dict[str, Any] = method("flux").remote({"inputs": SMALL, "job": str(uuid.uuid4())})
    assert reply["ok"]
    generation: dict[str, Any] = reply["generation"]
    return generation


def test_a_new_container_takes_a_snapshot_and_says_where_its_cold_start_went(fresh: Any) -> None:
    loopback = fresh()
    timings = first_picture()["timings"]
    [container] = [item for item in loopback.containers if item.function.tag == "Flux.*"]
    assert container.snapshots == 1
    assert timings["restored"] is False  # this container took the snapshot itself
    assert timings["cold"]["boot"] > 0
    assert 0 < timings["cold"]["restore"] < timings["cold_start"]
    assert timings["cold"]["image"] is timings["cold"]["load"] is None
    warm = first_picture()["timings"]
    assert (warm["cold"], warm["restored"]) == (None, False)


def test_a_restored_container_goes_on_under_its_own_name(fresh: Any) -> None:
    loopback = fresh()
    loopback.knobs.restores_elsewhere = True
    generation = first_picture()
    [container] = [item for item in loopback.containers if item.function.tag == "Flux.*"]
    timings = generation["timings"]
    assert timings["restored"] is True
    assert timings["cold"]["boot"] == 0.0
    assert timings["cold"]["restore"] > 0
    assert generation["server"]["container"] != container.id  # the name that Modal gave it after the restore


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"{EMULATOR} --knob 'device=\"cpu\"'", "sees no GPU"),
        # It ends when it is asked for its device, and the next life of it starts as always.
        (
            'sh -c \'if [ -e {work}/second ]; then exec "$0" "$@"; else touch {work}/second; exit 7; fi\' ' + EMULATOR,
            "hold no ComfyUI",
        ),
    ],
)
def test_a_snapshot_of_no_use_costs_a_start_and_no_job(fresh: Any, command: str, words: str) -> None:
    loopback = fresh({"RYLA_COMFYUI_COMMAND": command})
    loopback.knobs.restores_elsewhere = True
    timings = first_picture()["timings"]
    assert (timings["restored"], timings["cold"]["restore"]) == (False, None)
    assert timings["cold"]["boot"] > 0
    [container] = [item for item in loopback.containers if item.function.tag == "Flux.*"]
    assert eventually(lambda: words in container.log.read_text())


def test_without_a_snapshot_comfyui_starts_in_every_container(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_MODAL_SNAPSHOT", "off")
    loopback = fresh()
    timings = first_picture()["timings"]
    [container] = [item for item in loopback.containers if item.function.tag == "Flux.*"]
    assert (container.snapshots, timings["restored"], timings["cold"]["restore"]) == (0, False, None)
    assert timings["cold"]["boot"] > 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"flux": "cpu", "faces": "cpu", "video": "cpu", "upscale": "off", "custom": "off"}),
        ({"SNAPSHOT": "off"}, dict.fromkeys(config.FAMILIES, "off")),
        ({"SNAPSHOT": "gpu"}, {"flux": "gpu", "faces": "gpu", "video": "gpu", "upscale": "off", "custom": "off"}),
        ({"SNAPSHOT": "gpu", "FAMILIES_FLUX_SNAPSHOT": "cpu", "FAMILIES_CUSTOM_SNAPSHOT": "cpu"}, {"flux": "cpu", "custom": "cpu"}),
    ],
)
def test_each_family_has_its_snapshot(variables: dict[str, str], expected: dict[str, str], tmp_path: Path) -> None:
    environment = {"RYLA_GEN_HOME": str(tmp_path)} | {f"RYLA_GEN_MODAL_{name}": value for name, value in variables.items()}
    settings = Settings.load(environment)
    for family, snapshot in expected.items():
        found = config.deployed_family(family, settings)
        options = config.class_options(found)
        assert found.snapshot == snapshot
        assert options["enable_memory_snapshot"] is (snapshot != "off")
        assert options["experimental_options"] == ({"enable_gpu_snapshot": True} if snapshot == "gpu" else None)
        assert (
            config.inside(family, config.container_environment(found)).snapshot == snapshot
        )  # the container does what was deployed


def test_another_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cpu, gpu, off"):
        Settings.load({"RYLA_GEN_HOME": str(tmp_path), "RYLA_GEN_MODAL_SNAPSHOT": "disk"})


def test_comfyui_sees_no_gpu_in_a_snapshot_alone() -> None:
    places = Places()
    assert places.arguments()[-1] == "100"
    assert places.arguments(without_gpu=True)[-len(WITHOUT_GPU) :] == list(WITHOUT_GPU)
    assert not HIDE_GPU.keys() & places.environment({}).keys()
    assert HIDE_GPU.items() <= places.environment({}, without_gpu=True).items()


def test_files_are_read_ahead_once_and_to_their_ends(tmp_path: Path) -> None:
    first = tmp_path / "first.safetensors"
    first.write_bytes(b"1" * 100_000)
    ahead = ReadAhead([first, tmp_path / "missing.safetensors"])
    assert eventually(lambda: ahead.seconds is not None)
    assert ReadAhead([]).seconds is None


SOURCE = {
    "comfy/cli_args.py": 'add("--cpu")\nadd("--use-pytorch-cross-attention")\n',
    "comfy/model_management.py": "if args.cpu:\n    cpu_state = CPUState.CPU\n\ndef get_torch_device():\n    return 1\n",
    "comfy/ops.py": "import comfy.model_management\n\ncast_to = comfy.model_management.cast_to\n",
    "comfy_extras/nodes_x.py": "from comfy import model_management\n\ndef run():\n    return model_management.get_torch_device()\n",
    "main.py": "import comfy.model_management\n",
}
"""ComfyUI, as far as a start without a GPU depends on it."""


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("comfy/cli_args.py", 'add("--cpu")\n', "does not know --use-pytorch-cross-attention"),
        ("comfy/model_management.py", "if args.no_gpu:\n    cpu_state = CPUState.CPU\n", "is not a statement of the module"),
        ("comfy_extras/nodes_x.py", "from comfy.model_management import get_torch_device\n", "get_torch_device"),
        ("comfy/ops.py", "import comfy.model_management\nDEVICE = comfy.model_management.get_torch_device()\n", "DEVICE"),
        ("main.py", "import comfy.model_management\nstate: int = comfy.model_management.vram_state\n", "state"),
    ],
)
def test_a_build_fails_where_comfyui_is_another_one(tmp_path: Path, file: str, text: str, words: str) -> None:
    for name, content in (SOURCE | {file: text}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match=words):
        check_snapshot.check_source(tmp_path)
    (tmp_path / file).write_text(SOURCE[file], encoding="utf-8")
    check_snapshot.check_source(tmp_path)


def run_check(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the image's build does: alone, beside the one that it uses."""
    scripts = folder / "scripts"
    scripts.mkdir()
    for name in ("check_snapshot.py", "check_nodes.py"):
        shutil.copy(Path(check_snapshot.__file__).with_name(name), scripts / name)
    for name, content in SOURCE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    call = [sys.executable, str(scripts / "check_snapshot.py"), str(folder), command]
    return subprocess.run(call, capture_output=True, text=True, timeout=600)


def test_the_build_tries_a_start_a_freeze_and_a_graph(tmp_path: Path) -> None:
    done = run_check(tmp_path, f"{sys.executable} -m ryla_gen.emulator --port {{port}} --folder {tmp_path}/work")
    assert done.returncode == 0, done.stderr
    assert "the device is emulated, and the smallest graph ran" in done.stdout


def test_a_build_fails_where_no_graph_runs_after_the_freeze(tmp_path: Path) -> None:
    command = f"{sys.executable} -m ryla_gen.emulator --port {{port}} --folder {tmp_path}/work --knob 'raise_at=\"PreviewImage\"'"
    done = run_check(tmp_path, command)
    assert done.returncode != 0
    assert "does not go on after a snapshot" in done.stderr
