"""Convert requests, replies and errors between plain data and typed objects, as docs/contract.md fixes them. Sends nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from .delivery import OutputTo, read_destination
from .errors import ContractMismatchError, InternalError, InvalidInputError, PlainData, RylaGenError, error_from_data
from .events import CONTRACT
from .results import Cost, Generation, Output, Timings
from .support.shapes import ShapeError, build, value_of
from .version import __version__
from .workflows.base import Notice, Workflow
from .workflows.registry import BUILT_IN, named_class

READABLE = (1, 2)
"""Contracts that this side reads: of contract 1 nothing is lost. A reply is written in the contract of its request."""

NOT_MEASURED = "consistency_not_measured"
"""Code of the warning that ``measure_consistency`` was asked for, and nothing measured it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run, besides its inputs."""

    events: bool = True
    previews: bool = True
    measure_consistency: bool = False
    output_to: OutputTo = field(default=None, repr=False)
    """Where the files go instead of into the reply: a bucket with a prefix, or signed addresses, one for each file."""
    webhook: str | None = field(default=None, repr=False)
    """Address that is told of the job's end."""
    webhook_prompt: bool = False
    """Whether it is told the prompt as well."""

    def to_data(self) -> PlainData:
        """Return as plain data; what an older side does not know stands there only where it is asked for."""
        told: PlainData = {"events": self.events, "previews": self.previews, "measure_consistency": self.measure_consistency}
        if self.output_to is not None:
            told["output_to"] = plain(self.output_to)
        if self.webhook is not None:
            told |= {"webhook": self.webhook, "webhook_prompt": self.webhook_prompt}
        return told


USUAL_OPTIONS = Options()
"""Events and previews, and nothing besides."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the worker reads it."""

    workflow: Workflow
    job: str
    options: Options


def new_job_id() -> str:
    """Return a fresh job id: a uuid4."""
    return str(uuid.uuid4())


def request(workflow: Workflow, job: str, options: Options = USUAL_OPTIONS) -> PlainData:
    """Write the one argument of every remote method. The workflow must be resolved and seeded."""
    written = {
        "contract": CONTRACT,
        "sdk": __version__,
        "job": job,
        "inputs": plain(workflow.to_sent()),
        "options": options.to_data(),
    }
    # A built-in workflow is named by the method it goes to; a plug-in's travels to one that serves them all.
    return written if method_of(workflow)[1] != ANY_METHOD else {**written, "workflow": workflow.name}


ANY_FAMILY, ANY_METHOD = "custom", "generate"
"""Family and method that serve every workflow without a method of its own: those of plug-ins."""


def method_of(workflow: Workflow | type[Workflow]) -> tuple[str, str]:
    """Return the family whose Modal class serves a workflow, and the name of the method."""
    if workflow.name in BUILT_IN:
        return workflow.family, workflow.name
    return (ANY_FAMILY if workflow.lock is None else workflow.family), ANY_METHOD


def read_request(data: Mapping[str, Any], name: str | None = None) -> Request:
    """Read a request, trusting nothing in it.

    Args:
        data: what arrived.
        name: the workflow a method serves; when absent the request names it.

    Raises:
        InvalidInputError: a field does not fit or is unknown, or it is not a request at all.
        ContractMismatchError: the caller speaks another version.

    """
    data = _object(data, "The request")
    check_version(data, theirs="caller")
    inputs = _object(data.get("inputs"), "inputs")
    cls = named_class(name or str(data.get("workflow") or "workflow"))
    unknown = sorted(set(inputs) - set(cls.model_fields))
    if unknown:
        text = f"{cls.name} does not know {', '.join(unknown)} in version {__version__}."
        raise InvalidInputError(
            text, f"If a newer version has it, deploy the app again: {cls.deploy_command()}", {"fields": unknown}
        )
    job = data.get("job") or new_job_id()
    if not isinstance(job, str) or len(job) > 64 or not job.replace("-", "").isalnum():
        raise InvalidInputError("job must be a uuid", "Leave it out to use a random one.")
    return Request(cls.from_plain(inputs, trusted=False).seeded(), job, _options(data.get("options")))


def prompt_id_of(job: str) -> str:
    """Return the id under which ComfyUI runs a job: the job's own where that is a UUID in its canonical form, else one made of it.

    ComfyUI 0.28 takes no other id, and callers may send others, such as ``<uuid>-2`` for a part of a job.
    """
    try:
        canonical = str(uuid.UUID(job)) == job
    except ValueError:
        canonical = False
    return job if canonical else str(uuid.uuid5(uuid.NAMESPACE_OID, job))


