"""Pin what all images have in common, and put it together with a family's lock for the resolution. Knows no Modal.

ComfyUI, its node packs and PyTorch are the lock's (``locks/FAMILY.lock``). After a change here or there, write the locks again:
``python -m ryla_gen.remote.locks``. A test holds them against this file.
"""

from __future__ import annotations

from pathlib import Path

from ..locks import ImageLock, Requirements, read_lock
from ..locks.families import FOLDER
from .config import FAMILIES

PYTHON = "3.11"
"""Of the image that syncs weights; a family's lock names its own."""
COMFY_CLI = "comfy-cli==1.5.3"
"""Installs ComfyUI. Every flag that is used was checked against this version's own help."""
TRANSFORMERS = ("transformers==4.57.1",)
"""Version 5 removed what the packs call, and tokenizes Chinese, Japanese and Korean prompts differently: one for all families."""

SDK = ("pydantic==2.12.4", "pillow==12.0.0", "aiohttp==3.13.2", "numpy==2.2.6", "av==16.0.1")
"""What the worker imports. Modal's client comes with the container; typer and rich are the CLI's alone."""
UPLOADS = ("obstore==0.11.0",)
"""Only where results are made: they may go to a bucket."""
HUB = ("huggingface_hub==1.1.5", "filelock==3.20.0")
"""Only where weights are synced: transformers 4, which the packs need, refuses huggingface_hub 1."""

OPENCV = "4.12.0.88"
INSIGHTFACE = ("cython==3.1.6", "insightface==0.7.3", "onnxruntime-gpu==1.23.2", f"opencv-python-headless=={OPENCV}")
"""insightface 1 and later changed its API; onnxruntime and onnxruntime-gpu must not both be installed."""
PACK_REQUIREMENTS = {
    "ComfyUI_InstantID": INSIGHTFACE,
    "ComfyUI_PuLID_Flux_ll": (*INSIGHTFACE, f"opencv-python=={OPENCV}", "facexlib==0.3.0", "ftfy==6.3.1", "timm==1.0.22"),
    "ComfyUI-SeedVR2_VideoUpscaler": (
        "omegaconf==2.3.0",
        "diffusers==0.35.2",
        "peft==0.18.0",
        "rotary_embedding_torch==0.8.9",
        f"opencv-python-headless=={OPENCV}",
        "gguf==0.17.1",
        "matplotlib==3.10.7",
    ),
}
"""The packs' own lists, which pin nothing, as they resolved in November 2025: the month that the packs were read and tried in.

insightface's packages ask for opencv-python-headless and PuLID's facexlib for opencv-python: both are the module ``cv2``, and both
must be there for ``pip check``, so they are held to one version.
"""
CONSTRAINTS = ("matplotlib==3.10.7",)
"""Versions of what some packs ask for and others only bring along, so that all images with packs have the same."""
COMPILED = ("insightface",)
"""Packages without wheels: their C++ is built in the image."""
BUILD = ("setuptools==80.9.0", "wheel==0.45.1", "cython==3.1.6", SDK[3])
"""What packages without wheels are built with."""
INSTALLERS = ("pip==25.3", "uv==0.9.13")
"""Modal's base image has the newest of both on the day it was made."""
REPLACED = (("onnxruntime", "onnxruntime-gpu"), ("opencv-python", "opencv-python-headless"))
"""What the packs' lists name, and what is installed for it."""
LAST = {"opencv-python": "opencv-python-headless"}
"""Two packages that are one module: the second one's files must lie on top of the first one's. It needs no display."""
NEEDS_GPU = frozenset({"ComfyUI-SeedVR2_VideoUpscaler"})
"""Packs whose nodes do not register on a machine without a GPU."""

LOCKS = FOLDER
"""Where the locks are."""
WEIGHTS = "weights"
"""The image of the class that syncs weights."""
IMAGES = (*FAMILIES, WEIGHTS)
"""Every image that has a lock."""


def image_lock(family: str) -> ImageLock:
    """Return a family's lock: ComfyUI, node packs, Python.

    Raises:
        InvalidInputError, StorageFailedError: the file is damaged or missing.
    """
    return read_lock(lock_file(family))


def requirements(image: str) -> Requirements:
    """Return what an image's packages are resolved from.

    Args:
        image: a family, or ``weights``.
    """
    return requirements_of(image_lock(image)) if image != WEIGHTS else Requirements((*INSTALLERS, *SDK, *HUB), python=PYTHON)


def requirements_of(lock: ImageLock) -> Requirements:
    """Return what the packages of an image are resolved from: a family's, or a graph's with packs that nobody here tried."""
    asked = [item for pack in lock.packs for item in PACK_REQUIREMENTS.get(pack.name, ())]
    own = dict.fromkeys([COMFY_CLI, *lock.python.requirements, *TRANSFORMERS, *INSTALLERS, *BUILD, *SDK, *UPLOADS, *asked])
    return Requirements(
        tuple(own),
        (lock.comfyui, *lock.packs),
        constraints=CONSTRAINTS if lock.packs else (),
        replaced=REPLACED if lock.packs else (),
        python=lock.python.version,
        platform=lock.python.platform,
        until=lock.python.until,
    )


def lock_file(family: str) -> Path:
    """Return the file with a family's lock."""
    return LOCKS / f"{family}.lock"


def requirements_file(image: str) -> Path:
    """Return the file with every package of an image and its hashes; images of the same packages share one."""
    return LOCKS / (f"{image}.requirements.txt" if image == WEIGHTS else image_lock(image).python.file)
