"""Build every graph a workflow can become through its choices, to know the nodes of an image and the weights of a volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations, islice, product
from typing import Any, Literal, get_args, get_origin

from ..errors import InvalidInputError
from ..workflows.base import Workflow
from ..workflows.preview import sample_fields
from ..workflows.registry import built_in_classes

FEW_CHOICES = 4
"""A field with more choices (samplers, schedulers) chooses no model and no node."""
MOST_VARIANTS = 400
"""Requests of one workflow at most, more than any built-in one has: the choices of a locked graph may be many, and their
combinations are then without end. Those with few options come first."""
CORE = frozenset({"EmptyImage", "PreviewImage", "LoadImage", "SaveImage", "KSampler", "CheckpointLoaderSimple", "LoraLoader"})
"""Nodes every family needs, Custom too: the probe's, and what nearly every graph has."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A request, and what a caller sets for it."""

    request: Workflow
    options: Mapping[str, Any]
    """Fields that differ from those of the default request: choices, and pictures or videos that need not be given."""


def variants(cls: type[Workflow]) -> Iterator[Workflow]:
    """Yield a request for each combination of a workflow's choices and optional pictures, its defaults first."""
    return (item.request for item in variants_with_options(cls))


def variants_with_options(cls: type[Workflow]) -> Iterator[Variant]:
    """Yield each request with the options that it has beside the defaults; the fewer options, the earlier."""
    return islice(_accepted(cls), MOST_VARIANTS)


def _accepted(cls: type[Workflow]) -> Iterator[Variant]:
    least: dict[str, Any] | None = None
    for given in _combinations(cls):
        try:
            request = cls(**given)
        except InvalidInputError:
            continue  # these cannot be combined
        least = given if least is None else least
        yield Variant(request, {name: value for name, value in given.items() if name not in least or value != least[name]})


def _combinations(cls: type[Workflow]) -> Iterator[dict[str, Any]]:
    """Yield fields to make requests of, made one by one: nothing that is not asked for is combined."""
    few = {name: get_args(info.annotation) for name, info in cls.model_fields.items() if _few(info.annotation)}
    required = [name for name in few if cls.model_fields[name].is_required()]
    others = {name: [value for value in few[name] if value != cls.model_fields[name].default] for name in few}
    optional = [name for name in few if name not in required]
    ways = []
    for given in sample_fields(cls):
        ways += [given] if given not in ways else []
    fewest = len(ways[0])
    for count in range(max(map(len, ways)) - fewest + len(optional) + 1):
        for given in ways:
            chosen = count - (len(given) - fewest)
            for names in combinations(optional, chosen) if chosen >= 0 else ():
                for values in product(*(few[name] for name in required), *(others[name] for name in names)):
                    yield {**given, **dict(zip((*required, *names), values, strict=True))}


def default_of(cls: type[Workflow]) -> Workflow:
    """Return the first request that a workflow accepts: its defaults."""
    return next(variants(cls))


def family_nodes(family: str) -> frozenset[str]:
    """Return the node classes that the built-in workflows of a family use; for ``custom``, those of all families."""
    chosen = [cls for cls in built_in_classes() if family in (cls.family, "custom") and not cls.own_graph]
    return CORE.union(*map(_nodes_of, chosen))


@cache  # a deploy asks for each workflow twice: for its own family and for ``custom``
def _nodes_of(cls: type[Workflow]) -> frozenset[str]:
    return frozenset[str]().union(*(request.required_nodes() for request in variants(cls)))


def _few(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and len(get_args(annotation)) <= FEW_CHOICES
