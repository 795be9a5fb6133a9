"""The images: pinned ComfyUI, pinned node packs, pinned requirements, and a build that fails loudly. No weights inside.

The recipe is plain data, so that a test can read it and a snapshot can show it; ``family_image`` turns it into Modal's object.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ..workflows.registry import PLUGIN_GROUP
from ..workflows.tables import NodePack, node_packs
from .config import FamilyConfig, container_environment
from .places import COMFYUI_FOLDER
from .variants import family_nodes

if TYPE_CHECKING:
    import modal

PYTHON = "3.11"
COMFY_CLI = "comfy-cli==1.5.3"
"""Installs ComfyUI. Every flag below was checked against this version's own help."""
TORCH = ("torch==2.9.1", "torchvision==0.24.1", "torchaudio==2.9.1")
"""The release of ComfyUI 0.3.71's month; comfy-cli would take whatever is newest on the day of the build."""
APT = ("git", "ffmpeg", "libgl1", "libglib2.0-0")
"""git for pins; ffmpeg for node packs; the other two are OpenCV's."""

SDK = ("pydantic==2.12.4", "pillow==12.0.0", "aiohttp==3.13.2", "numpy==2.2.6", "av==16.0.1")
"""What the worker imports. Modal's client comes with the container; typer and rich are the CLI's alone."""
HUB = ("huggingface_hub==1.1.5", "filelock==3.20.0")
"""Only where weights are synced: transformers 4, which the packs need, refuses huggingface_hub 1."""

INSIGHTFACE = ("cython==3.1.6", "insightface==0.7.3", "onnxruntime-gpu==1.23.2", "opencv-python-headless==4.12.0.88")
"""insightface 1 and later changed its API; onnxruntime and onnxruntime-gpu must not both be installed."""
PACK_REQUIREMENTS = {
    "ComfyUI_InstantID": INSIGHTFACE,
    "ComfyUI_PuLID_Flux_ll": (*INSIGHTFACE, "facexlib==0.3.0", "ftfy==6.3.1", "timm==1.0.22"),
    "ComfyUI-SeedVR2_VideoUpscaler": (
        "omegaconf==2.3.0",
        "diffusers==0.35.2",
        "peft==0.18.0",
        "rotary_embedding_torch==0.8.9",
        "opencv-python-headless==4.12.0.88",
        "gguf==0.17.1",
        "matplotlib==3.10.7",
    ),
}
"""The packs' own lists, which pin nothing, as they resolved for ComfyUI 0.3.71's month."""
PINNED_FOR_PACKS = ("transformers==4.57.1",)
"""Version 5 removed what the packs call."""
COMPILED = ("insightface",)
"""Packages without wheels: their C++ is built in the image."""
NEEDS_GPU = frozenset({"ComfyUI-SeedVR2_VideoUpscaler"})
"""Packs whose nodes do not register on a machine without a GPU."""

NOT_SOURCES = ("**/__pycache__", "**/*.pyc")
"""What stays here of a package; by default Modal would leave out every data file too, the tables of weights among them."""
SCRIPTS = Path(__file__).parent / "build"
SCRIPTS_IN_IMAGE = "/opt/ryla"
BOOT = "python main.py --listen 127.0.0.1 --port {port} --disable-auto-launch --disable-api-nodes"


def packs_of(family: str) -> tuple[NodePack, ...]:
    """Return the node packs whose nodes a family's graphs use; ComfyUI itself is not among them."""
    nodes = family_nodes(family)
    return tuple(pack for pack in node_packs() if nodes.intersection(pack.nodes))


def requirements_of(family: str) -> tuple[str, ...]:
    """Return everything pip installs for a family after ComfyUI's own list, each once."""
    packs = packs_of(family)
    wanted = [*SDK, *(item for pack in packs for item in PACK_REQUIREMENTS[pack.name]), *(PINNED_FOR_PACKS if packs else ())]
    return tuple(dict.fromkeys(wanted))


def comfyui_steps() -> list[str]:
    """Return the commands that install ComfyUI at its pin."""
    comfyui = node_packs()[0]
    return [
        "comfy --skip-prompt tracking disable",
        # By tag: comfy-cli 1.5.3 refuses every --commit together with --nvidia (it mistakes it for --pr). The next line holds
        # the tag to the commit.
        f"comfy --skip-prompt --workspace {COMFYUI_FOLDER} install --nvidia --skip-manager --skip-torch-or-directml "
        f"--url {comfyui.repo}@v{comfyui.version}",
        f'test "$(git -C {COMFYUI_FOLDER} rev-parse HEAD)" = {comfyui.commit}',
    ]


