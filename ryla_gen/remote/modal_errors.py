"""Turn Modal's exceptions into ours. Pure: must not call anything."""

from __future__ import annotations

import modal.exception as raised
from grpclib.exceptions import StreamTerminatedError  # Modal's own transport: what it lets through when a call is cut off

from ..errors import (
    BackendUnreachableError,
    GenerationTimeoutError,
    InternalError,
    JobExpiredError,
    NotAuthorizedError,
    NotDeployedError,
    ResultExpiredError,
    RylaGenError,
    ServerUnhealthyError,
)
from ..names import APP
from .faults import log_hint

AMBIGUOUS = (raised.ConnectionError, raised.ServiceError, raised.TimeoutError, ConnectionError, OSError, StreamTerminatedError)
"""After one of these it is unknown whether Modal took the call. A claimed job never runs twice, so it may be sent again."""

TOKEN_HINT = "Make one: modal token new (or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET)."  # noqa: S105 - words about tokens


def from_modal_error(error: BaseException, what: str, *, deploy: str = "ryla-gen deploy", log: str = log_hint(APP)) -> RylaGenError:
    """Turn an exception of Modal's client into ours.

    Args:
        error: what was raised.
        what: what was being done, as the beginning of a sentence: "Calling flux_dev".
        deploy: the command that deploys the app.
        log: where its log is.
    """
    if isinstance(error, RylaGenError):
        return error
    said = _error_text(error)
    if isinstance(error, raised.AuthError):
        missing = "token missing" in said.lower() or "could not authenticate" in said.lower()
        text = "There is no Modal token on this machine." if missing else f"Modal refused the token: {said}"
        return NotAuthorizedError(text, TOKEN_HINT)
    if isinstance(error, raised.PermissionDeniedError):
        return NotAuthorizedError(f"Modal does not allow this: {said}", "Use a token of the workspace that owns the app.")
    if isinstance(error, raised.OutputExpiredError):
        return ResultExpiredError("Modal no longer has this result (it keeps results for 7 days).")
    if isinstance(error, raised.FunctionTimeoutError):
        return GenerationTimeoutError(f"{what}: the container's own time limit was reached. {said}", f"Raise the limit: {deploy}")
    if isinstance(error, raised.NotFoundError):
        return NotDeployedError(f"{what}: {said}", f"Deploy the app: {deploy}")
    if isinstance(error, raised.InvalidError):
        return NotDeployedError(f"{what}: {said}", f"The deployed app may be older than this package. Deploy again: {deploy}")
    if isinstance(error, raised.VersionError):
        return BackendUnreachableError(f"Modal refuses this version of its client: {said}", "pip install -U modal")
    if isinstance(error, AMBIGUOUS):
        return BackendUnreachableError(
            f"{what}: Modal does not answer. {said}", "Check the network: https://status.modal.com, then try again."
        )
    if isinstance(error, raised.RemoteError | raised.InternalError | raised.ExecutionError):
        return ServerUnhealthyError(f"{what}: the container failed. {said}", log)
    if isinstance(error, raised.DeserializationError | raised.DataLossError):
        return JobExpiredError(f"{what}: the result cannot be read. {said}", "Run it again.")
    return InternalError(f"{what}: {type(error).__name__}: {said}")


def remote_exception(error: BaseException, what: str, log: str) -> RylaGenError:
    """Describe an exception that a container raised, and that Modal raised again here as if it were of this machine.

    Args:
        error: what was raised.
        what: what was being done, as the beginning of a sentence.
        log: where the app's log is.
    """
    return ServerUnhealthyError(f"{what}: the container raised {type(error).__name__}: {_error_text(error)}", log)


def _error_text(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:500] or type(error).__name__
