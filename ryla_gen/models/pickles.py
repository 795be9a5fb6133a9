"""Tell files that may hold code from those that hold numbers alone. Must not open one."""

from __future__ import annotations

from pathlib import PurePosixPath

PICKLES = frozenset({".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".th", ".jit"})
"""Endings of Python's pickles, which run code of their maker when a node loads them without care."""
WARNING = "A pickle: it can run code when it is loaded."


def is_pickle_name(file: str) -> bool:
    """Whether a file of this name is a pickle; ``.safetensors``, ``.sft``, ``.gguf`` and ``.onnx`` hold numbers alone."""
    return PurePosixPath(file).suffix.lower() in PICKLES
