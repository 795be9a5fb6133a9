"""Plain data ↔ typed objects: the request, the reply and its errors, as docs/contract.md fixes them. Carries nothing itself."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from .errors import ContractMismatchError, InternalError, InvalidInputError, RylaGenError, error_from_data
from .events import CONTRACT
from .results import Cost, Generation, Output, Timings
from .version import __version__
from .workflows.base import Notice, Workflow
from .workflows.registry import BUILT_IN, workflow_class

READABLE = (1, 2)
"""Contracts that this side reads: of contract 1 nothing is lost. A reply is written in the contract of its request."""

PlainData = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may ask of a run, beside its inputs."""

    events: bool = True
    previews: bool = True
    measure_consistency: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the worker reads it."""

    workflow: Workflow
    job: str
    options: Options


def new_job_id() -> str:
    """Return a fresh job id: a uuid4."""
    return str(uuid.uuid4())


def request(workflow: Workflow, job: str, options: Options = Options()) -> PlainData:
    """Write the one argument of every remote method. The workflow must be resolved and seeded."""
    written = {
        "contract": CONTRACT,
        "sdk": __version__,
        "job": job,
        "inputs": plain(workflow.to_plain()),
        "options": asdict(options),
    }
    # A built-in workflow is named by the method it goes to; a plug-in's travels to one that serves them all.
    return written if workflow.name in BUILT_IN else {**written, "workflow": workflow.name}


def read_request(data: Mapping[str, Any], name: str | None = None) -> Request:
    """Read a request, trusting nothing in it.

    Args:
        data: what arrived.
        name: the workflow a method serves; when absent the request names it.

    Raises:
        InvalidInputError: a field does not fit or is unknown, or it is no request at all.
        ContractMismatchError: the caller speaks another version.

    """
    data = _object(data, "The request")
    check_version(data, theirs="caller")
    inputs = _object(data.get("inputs"), "inputs")
    cls = workflow_class(name or str(data.get("workflow") or "workflow"))
    unknown = sorted(set(inputs) - set(cls.model_fields))
    if unknown:
        text = f"{cls.name} does not know {', '.join(unknown)} in version {__version__}."
        raise InvalidInputError(text, "If a newer version has it, deploy the app again: ryla-gen deploy", {"fields": unknown})
    job = data.get("job") or new_job_id()
    if not isinstance(job, str) or len(job) > 64 or not job.replace("-", "").isalnum():
        raise InvalidInputError("job must be a uuid", "Leave it out and one is drawn.")
    return Request(cls.from_plain(inputs, trusted=False).seeded(), job, _options(data.get("options")))


def _options(data: object) -> Options:
    given = _object(data, "options") if data is not None else {}
    return Options(**{item.name: bool(given[item.name]) for item in fields(Options) if item.name in given})


def check_version(data: Mapping[str, Any], *, theirs: str) -> None:
    """Refuse a contract that this side cannot read, and name the side to update.

    Raises:
        ContractMismatchError: it is none of ``READABLE``.

    """
    number = data.get("contract", CONTRACT)
    if number not in READABLE:
        ahead = isinstance(number, int | float) and number > CONTRACT
        text = f"The {theirs} speaks contract {number!r}, this side {CONTRACT}."
        if (theirs == "app") != ahead:
            hint = "The app is the older side. Deploy it again: ryla-gen deploy"
        else:
            hint = "The caller is the older side. Update it: pip install -U ryla-gen"
        raise ContractMismatchError(text, hint, {"contract": CONTRACT, "theirs": number})


def readable_by(request: object, reply: PlainData) -> PlainData:
    """Write a reply in the contract of the request it answers, with nothing lost.

    A caller of contract 1 refuses another number, and knows no output without ``data``: a text becomes a file of text there.
    """
    if not isinstance(request, Mapping) or request.get("contract") != 1:
        return reply
    reply = {**reply, "contract": 1}
    generation = reply.get("generation")
    if isinstance(generation, Mapping):
        outputs = [_output_of_contract_1(item) for item in generation["outputs"]]
        reply["generation"] = {**generation, "outputs": outputs}
    return reply


def _output_of_contract_1(output: PlainData) -> PlainData:
    if output["kind"] in ("image", "video", "file"):
        return output
    shared = {key: value for key, value in output.items() if key != "text"}
    return {**shared, "kind": "file", "data": output["data"] if "data" in output else str(output["text"]).encode()}


def reply(generation: Generation) -> PlainData:
    """Write a finished generation as the contract's reply."""
    return {
        "contract": CONTRACT,
        "ok": True,
        "generation": {
            "workflow": generation.workflow.name,
            "backend": generation.backend,
            "job": generation.job,
            "seed": generation.seed,
            "outputs": [_output(item) for item in generation.outputs],
            "inputs": generation.workflow.described(),
            "graph": dict(generation.graph),
            "timings": asdict(generation.timings),
            "cost": asdict(generation.cost),
            "warnings": [{"code": item.code, "message": item.message} for item in generation.warnings],
            "server": dict(generation.server),
            **({} if generation.face_similarity is None else {"face_similarity": generation.face_similarity}),
        },
    }


