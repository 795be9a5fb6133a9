"""When a picture that did not come may be made again: what an error says of its job. Pure decisions; asks and sends nothing."""

from __future__ import annotations

from ..errors import RylaGenError

ATTEMPTS = 2
"""Times a picture is paid for without being asked again: one fault of a machine is mended, a second one is for a person."""
MACHINES_FAULTS = frozenset({"server_unhealthy", "backend_unreachable", "out_of_memory", "job_expired", "result_expired"})
"""Codes of faults that another machine, or another hour, need not have. All others are a person's to judge: the same graph would
fail again, or the picture is paid for and only this machine could not keep it."""
UNANSWERED = frozenset({"backend_unreachable", "not_authorized", "backend_not_configured"})
"""Codes of a question that nobody answered: they say nothing of the job that was asked for."""


def out_of_touch(error: RylaGenError) -> bool:
    """Whether an error of a job that was sent says nothing of the job: it may run, or be done, and only nobody hears of it."""
    return bool(error.details.get("contact_lost")) or error.code in UNANSWERED


def doubtful(error: RylaGenError, *, taken: bool = True) -> bool:
    """Whether a job's backend has to be asked again before another job takes its place.

    Args:
        error: how the job ended, as far as anybody heard.
        taken: whether its backend ever confirmed that it has it.

    """
    if not taken:
        return error.code == "backend_unreachable" and "sent" not in error.details  # who knows whether it was taken says "sent"
    return out_of_touch(error) or error.code == "server_unhealthy"


def worth_another(error: RylaGenError, paid: int) -> bool:
    """Whether a picture may be sent once more unasked: a machine's fault, and not paid for too often.

    Args:
        error: why its last job failed.
        paid: jobs of it that a backend took.

    """
    if error.details.get("maybe_taken"):
        return False  # it may be running, and be paid for: only a person can know
    return error.code in MACHINES_FAULTS and paid < ATTEMPTS
