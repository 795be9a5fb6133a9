"""Define the images: one lock for all that is installed, pinned repositories, a build that fails loudly. No weights inside.

The recipe is plain data, so that a test can read it and replay it; ``image_of`` turns it into Modal's object.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from .. import locks
from ..errors import InvalidInputError
from ..locks.base import NodePack
from ..locks.families import node_packs
from ..locks.graph_lock import GraphLock
from ..names import HOOK_GROUP
from ..workflows.registry import PLUGIN_GROUP
from .config import FamilyConfig, container_environment
from .container_paths import COMFYUI_FOLDER, WITHOUT_GPU
from .pins import BUILD, COMPILED, INSTALLERS, LAST, NEEDS_GPU, PYTHON, WEIGHTS, image_lock, requirements_file
from .variants import CORE, family_nodes

if TYPE_CHECKING:
    import modal

BUILDER = "2025.06"
"""Modal's image builder decides which Debian, which patch release of Python and which tools an image starts from; unless one is
chosen it is the workspace's. 2025.06 holds Python to one patch release; the newest, 2026.10, takes the one of the day."""
BUILDER_VARIABLE = "MODAL_IMAGE_BUILDER_VERSION"
"""Where Modal's client reads it; a value that is set already stays."""
APT = ("git", "ffmpeg", "libgl1", "libglib2.0-0")
"""git for pins; ffmpeg for node packs; the other two are OpenCV's."""

NOT_SOURCES = ("**/__pycache__", "**/*.pyc", "**/*.requirements.txt")
"""What stays here of a package; by default Modal would leave out every data file too, the tables of weights among them."""
SCRIPTS = Path(__file__).parent / "build"
SCRIPTS_IN_IMAGE = "/opt/ryla"
SNAPSHOT_NODE = "snapshot_node.py"
PATCHED = "ComfyUI_PuLID_Flux_ll"
"""Pack that is patched, at the commit that the patch was made for."""
LOCKS_IN_IMAGE = "ryla_locks"
"""Folder beside our source in the image of a locked graph, with the lock and its requirements."""
BOOT = "python main.py --listen 127.0.0.1 --port {port} --disable-auto-launch --disable-api-nodes"
INSTALL = 'uv pip install --python "$(command -v python)" --no-cache --compile-bytecode --require-hashes --no-build-isolation'
"""The only way by which a package enters an image: by a hash of the lock, and, where it has no wheel, built by others of it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The parts of one GPU image."""

    lock: Path
    """Everything that is installed."""
    python: str
    comfyui: NodePack
    packs: tuple[NodePack, ...]
    nodes: frozenset[str]
    """Node classes that must be registered in the end."""
    more_apt: tuple[str, ...] = ()
    """Packages of Debian beside those of every image."""

    @property
    def needs_gpu(self) -> bool:
        """Whether the check must run on a GPU."""
        return any(pack.name in NEEDS_GPU for pack in self.packs)

    @property
    def apt(self) -> tuple[str, ...]:
        """Packages of Debian."""
        pins = locks.pins(self.lock.read_text(encoding="utf-8"))
        compilers = ("g++",) if any(name in pins for name in COMPILED) else ()
        return tuple(dict.fromkeys((*APT, *compilers, *self.more_apt)))


def recipe(family: str) -> Recipe:
    """Return what a family's image is made of."""
    lock = image_lock(family)
    return Recipe(requirements_file(family), lock.python.version, lock.comfyui, lock.packs, family_nodes(family))


def recipe_of(lock: GraphLock, requirements: Path) -> Recipe:
    """Return what the image of a locked graph is made of.

    Args:
        lock: the lock.
        requirements: the file with its Python packages.
    """
    image = lock.image
    return Recipe(requirements, image.python.version, image.comfyui, image.packs, CORE | lock.classes, lock.apt)


def install_steps(lock: Path) -> list[str]:
    """Return the commands that install a lock, and nothing beside it."""
    pins, file = locks.pins(lock.read_text(encoding="utf-8")), f"{SCRIPTS_IN_IMAGE}/{lock.name}"
    tools = [item.partition("==")[0] for item in (*INSTALLERS, *BUILD)]
    first = [f"{name}=={pins[name]}" for name in tools if name in pins]
    # Build tools come before the packages they build. uv itself is among them, so the next commands run the locked uv.
    steps = [f"{INSTALL} {' '.join(first)} -c {file}", f"{INSTALL} -r {file}"]
    # uv installs in no fixed order. Where two packages contain the same files, this makes the second one's win.
    steps += [
        f"{INSTALL} --no-deps --reinstall-package {other} -r {file}" for name, other in LAST.items() if {name, other} <= set(pins)
    ]
    return steps


