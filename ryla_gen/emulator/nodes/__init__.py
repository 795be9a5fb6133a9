"""Importing this module registers every emulated node class. Nothing else happens here."""

from __future__ import annotations

from . import (
    nodes_audio,
    nodes_conditioning,
    nodes_faces,
    nodes_families,
    nodes_files,
    nodes_images,
    nodes_latents,
    nodes_loaders,
    nodes_logic,
    nodes_masks,
    nodes_output,
    nodes_resizing,
    nodes_samplers,
    nodes_sampling,
    nodes_schedules,
    nodes_shapes,
    nodes_texts,
    nodes_upscale,
    nodes_values,
    nodes_video,
)
from .base import NODES

MODULES = (
    nodes_audio,
    nodes_conditioning,
    nodes_faces,
    nodes_families,
    nodes_files,
    nodes_images,
    nodes_latents,
    nodes_loaders,
    nodes_logic,
    nodes_masks,
    nodes_output,
    nodes_resizing,
    nodes_samplers,
    nodes_sampling,
    nodes_schedules,
    nodes_shapes,
    nodes_texts,
    nodes_upscale,
    nodes_values,
    nodes_video,
)
"""Every module of nodes."""

__all__ = ["MODULES", "NODES"]
