"""Build the graph of a workflow from its defaults, to look at. Sends nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from ..graphs import reading
from .registry import workflow_class

SAMPLES: tuple[dict[str, Any], ...] = ({}, {"lora_id": "character"}, {"image": b""}, {"video": b""})
"""What a workflow needs beside its required fields before it can build a graph to look at."""


def preview_of(name: str) -> dict[str, Any]:
    """Build a workflow's graph from its defaults, to look at.

    Raises:
        InvalidInputError: there is no such workflow, or it cannot be built without the caller's values.

    """
    cls = workflow_class(name)
    known = {"prompt": "a lighthouse at dusk", **dict.fromkeys(cls.media_fields(), b"")}
    needed = {field: known[field] for field, info in cls.model_fields.items() if info.is_required() and field in known}
    for extra in SAMPLES:
        if set(extra) <= set(cls.model_fields):
            try:
                return cls.from_plain({**needed, **extra}, trusted=True).build().to_api()
            except (InvalidInputError, NotImplementedError):
                continue
    text = f"The workflow {name} cannot be shown without values."
    raise InvalidInputError(text, "Save its graph and show that: ryla-gen graph draw graph_api.json")


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
