"""Decide whether a picture that failed may be made again, from the error of its job. Pure decisions; asks and sends nothing."""

from __future__ import annotations

from ..errors import RylaGenError

ATTEMPTS = 2
"""Paid attempts of a picture until nothing is retried unasked: one fault of a machine is retried, a second one needs a person."""
MACHINES_FAULTS = frozenset({"server_unhealthy", "backend_unreachable", "out_of_memory", "job_expired", "result_expired"})
"""Codes of errors that are worth an automatic retry, because they pass or belong to one machine. All others go to the caller: the
same graph would fail again, or the picture is paid for and only this machine could not save it."""
UNANSWERED = frozenset({"backend_unreachable", "not_authorized", "backend_not_configured"})
"""Codes of a question that got no answer: they say nothing of the job that was asked for."""


def contact_lost(error: RylaGenError) -> bool:
    """Whether an error means only that contact was lost: the job may still be running, or be finished."""
    return bool(error.details.get("contact_lost")) or error.code in UNANSWERED


def outcome_unknown(error: RylaGenError, *, taken: bool = True) -> bool:
    """Whether a job's backend has to be asked again before another job takes its place.

    Args:
        error: how the job ended, as far as is known.
        taken: whether its backend ever confirmed that it has the job.

    """
    if not taken:
        # A backend that knows whether the job arrived says "sent".
        return error.code == "backend_unreachable" and "sent" not in error.details
    return contact_lost(error) or error.code == "server_unhealthy"


def may_retry(error: RylaGenError, paid: int) -> bool:
    """Whether a picture may be sent once more unasked: a machine's fault, and not paid for too often.

    Args:
        error: why its last job failed.
        paid: jobs of it that a backend took.

    """
    if error.details.get("maybe_taken"):
        return False  # it may be running, and be paid for: only a person can know
    return error.code in MACHINES_FAULTS and paid < ATTEMPTS
