"""Build every graph a workflow can become through its choices, to know the nodes of an image and the weights of a volume."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, get_args, get_origin

from ..errors import InvalidInputError
from ..workflows.base import Workflow
from ..workflows.preview import sample_fields
from ..workflows.registry import built_in_classes

FEW_CHOICES = 4
"""A field with more choices (samplers, schedulers) chooses no model and no node."""
CORE = frozenset({"EmptyImage", "PreviewImage", "LoadImage", "SaveImage", "KSampler", "CheckpointLoaderSimple", "LoraLoader"})
"""Nodes every family needs, Custom too: the probe's, and what nearly every graph has."""


def variants(cls: type[Workflow]) -> Iterator[Workflow]:
    """Yield a request for each combination of a workflow's choices, its defaults first."""
    fields = cls.model_fields
    choices = {name: _default_first(info.annotation, info.default) for name, info in fields.items() if _few(info.annotation)}
    for given in sample_fields(cls):
        for values in product(*choices.values()):
            try:
                yield cls(**given, **dict(zip(choices, values, strict=True)))
            except InvalidInputError:
                continue  # these choices cannot be combined


def default_of(cls: type[Workflow]) -> Workflow:
    """Return the first request that a workflow accepts: its defaults."""
    return next(variants(cls))


def family_nodes(family: str) -> frozenset[str]:
    """Return the node classes that the built-in workflows of a family use; for ``custom``, those of all families."""
    chosen = [cls for cls in built_in_classes() if family in (cls.family, "custom") and not cls.own_graph]
    return CORE.union(*(request.required_nodes() for cls in chosen for request in variants(cls)))


def _few(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) <= FEW_CHOICES


def _default_first(annotation: Any, default: Any) -> list[Any]:
    return sorted(get_args(annotation), key=lambda value: value != default)
