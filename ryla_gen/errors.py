"""Define every error this package raises: what happened, a stable code, and the command that fixes it.

The whole tree::

    RylaGenError                       code
    ├── InvalidInputError              invalid_input          a field of a request does not fit (also a ValueError)
    ├── LockError                                             the lock of a graph cannot be used
    │   ├── LockOpenError              lock_open              something in it was not settled
    │   ├── PackUnknownError           pack_unknown           no node pack is known that gives a class
    │   └── HashMismatchError          hash_mismatch          something is not what was locked
    ├── WorkflowError                                         the graph could not run; never retried
    │   ├── WorkflowInvalidError       workflow_invalid       the server refused the graph
    │   ├── NodeFailedError            node_failed            a node of the graph raised
    │   ├── FaceNotFoundError          face_not_found         no face in the reference image
    │   ├── GpuOutOfMemoryError        out_of_memory          the graph needs more VRAM than the GPU has
    │   ├── LoraIncompatibleError      lora_incompatible      a LoRA for another base model
    │   └── NotEmulatedError           not_emulated           the emulator cannot run these nodes; a GPU can
    ├── ModelNotFoundError             model_not_found        a weights file is missing on the server
    │   └── LoraNotFoundError          lora_not_found         no LoRA is stored under that id
    ├── RefusedError                   refused                a hook refused an output, and nobody has it
    │   └── HookFailedError            hook_failed            a hook could not say, so the output was not passed on
    ├── GenerationTimeoutError         generation_timeout     it ran longer than its limit (also a TimeoutError)
    ├── JobError                                              about one job
    │   ├── JobNotFoundError           job_not_found          no such job
    │   ├── JobCanceledError           job_canceled           it was canceled
    │   ├── JobExpiredError            job_expired            the process or server that held it is gone
    │   ├── ResultExpiredError         result_expired         it finished, but its result was thrown away
    │   └── AlreadyClaimedError        already_claimed        another call already runs this job
    ├── BackendError                                          the place where engines live cannot be used
    │   ├── BackendNotConfiguredError  backend_not_configured where to run is not configured
    │   ├── BackendUnreachableError    backend_unreachable    no answer on the network
    │   ├── NotAuthorizedError         not_authorized         the credentials were refused
    │   ├── NotDeployedError           not_deployed           the app, or a part of it, is not there
    │   ├── ContractMismatchError      contract_mismatch      the two sides use different versions of the contract
    │   ├── ServerUnhealthyError       server_unhealthy       ComfyUI died or hangs
    │   └── PreemptedError             preempted              the container was taken away; may be sent again
    ├── BudgetExceededError            budget_exceeded        it would cost more than you allowed
    ├── TooManyRequestsError           too_many_requests      the user has too many jobs for now; try again later
    ├── StorageError
    │   ├── OutputExistsError          output_exists          a file of that name is there already
    │   └── StorageFailedError         storage_failed         a file could not be written or read
    └── InternalError                  internal               our fault; please report it

Catch :class:`RylaGenError` for all of them. Codes are never renamed.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Literal

PlainData = dict[str, Any]
"""Plain data as docs/contract.md defines it: dict, list, str, int, float, bool, None and bytes."""


class RylaGenError(Exception):
    """Base of every error of this package."""

    code: ClassVar[str] = "internal"
    """Stable name for programs; never renamed."""
    http_status: ClassVar[int] = 500
    """What a caller that answers HTTP itself should send."""
    default_hint: ClassVar[str] = ""
    """Hint for when the place that raised gives none."""
    started: Literal["no", "unknown"] = "unknown"
    """Whether the job can have started anywhere: "no" only where that is certain, so that it may safely be sent elsewhere."""

    def __init__(self, message: str, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        # Positional on purpose: pickle, and so Modal, rebuilds an exception from its args.
        super().__init__(message, hint, dict(details or {}))
        self.message = message
        self.hint = hint or self.default_hint
        self.details: PlainData = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows instead of every frame down to the socket: the caller's own lines, and the error."""
        if os.environ.get("RYLA_GEN_DEBUG") == "1":
            return traceback.format_exception(self)
        lines = [f"{type(self).__name__} [{self.code}]: {self}"]
        for frame in traceback.extract_tb(self.__traceback__):
            path = Path(frame.filename)
            if path.is_relative_to(Path(__file__).parent):
                break
            if frame.line and "IPython" not in path.parts:
                cell = "ipykernel" in frame.filename or not frame.filename.endswith(".py")
                lines.append(f"  {'in' if cell else frame.filename + ','} line {frame.lineno}: {frame.line}")
        return [*lines, "RYLA_GEN_DEBUG=1 in the environment shows every step."]

    def to_data(self) -> PlainData:
        """Return the error as the contract's plain data."""
        said = {"message": self.message, "hint": self.hint, "details": self.details}
        return {"code": self.code, "http_status": self.http_status, **said}