def pack_steps(family: str) -> list[str]:
    """Return the commands that bring a family's node packs, each at its commit, and mend PuLID's."""
    steps = []
    for pack in packs_of(family):
        folder = f"{COMFYUI_FOLDER}/custom_nodes/{pack.name}"
        steps += [
            f"git init -q {folder} && git -C {folder} fetch -q --depth 1 {pack.repo} {pack.commit} "
            f"&& git -C {folder} checkout -q --detach FETCH_HEAD",
            f'test "$(git -C {folder} rev-parse HEAD)" = {pack.commit}',
        ]
        if pack.name == "ComfyUI_PuLID_Flux_ll":
            script = f"python {SCRIPTS_IN_IMAGE}/mend_pulid.py"
            steps += [f"{script} {folder}", f"{script} --check {folder}"]
    return steps


def check_steps(family: str) -> list[str]:
    """Return the commands that compile everything, and boot ComfyUI to see that every node class is there."""
    flags = "" if needs_gpu(family) else " --cpu"
    classes = " ".join(sorted(family_nodes(family)))
    return [
        "pip check",
        f"python -m compileall -q -j 0 {COMFYUI_FOLDER}",
        f"cd {COMFYUI_FOLDER} && python {SCRIPTS_IN_IMAGE}/check_nodes.py {shlex.quote(BOOT + flags)} {classes}",
    ]


def needs_gpu(family: str) -> bool:
    """Whether the check must run on a GPU."""
    return any(pack.name in NEEDS_GPU for pack in packs_of(family))


def family_image(config: FamilyConfig) -> modal.Image:
    """Return the image of a GPU family as it is deployed; its first GPU is the one for the build's check."""
    import modal

    family = config.family
    compiler = ("g++",) if any(item.startswith(COMPILED) for item in requirements_of(family)) else ()
    image = (
        modal.Image.debian_slim(python_version=PYTHON)
        .apt_install(*APT, *compiler)
        .pip_install(COMFY_CLI, *TORCH)
        .run_commands(*comfyui_steps())
        .pip_install(*requirements_of(family))
    )
    for script in ("mend_pulid.py", "check_nodes.py"):
        image = image.add_local_file(SCRIPTS / script, f"{SCRIPTS_IN_IMAGE}/{script}", copy=True)
    if packs := pack_steps(family):
        image = image.run_commands(*packs)
    image = image.run_commands(*check_steps(family), gpu=config.gpu[0] if needs_gpu(family) else None)
    return with_sources(image.env(container_environment(config)), plugins=family == "custom")


def weights_image() -> modal.Image:
    """Return the image of the CPU class that syncs weights."""
    import modal

    image = modal.Image.debian_slim(python_version=PYTHON).pip_install(*SDK, *HUB)
    return with_sources(image, plugins=True)


def with_sources(image: modal.Image, *, plugins: bool) -> modal.Image:
    """Add our source, and that of installed plug-ins with what registers them; last, as Modal demands.

    Args:
        image: everything else.
        plugins: whether plug-ins are wanted: ``Custom`` serves them, ``Weights`` must know what they need.
    """
    points = list(installed_plugins()) if plugins else []
    sources = sorted({point.module.partition(".")[0] for point in points})
    image = image.add_local_python_source("ryla_gen", *sources, ignore=list(NOT_SOURCES))
    for file, remote in plugin_metadata(points):
        image = image.add_local_file(file, remote)
    return image


def installed_plugins() -> Iterator[EntryPoint]:
    """Yield the entry points of installed plug-ins."""
    yield from entry_points(group=PLUGIN_GROUP)


def plugin_metadata(points: list[EntryPoint]) -> Iterator[tuple[Path, str]]:
    """Yield the files that make a plug-in's entry points known in the container, and where they go there."""
    for name in sorted({point.dist.name for point in points if point.dist is not None}):
        dist = next(point.dist for point in points if point.dist is not None and point.dist.name == name)
        for file in dist.files or ():
            if file.name in ("METADATA", "entry_points.txt") and file.parent.suffix == ".dist-info":
                yield Path(str(dist.locate_file(file))), f"/root/{file.parent.name}/{file.name}"
