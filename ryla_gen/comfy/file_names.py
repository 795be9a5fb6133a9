"""Compare the names of weights files with those that a server lists. Pure: names in, names out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

WEIGHTS_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")
"""What the names of weights files end with."""
STORED_NAME = re.compile(r"^(?P<id>[a-z0-9][a-z0-9._-]{0,63})(/[0-9a-f]{16})?\.safetensors$")
"""``<id>.safetensors``, or ``<id>/<first 16 digits of its hash>.safetensors`` as a pushed LoRA is called on a server."""
LIKENESS = 0.6
"""Least likeness of two names, as difflib measures it, at which one is offered for the other."""


def closest_file(file: str, available: Sequence[str], *, lora: bool) -> str:
    """Return the listed name that is most like a file's, as a request writes it: a stored LoRA by its id; empty where none is.

    Names are compared without their suffix, which all of them share, and with and without their folder.
    """
    listed: dict[str, str] = {}
    for name in available:
        shown = _lora_id(name) if lora else name
        for key in _keys(shown):
            listed.setdefault(key, shown)
    for key in _keys(_lora_id(file) if lora else file):
        close = difflib.get_close_matches(key, listed, n=1, cutoff=LIKENESS)
        if close:
            return listed[close[0]]
    return ""


def _lora_id(name: str) -> str:
    stored = STORED_NAME.match(name.replace("\\", "/"))
    return stored["id"] if stored else name


def _keys(name: str) -> tuple[str, str]:
    """Return what of a name is compared: all but the suffix, and that without the folder."""
    whole = name.replace("\\", "/").lower()
    suffix = next((item for item in WEIGHTS_SUFFIXES if whole.endswith(item)), "")
    whole = whole.removesuffix(suffix)
    return whole, whole.rpartition("/")[2]
