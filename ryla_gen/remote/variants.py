"""Every graph a workflow can become through its choices: for the nodes an image must have, and the weights a volume may need."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, get_args, get_origin

from ..errors import InvalidInputError
from ..workflows.base import Workflow
from ..workflows.registry import BUILT_IN, workflow_class

FEW_CHOICES = 4
"""A field with more choices (samplers, schedulers) chooses no model and no node."""
PICTURE = "picture.png"
SAMPLES: tuple[dict[str, Any], ...] = ({}, {"lora_id": "character"}, {"image": PICTURE}, {"video": "video.mp4"})
"""What a workflow needs beside its prompt and its reference before it can build a graph."""
CORE = frozenset({"EmptyImage", "PreviewImage", "LoadImage", "SaveImage", "KSampler", "CheckpointLoaderSimple", "LoraLoader"})
"""Nodes every family needs, Custom too: the probe's, and what nearly every graph has."""


def variants(cls: type[Workflow]) -> Iterator[Workflow]:
    """Yield a request for each combination of a workflow's choices, its defaults first."""
    fields = cls.model_fields
    required = {"prompt": "a photo", "reference_image": PICTURE, "graph": {"1": {"class_type": "LoadImage", "inputs": {}}}}
    needed = {name: value for name, value in required.items() if name in fields and fields[name].is_required()}
    choices = {name: _ordered(info.annotation, info.default) for name, info in fields.items() if _few(info.annotation)}
    for sample in SAMPLES:
        if not set(sample) <= set(fields):
            continue
        for values in product(*choices.values()):
            try:
                yield cls(**needed, **sample, **dict(zip(choices, values, strict=True)))
            except InvalidInputError:
                continue  # choices that do not go together


def default_of(cls: type[Workflow]) -> Workflow:
    """Return the first request that a workflow accepts: its defaults."""
    return next(variants(cls))


def family_nodes(family: str) -> frozenset[str]:
    """Return the node classes that the built-in workflows of a family use; for ``custom``, those of all families."""
    classes = [workflow_class(name) for name in BUILT_IN]
    chosen = [cls for cls in classes if family in (cls.family, "custom") and cls.name != "workflow"]
    return CORE.union(*(request.required_nodes() for cls in chosen for request in variants(cls)))


def _few(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) <= FEW_CHOICES


def _ordered(annotation: Any, default: Any) -> list[Any]:
    return sorted(get_args(annotation), key=lambda value: value != default)
