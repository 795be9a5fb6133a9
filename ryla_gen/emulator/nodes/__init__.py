"""Register all emulated node classes, a module per kind, when imported. Nodes must not know the server."""

from __future__ import annotations

from ..base import NODES
from . import (  # noqa: F401 - importing them registers their classes
    audio,
    conditioning,
    controls,
    edits,
    faces,
    families,
    files,
    frames,
    images,
    latents,
    loaders,
    logic,
    masks,
    output,
    resizing,
    samplers,
    sampling,
    schedules,
    shapes,
    texts,
    upscale,
    values,
    video,
)

__all__ = ["NODES"]
