"""List the steps of an installation: the same pins, packs and patches as Modal's images. Runs nothing."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...errors import InvalidInputError
from ...locks import NodePack
from ...locks import pins as versions
from ...locks.families import family_lock, node_packs
from ...locks.graph_lock import DIGEST_LENGTH
from ...models.node_schemas import release_key
from ...remote.build import patch_pulid
from ...remote.image import BOOT, SCRIPTS
from ...remote.pins import COMPILED, NEEDS_GPU, PACK_REQUIREMENTS, SDK, TRANSFORMERS
from ...remote.variants import CORE, variants
from ...workflows.base import Workflow
from ...workflows.registry import workflow_class
from .command_runner import Step
from .folder import Folder
from .locked_packages import LockedPackages, label_of, locked_packages

Device = Literal["nvidia", "apple", "cpu"]
"""What ComfyUI computes on."""
CPU_TORCH = ("--index-url", "https://download.pytorch.org/whl/cpu")
"""On Linux the usual packages of PyTorch include 4 GB of CUDA; these do not (https://pytorch.org/get-started/locally)."""
ON_CPU = {"onnxruntime-gpu": "onnxruntime"}
"""Packages whose build for a GPU is another one; both must not be installed at once."""
OWN_LIST = Path(__file__).with_name("pack_list.py")
"""Runs a command with what a pack asks for."""
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
    packages: LockedPackages = field(default_factory=LockedPackages)
    """What pip installs in place of all lists, where locks have it for this machine."""

    @classmethod
    def of(cls, workflows: Sequence[str]) -> Pins:
        """Collect what these workflows need, with any of their options; of several releases of ComfyUI the oldest.

        Raises:
            LockOpenError: a lock has open questions.
            InvalidInputError: two workflows have the same pack at two commits.
            HashMismatchError, StorageFailedError: a lock's file of packages cannot be used.

        """
        classes = [workflow_class(name) for name in sorted(workflows)]
        for locked in [item.lock for item in classes if item.lock is not None]:
            locked.require_closed()
        locks = [item.image_lock() for item in classes] or [family_lock("custom")]
        lock = min(locks, key=lambda item: release_key(item.release) or ())
        return cls(lock.comfyui, _packs_of(classes), lock.python.requirements, packages=locked_packages(classes))


def _packs_of(classes: Sequence[type[Workflow]]) -> tuple[NodePack, ...]:
    """Collect the packs of workflows, each once.

    Raises:
        InvalidInputError: two workflows have the same pack at two commits.

    """
    found: dict[str, tuple[NodePack, str]] = {}
    for cls in classes:
        for pack in _packs_in(cls):
            other, label = found.setdefault(pack.name.lower(), (pack, label_of(cls)))
            if other.commit != pack.commit:
                places = [(label, other.commit), (label_of(cls), pack.commit)]
                said = " and by ".join(f"{name} at {commit[:DIGEST_LENGTH]}" for name, commit in places)
                text = f"One ComfyUI holds a pack at one commit, and {pack.name} is needed by {said}."
                hint = "Install each in a folder of its own: --folder DIR. Or lock one of them again, at the other's commit."
                raise InvalidInputError(text, hint, {"pack": pack.name, "commits": [commit for _, commit in places]})
    return tuple(pack for pack, _ in found.values())


def _packs_in(cls: type[Workflow]) -> Iterable[NodePack]:
    own = cls.image_lock().packs
    if cls.lock is not None:
        return own
    nodes, known = nodes_of((cls.name,)), {pack.name: pack for pack in (*node_packs(), *own)}
    return [pack for pack in known.values() if nodes.intersection(pack.nodes)]


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
    python = str(folder.python)
    pip = (python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
    found = [
        Step("Python environment", (sys.executable, "-m", "venv", str(folder.environment)), produces=folder.python),
        *_comfyui(folder, pins.comfyui, on),
    ]
    title = f"requirements of ComfyUI {pins.comfyui.commit[:12]} and of the packs"
    if pins.packages.text:
        found += pins.packages.steps(folder, pip, title)
    else:
        found += _resolved_here(folder, pins, on, pip, title)
    for pack in pins.packs:
        found += _pack(folder, pack)
        if pack.name not in PACK_REQUIREMENTS and not pins.packages.text:  # its own list, beside the same PyTorch
            place = str(folder.comfyui / "custom_nodes" / pack.name)
            words = (python, str(OWN_LIST), place, *pip, *pins.torch)
            found.append(Step(f"requirements of {pack.name} at {pack.commit[:12]}", words, produces=folder.python))
    found.append(Step("check of the Python packages", (python, "-m", "pip", "check")))
    return [*found, _boot(folder, pins, on, nodes)]


def _resolved_here(folder: Folder, pins: Pins, on: Device, pip: tuple[str, ...], title: str) -> Iterator[Step]:
    """Yield the steps that install PyTorch, and what ComfyUI and the packs ask for beside it."""
    if pins.torch:
        index = CPU_TORCH if on == "cpu" and sys.platform == "linux" else ()
        yield Step("PyTorch", (*pip, *pins.torch, *index), produces=folder.python)
    # All in one command: pip resolves only the packages of one command together.
    listed = (*pins.torch, *requirements_of(pins, on), "-r", str(folder.comfyui / "requirements.txt"))
    yield Step(title, (*pip, *listed), produces=folder.python)


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
    if pins.packages.text:
        return any(name in versions(pins.packages.text) for name in COMPILED)
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
    own = shlex.join([str(folder.python), *BOOT.split()[1:], *(["--cpu"] if on == "cpu" else [])])
    command = (str(folder.python), str(SCRIPTS / "check_nodes.py"), own, *sorted(nodes - without))
    return Step("start of ComfyUI with every node class", command, folder=folder.comfyui)
