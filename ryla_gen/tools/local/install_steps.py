"""List the steps of an installation: the same pins, packs and patches as Modal's images. Runs nothing."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...locks import NodePack
from ...locks.families import family_lock, node_packs
from ...models.node_schemas import release_key
from ...remote.build import patch_pulid
from ...remote.image import BOOT, SCRIPTS
from ...remote.pins import COMPILED, NEEDS_GPU, PACK_REQUIREMENTS, SDK, TRANSFORMERS
from ...remote.variants import CORE, variants
from ...workflows.registry import workflow_class
from .command_runner import Step
from .folder import Folder

Device = Literal["nvidia", "apple", "cpu"]
"""What ComfyUI computes on."""
CPU_TORCH = ("--index-url", "https://download.pytorch.org/whl/cpu")
"""On Linux the usual packages of PyTorch include 4 GB of CUDA; these do not (https://pytorch.org/get-started/locally)."""
ON_CPU = {"onnxruntime-gpu": "onnxruntime"}
"""Packages whose build for a GPU is another one; both must not be installed at once."""
WHERE_THERE = 'list=$1; shift; test ! -f "$list" || exec "$@" -r "$list"'
"""Runs a command with a list of requirements, where there is one."""
SOFTWARE_BYTES: dict[Device, int] = {"nvidia": 9_000_000_000, "apple": 3_000_000_000, "cpu": 3_000_000_000}
"""Room that ComfyUI, PyTorch and the packs take: measured 6.2 GB with CUDA and 2.0 GB without, and what pip unpacks meanwhile."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Versions; those of Modal's images, unless a test has its own."""

    comfyui: NodePack
    packs: tuple[NodePack, ...]
    torch: tuple[str, ...]
    requirements: tuple[str, ...] | None = None
    """What pip installs beside ComfyUI's own list; None is what the images have."""

    @classmethod
    def of(cls, workflows: Sequence[str]) -> Pins:
        """Collect what these workflows need, with any of their options; of several releases of ComfyUI the oldest."""
        nodes = nodes_of(workflows)
        locks = [workflow_class(name).image_lock() for name in sorted(workflows)] or [family_lock("custom")]
        lock = min(locks, key=lambda item: release_key(item.release) or ())
        packs = {pack.name: pack for pack in (*node_packs(), *(pack for item in locks for pack in item.packs))}
        return cls(lock.comfyui, tuple(pack for pack in packs.values() if nodes.intersection(pack.nodes)), lock.python.requirements)


def nodes_of(workflows: Iterable[str]) -> frozenset[str]:
    """List every node class that the workflows may use, and those that nearly every graph has."""
    requests = (request for name in workflows for request in variants(workflow_class(name)))
    return CORE.union(*(request.required_nodes() for request in requests))


def device() -> Device:
    """Detect what this machine has: an NVIDIA GPU whose driver answers, Apple's chip, or neither."""
    program = shutil.which("nvidia-smi")
    if program is not None:
        told = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
        if told.returncode == 0 and "GPU" in told.stdout:
            return "nvidia"
    return "apple" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


def steps(folder: Folder, pins: Pins, on: Device, nodes: frozenset[str]) -> list[Step]:
    """List every command of an installation, in order.

    Args:
        folder: where.
        pins: which versions.
        on: what ComfyUI will compute on.
        nodes: node classes that must be registered in the end.

    """
    requirements = requirements_of(pins, on)
    python = str(folder.python)
    pip = (python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
    found = [
        Step("Python environment", (sys.executable, "-m", "venv", str(folder.environment)), produces=folder.python),
        *_comfyui(folder, pins.comfyui, on),
    ]
    if pins.torch:
        index = CPU_TORCH if on == "cpu" and sys.platform == "linux" else ()
        found.append(Step("PyTorch", (*pip, *pins.torch, *index), produces=folder.python))
    # All in one command: pip resolves only the packages of one command together.
    listed = (*pins.torch, *requirements, "-r", str(folder.comfyui / "requirements.txt"))
    found.append(
        Step(f"requirements of ComfyUI {pins.comfyui.commit[:12]} and of the packs", (*pip, *listed), produces=folder.python)
    )
    for pack in pins.packs:
        found += _pack(folder, pack)
        if pack.name not in PACK_REQUIREMENTS:  # one of a lock: its own list, beside the same PyTorch
            listed_by = folder.comfyui / "custom_nodes" / pack.name / "requirements.txt"
            words = ("sh", "-c", WHERE_THERE, "sh", str(listed_by), *pip, *pins.torch)
            found.append(Step(f"requirements of {pack.name} at {pack.commit[:12]}", words, produces=folder.python))
    found.append(Step("check of the Python packages", (python, "-m", "pip", "check")))
    return [*found, _boot(folder, pins, on, nodes)]


def requirements_of(pins: Pins, on: Device) -> tuple[str, ...]:
    """List what pip installs beside ComfyUI's own list, each once."""
    if pins.requirements is not None:
        return pins.requirements
    numpy = [item for item in SDK if pins.packs and item.startswith("numpy==")]
    wanted = [item for pack in pins.packs for item in PACK_REQUIREMENTS.get(pack.name, ())]
    fitting = [item if on == "nvidia" else _on_cpu(item) for item in wanted]
    return tuple(dict.fromkeys([*numpy, *fitting, *TRANSFORMERS]))


def needs_compiler(pins: Pins, on: Device) -> bool:
    """Whether a package of the packs is built from C++ here."""
    return any(item.startswith(COMPILED) for item in requirements_of(pins, on))


def _on_cpu(item: str) -> str:
    name, mark, version = item.partition("==")
    return f"{ON_CPU.get(name, name)}{mark}{version}"


def _comfyui(folder: Folder, comfyui: NodePack, on: Device) -> Iterator[Step]:
    """Yield the steps that install ComfyUI by comfy-cli, where there is none, or move another commit to the pin."""
    found = folder.head(folder.comfyui)
    if found is not None or folder.comfyui.exists():
        yield from _checked_out(folder, folder.comfyui, comfyui, "ComfyUI")
        return
    part = folder.root / "ComfyUI.part"
    comfy = (sys.executable, "-m", "comfy_cli", "--skip-prompt")
    yield Step("comfy-cli without its questions", (*comfy, "tracking", "disable"))
    # By tag, as in the images: 1.5.3 refuses --commit beside --nvidia. The next step holds the tag to the commit. PyTorch and the
    # requirements are ours to install: comfy-cli would put them into the environment that it runs in itself, which is this one.
    flags = ("--nvidia" if on == "nvidia" else "--cpu", "--skip-manager", "--skip-torch-or-directml", "--skip-requirement")
    command = (*comfy, "--workspace", str(part), "install", *flags, "--url", f"{comfyui.repo}@v{comfyui.version}")
    yield Step(f"ComfyUI {comfyui.version}", command, clears=part)
    held = ("git", "-C", str(part), "rev-parse", "HEAD")
    yield Step("commit of ComfyUI", held, expects=comfyui.commit, rename=(part, folder.comfyui))


def _pack(folder: Folder, pack: NodePack) -> Iterator[Step]:
    place = folder.comfyui / "custom_nodes" / pack.name
    yield from _checked_out(folder, place, pack, pack.name)
    if pack.name == "ComfyUI_PuLID_Flux_ll":
        script = (str(folder.python), str(SCRIPTS / "patch_pulid.py"))
        if not _repair(place):
            yield Step(f"patch of {pack.name}", (*script, str(place)))
        yield Step(f"check of {pack.name}", (*script, "--check", str(place)))


def _repair(place: Path) -> bool:
    try:
        patch_pulid.check_folder(place)
    except (OSError, SystemExit):
        return False
    return True


def _checked_out(folder: Folder, place: Path, pack: NodePack, title: str) -> Iterator[Step]:
    """Yield the steps that check a repository out at its commit; local changes in it are never thrown away: git refuses."""
    git = ("git", "-C", str(place))
    if folder.head(place) != pack.commit:
        yield Step(f"folder of {title}", ("git", "init", "-q", str(place)))
        yield Step(f"download of {title}", (*git, "fetch", "-q", "--depth", "1", pack.repo, pack.commit))
        yield Step(f"checkout of {title}", (*git, "checkout", "-q", "--detach", pack.commit))
    yield Step(f"commit of {title}", (*git, "rev-parse", "HEAD"), expects=pack.commit)


def _boot(folder: Folder, pins: Pins, on: Device, nodes: frozenset[str]) -> Step:
    """Start it once: a pack whose import fails is only a line in ComfyUI's log; here it ends the installation."""
    without = {item for pack in pins.packs if pack.name in NEEDS_GPU for item in pack.nodes} if on == "cpu" else set()
    own = BOOT.replace("python", shlex.quote(str(folder.python)), 1) + (" --cpu" if on == "cpu" else "")
    command = (str(folder.python), str(SCRIPTS / "check_nodes.py"), own, *sorted(nodes - without))
    return Step("start of ComfyUI with every node class", command, folder=folder.comfyui)