class InvalidInputError(RylaGenError, ValueError):
    """A field of a request does not fit; nothing was sent."""

    code = "invalid_input"
    http_status = 400
    default_hint = "See the fields and their ranges: ryla-gen workflows show NAME"


class LockError(RylaGenError):
    """The lock of a graph cannot be used as it is."""


class LockOpenError(LockError):
    """A lock has questions that nobody answered; ``details["questions"]`` has them. Nothing was deployed."""

    code = "lock_open"
    http_status = 400
    default_hint = "Settle them with the commands that the lock names."


class PackUnknownError(LockError):
    """No node pack is known that gives a node class, or the pack cannot be found."""

    code = "pack_unknown"
    http_status = 400
    default_hint = "Name the pack: ryla-gen graph lock FILE --pack CLASS=OWNER/REPOSITORY@COMMIT"


class HashMismatchError(LockError):
    """A file is not the one that was locked."""

    code = "hash_mismatch"
    default_hint = "Lock the graph again: ryla-gen graph lock FILE"


class WorkflowError(RylaGenError):
    """The graph could not run. Sending it again would fail again."""

    default_hint = "Check the graph: ryla-gen graph validate FILE.json"


class WorkflowInvalidError(WorkflowError):
    """The graph does not fit the server's node schemas."""

    code = "workflow_invalid"
    http_status = 400


class NodeFailedError(WorkflowError):
    """A node raised while the graph ran; ``details`` names it."""

    code = "node_failed"
    default_hint = "See the server's log. Check your own graph with: ryla-gen graph validate FILE.json"


class FaceNotFoundError(WorkflowError):
    """No face was found in the reference image."""

    code = "face_not_found"
    http_status = 400
    default_hint = "Use a picture of one person, face to the camera, with some room around the head."


class GpuOutOfMemoryError(WorkflowError):
    """The graph needs more video memory than the GPU has."""

    code = "out_of_memory"
    default_hint = "Ask for fewer pixels, frames or images at once, or use a GPU with more memory."


class LoraIncompatibleError(WorkflowError):
    """The LoRA was made for another base model."""

    code = "lora_incompatible"
    http_status = 400
    default_hint = "Use a LoRA that was trained on the workflow's own base model."


class NotEmulatedError(WorkflowError):
    """The emulator cannot run the graph; ``details["nodes"]`` names every node that stops it. Nothing ran."""

    code = "not_emulated"
    http_status = 400
    default_hint = "Run it on a ComfyUI server with a GPU: --url http://HOST:8188"


class ModelNotFoundError(RylaGenError):
    """A weights file that the graph names is not on the server."""

    code = "model_not_found"
    http_status = 404
    default_hint = "List what a workflow needs: ryla-gen workflows show NAME"


class LoraNotFoundError(ModelNotFoundError):
    """No LoRA is stored under that id."""

    code = "lora_not_found"
    default_hint = "Store it: ryla-gen lora push FILE --id ID. See what is stored: ryla-gen lora list"


class RefusedError(RylaGenError):
    """A hook refused an output: it was not returned, saved or sent; ``details`` has ``output`` and ``hook``.

    A hook raises it with the reason as its message: ``raise RefusedError("It shows a face that may not be shown.")``.
    """

    code = "refused"
    http_status = 422
    default_hint = "Change the request: the same one with the same seed makes the same output. What hooks do: docs/safety-hook.md"


class HookFailedError(RefusedError):
    """A hook failed, or its answer was none: the output was not passed on; ``details`` as for :class:`RefusedError`."""

    code = "hook_failed"
    http_status = 500
    default_hint = "Fix or uninstall the package that offers the hook: docs/safety-hook.md"


class GenerationTimeoutError(RylaGenError, TimeoutError):
    """The generation ran longer than its limit and was stopped."""

    code = "generation_timeout"
    http_status = 504
    default_hint = "Give it more time (timeout=SECONDS, --timeout SECONDS) or ask for less."


class JobError(RylaGenError):
    """Something about one job."""


class JobNotFoundError(JobError):
    """No job of that id is known here."""

    code = "job_not_found"
    http_status = 404
    default_hint = "See the jobs of this machine: ryla-gen jobs list"


class JobCanceledError(JobError):
    """The job was canceled before it finished."""

    code = "job_canceled"
    http_status = 409
    default_hint = "Submit it again if you still want it."


