"""What a saved file says of the workflow that made it, written and read back. What a file says of itself is a claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import media
from .errors import InvalidInputError, StorageFailedError
from .workflows.registry import workflow_class

if TYPE_CHECKING:
    from .workflows.base import Workflow

METADATA_KEY = "ryla"
"""PNG text chunk (or EXIF field) that holds the workflow, its fields and the seed."""


def metadata(workflow: Workflow, seed: int, job: str) -> dict[str, Any]:
    """Describe a request for the inside of a file, so that :func:`load` can bring it back."""
    from .version import __version__

    return {"contract": 1, "sdk": __version__, "workflow": workflow.name, "seed": seed, "job": job, "inputs": workflow.described()}


def load(path: str | PathLike[str], **fields: Any) -> Workflow:
    """Read back the workflow that made a saved picture or video.

    Args:
        path: a file that this package saved (or that ComfyUI saved, whose graph then becomes a ``CustomWorkflow``).
        fields: values to change, and the pictures of a face workflow, which are never stored in the file.

    Raises:
        StorageFailedError: the file cannot be read.
        InvalidInputError: the file says nothing about a workflow, or a picture must be given again.

    """
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise StorageFailedError(f"Cannot read {path}: {error.strerror or error}", "Name a file that exists.") from error
    found = media.read_metadata(data)
    if METADATA_KEY in found:
        return _from_metadata(path, _json(found[METADATA_KEY]), fields)
    if "prompt" in found:
        from .workflows.custom import CustomWorkflow

        return CustomWorkflow.from_plain({"graph": _json(found["prompt"]), **fields}, trusted=True)
    raise InvalidInputError(
        f"{path} says nothing about how it was made.",
        "Only files saved by this package or by ComfyUI, unedited, carry their workflow.",
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _from_metadata(path: str | PathLike[str], stored: Any, fields: Mapping[str, Any]) -> Workflow:
    if not isinstance(stored, dict) or not isinstance(stored.get("inputs"), dict):
        raise InvalidInputError(f"The note inside {path} about its workflow is damaged.", "Use the original file.")
    cls = workflow_class(str(stored.get("workflow")))
    inputs: dict[str, Any] = dict(stored["inputs"])
    if "seed" in cls.model_fields and inputs.get("seed") is None and cls.name != "workflow":
        inputs["seed"] = stored.get("seed")
    inputs.update(fields)
    missing = [name for name in cls.media_fields() if _is_summary(inputs.get(name))]
    if missing:
        options = " ".join(f"--{name.replace('_', '-')} FILE" for name in missing)
        text = f"{path} was made with a picture that is not stored in it: {', '.join(missing)}."
        raise InvalidInputError(text, f"Give it again: {options} (in Python: load(path, {missing[0]}=…)).", {"missing": missing})
    return cls.from_plain(inputs, trusted=True)


def _is_summary(value: Any) -> bool:
    if isinstance(value, dict) and set(value) == {"sha256", "bytes"}:
        return True
    return isinstance(value, dict) and any(_is_summary(item) for item in value.values())
