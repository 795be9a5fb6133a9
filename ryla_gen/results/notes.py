"""Write the workflow that made a file into it, and read it back. What a file says about itself is an unverified claim."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import media
from ..errors import InvalidInputError, StorageFailedError
from ..graphs.graph_file import graph_texts, parse_inside
from ..support.shell_words import path_word
from ..workflows.presets import merged
from ..workflows.registry import named_class, workflow_names

if TYPE_CHECKING:
    from ..workflows.base import Workflow

METADATA_KEY = "ryla"
"""PNG text chunk (or EXIF field) that holds the workflow, its fields and the seed."""

SHEET_KEY = "ryla:sheet"
"""PNG text chunk of a sheet of several pictures: the id of the job that they are of. It is no request that could be run again."""


def is_emulated(data: bytes) -> bool:
    """Whether a file says that an emulator made it: a server may be one without the caller's knowledge."""
    return media.read_metadata(data).get("ryla:emulated") == "true"


def metadata(workflow: Workflow, seed: int, job: str) -> dict[str, Any]:
    """Describe a request for the inside of a file, so that :func:`load` can restore it."""
    from ..version import __version__

    return {"contract": 1, "sdk": __version__, "workflow": workflow.name, "seed": seed, "job": job, "inputs": workflow.described()}


def file_texts(workflow: Workflow, seed: int, job: str, graph: Mapping[str, Any]) -> dict[str, str]:
    """Return what is written into a file of a result, by name: the request, and the graph that ran."""
    return {METADATA_KEY: json.dumps(metadata(workflow, seed, job)), "prompt": json.dumps(graph)}


def load(path: str | PathLike[str], **fields: Any) -> Workflow:
    """Read back the workflow that made a saved picture, video or sound.

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
        raise StorageFailedError(f"Cannot read {path}: {error.strerror or error}", "Give the path of an existing file.") from error
    found = media.read_metadata(data)
    if METADATA_KEY in found:
        return _from_metadata(path, _json(found[METADATA_KEY]), fields)
    texts = graph_texts(found)
    if "prompt" in texts:
        from ..workflows.custom import CustomWorkflow

        return CustomWorkflow.from_plain({"graph": parse_inside(texts["prompt"], path), **fields}, trusted=True)
    if "workflow" in texts:
        text = f"{path} carries the drawing of its graph, and not the graph that ran."
        raise InvalidInputError(text, f"Run the drawing: ryla-gen graph run {path_word(path)}")
    raise InvalidInputError(
        f"{path} does not say how it was made.",
        "Only files saved by this package or by ComfyUI, unedited, carry their workflow.",
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _from_metadata(path: str | PathLike[str], stored: Any, fields: Mapping[str, Any]) -> Workflow:
    name = stored.get("workflow") if isinstance(stored, dict) else None
    if not isinstance(name, str) or not isinstance(stored.get("inputs"), dict):
        raise InvalidInputError(f"The note inside {path} about its workflow is damaged.", "Use the original file.")
    cls = noted_class(path, name)
    inputs: dict[str, Any] = dict(stored["inputs"])
    if cls.takes_seed() and inputs.get("seed") is None:
        inputs["seed"] = stored.get("seed")
    pictures = {field: inputs.pop(field) for field in cls.media_fields() if field in inputs}
    missing = [field for field, held in pictures.items() if held not in (None, {}, []) and field not in fields]
    if missing:
        raise _asked_again(path, missing, {field: pictures[field] for field in missing})
    return cls.from_plain(merged(cls, inputs, fields), trusted=True)


def noted_class(path: str | PathLike[str], name: str) -> type[Workflow]:
    """Return the class of the workflow that a file's note names.

    Raises:
        InvalidInputError: it is not known here.
        HashMismatchError, StorageFailedError: its lock cannot be used.

    """
    if name.replace("-", "_") not in workflow_names():
        text = f"{path} was made with the workflow {name[:80]!r}, which is not known here."
        hint = f"Run the graph inside the file: ryla-gen graph run {path_word(path)}"
        more = "Its fields are known again with its plug-in, or once its lock is deployed: ryla-gen deploy FILE.lock"
        raise InvalidInputError(text, f"{hint}  {more}")
    return named_class(name)


def _asked_again(path: str | PathLike[str], missing: list[str], held: Mapping[str, Any]) -> InvalidInputError:
    """Build the error for pictures that a note names but does not contain. Never opens the path or address in the note."""
    options = " ".join(_option(field, held[field]) for field in missing)
    text = f"{path} was made with a picture that is not stored in it: {', '.join(missing)}."
    if not all(_is_summary(value) for value in held.values()):
        text += " Its note names a file or an address there, but these are never opened."
    return InvalidInputError(text, f"Give it again: {options} (in Python: load(path, {missing[0]}=…)).", {"missing": missing})


def _option(field: str, held: Any) -> str:
    """Return the options with which ``ryla-gen rerun`` takes a picture for a field."""
    if field == "images":
        if isinstance(held, list):
            return " ".join(["--image FILE"] * max(1, min(len(held), 10)))
        names = [str(name) for name in held][:10] if isinstance(held, dict) else ["NAME"]
        return " ".join(f"--image {shlex.quote(f'{name}=FILE')}" for name in names)
    known = field in ("image", "reference_image", "video")
    return f"--{field.replace('_', '-')} FILE" if known else f"--set {field}=FILE"


def _is_summary(value: Any) -> bool:
    """Whether this is a hash and a size, or a list or mapping of such: the only forms in which our metadata holds pictures."""
    named = isinstance(value, dict) and set(value) != {"sha256", "bytes"}
    held = list(value.values()) if named else value if isinstance(value, list) else [value]
    return bool(held) and all(isinstance(item, dict) and set(item) == {"sha256", "bytes"} for item in held)