class JobExpiredError(JobError):
    """The process or server that held the job is gone, and the job with it."""

    code = "job_expired"
    http_status = 404
    default_hint = "Submit it again; a job on the in-process emulator ends with its process."


class ResultExpiredError(JobError):
    """The job finished, but its result is no longer kept."""

    code = "result_expired"
    http_status = 404
    default_hint = "Run it again: the journal keeps its fields (ryla-gen jobs show ID)."


class AlreadyClaimedError(JobError):
    """Another call already runs this job; ``details["handle"]`` names it."""

    code = "already_claimed"
    http_status = 409
    default_hint = "Wait for the call that runs the job."


class BackendError(RylaGenError):
    """The place where engines live cannot be used."""

    http_status = 503


class BackendNotConfiguredError(BackendError):
    """Where to run is not configured, or only in part."""

    code = "backend_not_configured"
    started = "no"
    default_hint = "Choose one: ryla-gen config set backend emulator"


class BackendUnreachableError(BackendError):
    """The backend did not answer on the network."""

    code = "backend_unreachable"
    default_hint = "Check that the server runs and that its address is right: ryla-gen config show"


class NotAuthorizedError(BackendError):
    """The backend refused the credentials."""

    code = "not_authorized"
    default_hint = "Check the token of the backend in your environment."


class NotDeployedError(BackendError):
    """The app, or the part of it that was asked for, is not deployed."""

    code = "not_deployed"
    default_hint = "Deploy it: ryla-gen deploy"


class ContractMismatchError(BackendError):
    """The two sides use different versions of the contract."""

    code = "contract_mismatch"
    http_status = 500
    default_hint = "Update this package, or deploy the app again from this version."


class ServerUnhealthyError(BackendError):
    """ComfyUI died, hangs, or lost the prompt."""

    code = "server_unhealthy"
    default_hint = "Restart ComfyUI and look at its log; the request was not the cause."


class PreemptedError(BackendError):
    """The container was taken away while the job ran, and the job did not run again. The request was not the cause."""

    code = "preempted"
    default_hint = "Send it again; it may run a second time."


class BudgetExceededError(RylaGenError):
    """The call would cost more than was allowed; nothing was spent."""

    code = "budget_exceeded"
    http_status = 402
    default_hint = "Allow more: RYLA_GEN_MAX_USD, RYLA_GEN_MAX_USD_PER_DAY, or ryla-gen config set max_usd 1.00"


class TooManyRequestsError(RylaGenError):
    """The user has too many jobs under way, or submitted too many within a minute; ``details["retry_after"]`` is in seconds."""

    code = "too_many_requests"
    http_status = 429
    started = "no"
    default_hint = "Try again after details.retry_after seconds."


class StorageError(RylaGenError):
    """A file could not be used."""


class OutputExistsError(StorageError):
    """A file of that name exists and may not be overwritten."""

    code = "output_exists"
    http_status = 409
    default_hint = "Choose another name, or allow overwriting: overwrite=True, --overwrite"


class StorageFailedError(StorageError):
    """A file could not be written or read; nothing half-written was left behind."""

    code = "storage_failed"
    default_hint = "Check that the folder exists, is writable and has free space."


class InternalError(RylaGenError):
    """A fault of this package."""

    code = "internal"
    default_hint = "Please report it with the message above."


@contextmanager
def before_start() -> Iterator[None]:
    """Mark every error of the block: what it does starts no job. It marks a copy: others may hold the same error."""
    try:
        yield
    except RylaGenError as error:
        marked = copy(error)
        marked.started = "no"
        raise marked.with_traceback(error.__traceback__) from error.__cause__


def _concrete(cls: type[RylaGenError]) -> Iterator[type[RylaGenError]]:
    for sub in cls.__subclasses__():
        yield from (sub, *_concrete(sub)) if "code" in vars(sub) else _concrete(sub)


ERRORS: dict[str, type[RylaGenError]] = {cls.code: cls for cls in _concrete(RylaGenError)}
"""Every code and its one class."""


def error_from_data(data: Mapping[str, Any]) -> RylaGenError:
    """Build the typed error that ``to_data`` described; a code from a newer side becomes its nearest base."""
    code, message, hint, details = (data.get(key) for key in ("code", "message", "hint", "details"))
    cls = ERRORS.get(code, RylaGenError) if isinstance(code, str) else RylaGenError
    said, advice = (text if isinstance(text, str) else "" for text in (message, hint))
    return cls(said, advice, details if isinstance(details, Mapping) else {})
