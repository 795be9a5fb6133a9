"""Build the graph of a workflow from its defaults, to look at. Sends nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from ..graphs import reading
from .base import Workflow
from .registry import workflow_class

STAND_INS = {"image": "picture.png", "video": "video.mp4"}
"""Names in the place of media that are never read."""
PROMPT = "a lighthouse at dusk"
"""Prompt of a workflow without an example."""
LORA = "character"
"""LoRA of a workflow without an example."""
ONE_NODE = {"1": {"class_type": "LoadImage", "inputs": {}}}
"""Graph of the workflow that has none."""


def sample_fields(cls: type[Workflow]) -> Iterator[dict[str, Any]]:
    """Yield the fields, one way after the other, without which a request of a workflow cannot be made; defaults do the rest.

    Each way has the required fields. The first has no more; of the optional ones that choose what is worked on (a LoRA, a
    picture or a video), each of the others has one, since some workflows ask for one of them; the last one has every picture.
    """
    shown = dict(cls.example.fields) if cls.example else {"prompt": PROMPT, "lora_id": LORA}
    shown |= {name: STAND_INS[kind] for name, kind in cls.media_fields().items()}
    shown |= {"graph": ONE_NODE} if cls.own_graph else {}
    needed = {name: shown[name] for name, info in cls.model_fields.items() if info.is_required() and name in shown}
    yield needed
    optional = {name: info for name, info in cls.model_fields.items() if not info.is_required() and info.default in (None, ())}
    chosen = {name: value for name, value in shown.items() if name in optional and isinstance(value, str)}
    yield from ({**needed, name: value} for name, value in chosen.items())
    yield {**needed, **{name: value for name, value in chosen.items() if name in cls.media_fields()}}


def sample_of(cls: type[Workflow], **fields: Any) -> Workflow | None:
    """Return a request of defaults whose graph can be looked at; None when it cannot be made without the caller's values.

    Args:
        cls: the workflow.
        fields: values to put in the place of defaults.

    """
    for given in sample_fields(cls):
        try:
            request = cls.from_plain({**given, **fields}, trusted=True)
            request.build()
        except (InvalidInputError, NotImplementedError):
            continue
        return request
    return None


def default_files(cls: type[Workflow]) -> frozenset[str] | None:
    """Return the labels of the weights that a workflow's defaults need; None where they have no graph to look at."""
    request = None if cls.own_graph else sample_of(cls)
    return None if request is None else frozenset(row.label for row in request.required_weights())


def preview_of(name: str) -> dict[str, Any]:
    """Build a workflow's graph from its defaults, to look at.

    Raises:
        InvalidInputError: there is no such workflow, or it cannot be built without the caller's values.

    """
    cls = workflow_class(name)
    request = None if cls.own_graph else sample_of(cls)
    if request is None:
        text = f"The workflow {name} cannot be shown without values."
        raise InvalidInputError(text, "Save its graph and show that: ryla-gen graph draw graph_api.json")
    return request.build().to_api()


def api_of(source: Any, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the API format of anything that is, holds, builds or names a graph.

    Args:
        source: what :func:`ryla_gen.graphs.reading.api_of` takes, or the name of a workflow.
        schemas: node schemas for the UI format; the packaged ones when absent.

    Raises:
        InvalidInputError: there is no graph in it.

    """
    # Path's own test raises for odd names.
    if isinstance(source, str) and not Path(source).suffix and not os.path.isfile(source):  # noqa: PTH113
        return preview_of(source)
    return reading.api_of(source, schemas)
