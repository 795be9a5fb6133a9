"""The emulated node classes, a module per kind: importing this package registers them all. No node knows the server."""

from __future__ import annotations

from ..base import NODES
from . import (  # noqa: F401 - importing them registers their classes
    audio,
    conditioning,
    faces,
    families,
    files,
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