def comfyui_steps(pin: NodePack) -> list[str]:
    """Return the commands that fetch ComfyUI at its pin and install none of its requirements: the lock has them."""
    return [
        "comfy --skip-prompt tracking disable",
        # By tag: comfy-cli 1.5.3 refuses every --commit together with --nvidia (it mistakes it for --pr). The next line holds
        # the tag to the commit.
        f"comfy --skip-prompt --workspace {COMFYUI_FOLDER} install --nvidia --skip-manager --skip-torch-or-directml "
        f"--skip-requirement --url {shlex.quote(f'{pin.repo}@v{pin.version}')}",
        f'test "$(git -C {COMFYUI_FOLDER} rev-parse HEAD)" = {pin.commit}',
    ]


def pack_steps(packs: tuple[NodePack, ...]) -> list[str]:
    """Return the commands that install node packs, each at its commit, and patch PuLID's."""
    steps = []
    for pack in packs:
        folder = f"{COMFYUI_FOLDER}/custom_nodes/{pack.name}"
        steps += [
            f"git init -q {folder} && git -C {folder} fetch -q --depth 1 {shlex.quote(pack.repo)} {pack.commit} "
            f"&& git -C {folder} checkout -q --detach FETCH_HEAD",
            f'test "$(git -C {folder} rev-parse HEAD)" = {pack.commit}',
        ]
        # Patched and checked in two steps: a changed pack fails the build here, not a request later.
        if pack.name == PATCHED and pack.commit in {known.commit for known in node_packs()}:
            script = f"python {SCRIPTS_IN_IMAGE}/patch_pulid.py"
            steps += [f"{script} {folder}", f"{script} --check {folder}"]
    return steps


def snapshot_steps() -> list[str]:
    """Return the commands that let ComfyUI choose its device again after a restore."""
    folder = f"{COMFYUI_FOLDER}/custom_nodes/ryla_snapshot"
    return [f"mkdir -p {folder} && cp {SCRIPTS_IN_IMAGE}/{SNAPSHOT_NODE} {folder}/__init__.py"]


def check_steps(recipe: Recipe) -> list[str]:
    """Return the commands that compile everything, and boot ComfyUI to see that every node class is there."""
    flags = "" if recipe.needs_gpu else " --cpu"
    classes = shlex.join(sorted(recipe.nodes))
    steps = [
        "pip check",
        f"python -m compileall -q -j 0 {COMFYUI_FOLDER}",
        f"cd {COMFYUI_FOLDER} && python {SCRIPTS_IN_IMAGE}/check_nodes.py {shlex.quote(BOOT + flags)} {classes}",
    ]
    if not recipe.needs_gpu:  # else there is no snapshot: its nodes do not load without one
        hidden = " ".join((BOOT, *WITHOUT_GPU))
        steps.append(f"cd {COMFYUI_FOLDER} && python {SCRIPTS_IN_IMAGE}/check_snapshot.py . {shlex.quote(hidden)}")
    return steps


def image_of(recipe: Recipe, gpu: str) -> modal.Image:
    """Return an image without our source.

    Args:
        recipe: what it is made of.
        gpu: where the build's check runs, when it needs one.
    """
    import modal

    image = modal.Image.debian_slim(python_version=recipe.python).apt_install(*recipe.apt)
    # The layers that change least come first, so that a new pack does not download PyTorch again.
    image = _copy(image, recipe.lock).run_commands(*install_steps(recipe.lock), *comfyui_steps(recipe.comfyui))
    for script in ("patch_pulid.py", "check_nodes.py", "check_snapshot.py", SNAPSHOT_NODE):
        image = _copy(image, SCRIPTS / script)
    if packs := pack_steps(recipe.packs):
        image = image.run_commands(*packs)
    return image.run_commands(*snapshot_steps(), *check_steps(recipe), gpu=gpu if recipe.needs_gpu else None)