def _options(data: object) -> Options:
    given = _object(data, "options") if data is not None else {}
    switches = ("events", "previews", "measure_consistency", "webhook_prompt")
    known: dict[str, Any] = {name: bool(given[name]) for name in switches if name in given}
    webhook = given.get("webhook")
    if webhook is not None and not isinstance(webhook, str):
        raise InvalidInputError("options.webhook must be an address.", "Leave it out where nobody is to be told.")
    return Options(**known, webhook=webhook, output_to=read_destination(given.get("output_to")))


def check_version(data: Mapping[str, Any], *, theirs: str) -> None:
    """Refuse a contract that this side cannot read, and name the side to update.

    Raises:
        ContractMismatchError: it is none of ``READABLE``.

    """
    number = data.get("contract", CONTRACT)
    if number not in READABLE:
        ahead = isinstance(number, int | float) and number > CONTRACT
        text = f"The {theirs} uses version {number!r:.40} of the contract, this side version {CONTRACT}."
        if (theirs == "app") != ahead:
            hint = "The app is older. Deploy it again: ryla-gen deploy"
        else:
            hint = "The caller is older. Update it: pip install -U ryla-gen"
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
    if "url" in output:  # the caller asked for that, so it knows an output without data
        return {**output, "kind": "file"}
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
    held: PlainData = {"data": item.data} if item.text is None else {"text": item.text}
    if item.url is not None:
        held = {"url": item.url, "sha256": item.sha256, "bytes": item.size}
    data: PlainData = {"kind": item.kind, "media_type": item.media_type, "name": item.name, **held}
    more = {"width": item.width, "height": item.height, "frames": item.frames, "fps": item.fps, "node": item.node}
    return data | {key: value for key, value in more.items() if value is not None}


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
        ContractMismatchError: it is no reply of this contract.

    """
    if not isinstance(data, Mapping):
        raise _unreadable(f"it is {type(data).__name__}, not an object")
    data = _object(data, "The reply")
    check_version(data, theirs="app")
    if data.get("ok") is not True:
        if not isinstance(data.get("error"), Mapping):
            raise _unreadable("it contains neither ok nor an error")
        raise error_from_data(_object(data.get("error"), "error"))
    try:
        return _generation(data.get("generation"), workflow)
    except ShapeError as error:
        raise _unreadable(str(error)) from None


def _unreadable(why: str) -> ContractMismatchError:
    return ContractMismatchError(f"The app's reply cannot be read: {why}.", "Deploy the app from this version: ryla-gen deploy")


def _generation(data: object, workflow: Workflow) -> Generation:
    """Read a generation. Its files and its seed must be right; of what only describes it, what cannot be read is left out."""
    if not isinstance(data, Mapping):
        raise ShapeError("generation is not an object")
    found = _object(data, "generation")
    seed = value_of(int, found.get("seed"), "generation.seed")
    used = workflow.changed(seed=seed) if workflow.takes_seed() else workflow
    listed = value_of(list, found.get("outputs"), "generation.outputs")
    similarity = found.get("face_similarity")
    return Generation(
        workflow=used,
        outputs=tuple(_read_output(item, f"generation.outputs[{index}]") for index, item in enumerate(listed)),
        seed=seed,
        job=value_of(str, found.get("job"), "generation.job"),
        backend=value_of(str, found.get("backend"), "generation.backend"),
        timings=_or_default(Timings, found.get("timings")) or Timings(),
        cost=_or_default(Cost, found.get("cost")) or Cost(),
        warnings=tuple(notice for item in _as_list(found.get("warnings")) if (notice := _or_default(Notice, item))),
        graph=_mapping(found.get("graph")),
        server=_mapping(found.get("server")),
        face_similarity=float(similarity) if isinstance(similarity, float | int) and -1 <= similarity <= 1 else None,
    )


def _read_output(data: object, what: str) -> Output:
    if not isinstance(data, Mapping):
        raise ShapeError(f"{what} is {type(data).__name__}, not an object")
    kind = data.get("kind")
    known = kind if kind in _kinds() else "file"  # a newer app may know more kinds
    if data.get("url") is not None:
        size = value_of(int, data.get("bytes"), f"{what}.bytes")
        return build(Output, {**data, "kind": known, "data": b"", "size": size}, what)
    if not isinstance(data.get("text" if known == "text" else "data"), str if known == "text" else bytes):
        raise ShapeError(f"{what} has no {'text' if known == 'text' else 'data'}")
    described = {key: value for key, value in data.items() if key not in ("url", "sha256", "size")}
    return build(Output, {**described, "kind": known}, what)


@cache
def _kinds() -> tuple[str, ...]:
    return get_args(get_type_hints(Output)["kind"])


def _or_default(cls: type[T], data: object) -> T | None:
    try:
        return build(cls, _mapping(data), cls.__name__)
    except ShapeError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _as_list(value: object) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else ()


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
    raise InternalError(f"{type(value).__name__} cannot be sent; read pictures into bytes first.")