def _output(item: Output) -> PlainData:
    data: PlainData = {"kind": item.kind, "media_type": item.media_type, "name": item.name, "data": item.data}
    numbers = {"width": item.width, "height": item.height, "frames": item.frames, "fps": item.fps}
    return data | {key: value for key, value in numbers.items() if value is not None}


def error_reply(error: RylaGenError) -> PlainData:
    """Write a fault of the request as the contract's reply."""
    return {"contract": CONTRACT, "ok": False, "error": plain(error.to_data())}


def read_reply(data: Mapping[str, Any], workflow: Workflow) -> Generation:
    """Turn a reply into the generation it holds.

    Args:
        data: what the app answered; unknown keys are ignored.
        workflow: the request it answers.

    Raises:
        RylaGenError: the reply is an error, raised as its own class.

    """
    data = _object(data, "The reply")
    check_version(data, theirs="app")
    if data.get("ok") is not True:
        raise error_from_data(_object(data.get("error"), "error"))
    found = _object(data.get("generation"), "generation")
    seed = int(found["seed"])
    used = workflow.changed(seed=seed) if "seed" in type(workflow).model_fields and workflow.name != "workflow" else workflow
    return Generation(
        workflow=used,
        outputs=tuple(_known(Output, item) for item in found["outputs"]),
        seed=seed,
        job=str(found["job"]),
        backend=str(found["backend"]),
        timings=_known(Timings, found.get("timings") or {}),
        cost=_known(Cost, found.get("cost") or {}),
        warnings=tuple(_known(Notice, item) for item in found.get("warnings") or ()),
        graph=found.get("graph") or {},
        server=found.get("server") or {},
        face_similarity=None if found.get("face_similarity") is None else float(found["face_similarity"]),
    )


def _known(cls: type[T], data: Mapping[str, Any]) -> T:
    """Build a dataclass from the keys it knows: a newer server may send more."""
    names = {item.name for item in fields(cls)}  # type: ignore[arg-type]
    return cls(**{key: value for key, value in data.items() if key in names})


def _object(value: object, what: str) -> PlainData:
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{what} must be an object, not {type(value).__name__}.", "See the contract: docs/contract.md")
    return {str(key): item for key, item in value.items() if type(item).__name__ not in ("UndefinedType", "undefined_type")}


def plain(value: Any) -> Any:
    """Check and copy plain data: tuples become lists, and anything that is not plain is a fault of ours.

    Raises:
        InternalError: something is neither dict, list, str, int, float, bool, None nor bytes.

    """
    if isinstance(value, str | int | float | bool | bytes | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise InternalError(f"{type(value).__name__} cannot cross the contract; read pictures into bytes first.")