def family_image(config: FamilyConfig, variables: dict[str, str] | None = None) -> modal.Image:
    """Return the image of a GPU family as it is deployed; its first GPU is the one for the build's check.

    Args:
        config: what its class runs on.
        variables: what its container must be told beside that.
    """
    image = image_of(recipe(config.family), config.gpu[0])
    return with_sources(
        image.env(container_environment(config) | (variables or {})),
        *((PLUGIN_GROUP,) if config.family == "custom" else ()),
        HOOK_GROUP,
    )


def graph_image(lock: GraphLock, file: Path, config: FamilyConfig, variables: dict[str, str]) -> modal.Image:
    """Return the image of a locked graph as it is deployed.

    Args:
        lock: the lock.
        file: where it is; its requirements lie beside it.
        config: what its class runs on.
        variables: what its container must be told.
    """
    image = image_of(recipe_of(lock, file.with_name(lock.image.python.file)), config.gpu[0])
    return with_lock(with_sources(image.env(variables), HOOK_GROUP), lock, file)


def with_lock(image: modal.Image, lock: GraphLock, file: Path) -> modal.Image:
    """Add a lock and its requirements, beside our source."""
    beside = file.with_name(lock.image.python.file)
    for place, name in ((file, f"{lock.name}.lock"), (beside, beside.name)):
        image = image.add_local_file(place, f"/root/{LOCKS_IN_IMAGE}/{name}")
    return image


def weights_image(variables: dict[str, str] | None = None) -> modal.Image:
    """Return the image of the CPU class that syncs weights; ``variables`` is what its container must be told."""
    import modal

    lock = requirements_file(WEIGHTS)
    image = _copy(modal.Image.debian_slim(python_version=PYTHON), lock).run_commands(*install_steps(lock), "pip check")
    return with_sources(image.env(variables) if variables else image, PLUGIN_GROUP)


def with_sources(image: modal.Image, *groups: str) -> modal.Image:
    """Add our source, and that of installed plug-ins with what registers them; last, as Modal demands.

    Args:
        image: everything else.
        groups: of entry points: whatever runs graphs has the hooks on outputs; ``Custom`` also serves the workflows of plug-ins,
            and ``Weights`` must know what these need.

    Raises:
        InvalidInputError: what registers a plug-in cannot be added, so that the container would not know it.
    """
    points = installed_plugins(*groups)
    sources = sorted({point.module.partition(".")[0] for point in points})
    image = image.add_local_python_source("ryla_gen", *sources, ignore=list(NOT_SOURCES))
    files = list(plugin_metadata(points))
    _require_registered(points, files)
    for file, remote in files:
        image = image.add_local_file(file, remote)
    return image


def _copy(image: modal.Image, file: Path) -> modal.Image:
    return image.add_local_file(file, f"{SCRIPTS_IN_IMAGE}/{file.name}", copy=True)


def installed_plugins(*groups: str) -> list[EntryPoint]:
    """List the entry points of installed plug-ins in these groups."""
    return [point for group in groups for point in entry_points(group=group)]


def _require_registered(points: Sequence[EntryPoint], files: Sequence[tuple[Path, str]]) -> None:
    """Refuse a hook that would stay behind, and with it whatever it holds back: the container would know nothing of it."""
    known = "".join(file.read_text(encoding="utf-8") for file, _ in files if file.name == "entry_points.txt")
    for point in points:
        if point.group == HOOK_GROUP and point.value not in known:
            text = f"The hook {point.name} ({point.value}) cannot be added to the image: its package was not installed by pip."
            raise InvalidInputError(text, "Install it with pip, and deploy again.", {"hook": point.name})


def plugin_metadata(points: list[EntryPoint]) -> Iterator[tuple[Path, str]]:
    """Yield the files that make a plug-in's entry points known in the container, and where they go there."""
    for name in sorted({point.dist.name for point in points if point.dist is not None}):
        dist = next(point.dist for point in points if point.dist is not None and point.dist.name == name)
        for file in dist.files or ():
            # Only these two make entry points visible; a RECORD would name files that are not in the container.
            if file.name in ("METADATA", "entry_points.txt") and file.parent.suffix == ".dist-info":
                yield Path(str(dist.locate_file(file))), f"/root/{file.parent.name}/{file.name}"
