"""Importing this module registers every emulated node class. Nothing else happens here."""

from __future__ import annotations

from . import (
    nodes_conditioning,
    nodes_faces,
    nodes_files,
    nodes_images,
    nodes_latents,
    nodes_loaders,
    nodes_masks,
    nodes_output,
    nodes_sampling,
    nodes_upscale,
    nodes_values,
    nodes_video,
)
from .base import NODES

MODULES = (
    nodes_conditioning,
    nodes_faces,
    nodes_files,
    nodes_images,
    nodes_latents,
    nodes_loaders,
    nodes_masks,
    nodes_output,
    nodes_sampling,
    nodes_upscale,
    nodes_values,
    nodes_video,
)
"""Every module of nodes."""

__all__ = ["MODULES", "NODES"]
