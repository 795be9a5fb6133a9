"""Ask the person before a dear call runs, by the client's elicitation, in both eras of the protocol. Spends nothing."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from mcp.server import ServerRequestContext
from mcp.types import (
    CallToolRequestParams,
    ClientCapabilities,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ...costs.budget import money
from ...costs.estimates import Estimate
from ...errors import BudgetExceededError, JobCanceledError

Context = ServerRequestContext[Any, Any]

QUESTION = "confirm"
"""Key of the one question of a call."""
NOTHING_TO_FILL: dict[str, Any] = {"type": "object", "properties": {}}
"""Accepting or declining is the whole answer."""
MOST_OPEN = 100
"""Questions of the newer protocol that may be open; the oldest is forgotten, and its call is asked again."""
SLACK = 1.01
"""Estimates move with every run in the journal; by more than this the person is asked again."""


class Asker:
    """Asks about calls whose estimate is above a limit.

    Args:
        above: US dollars; None asks never.

    """

    def __init__(self, above: float | None) -> None:
        self._above = above
        self._open: dict[str, tuple[str, float]] = {}

    async def confirm(self, context: Context, call: CallToolRequestParams, found: Estimate) -> InputRequiredResult | None:
        """Return None once the call may run, or the question that the client has to bring an answer to.

        Raises:
            BudgetExceededError: the client cannot ask a person.
            JobCanceledError: the person declined.

        """
        usd = with_start(found)
        if self._above is None or usd <= self._above:
            return None
        if not _can_ask(context.session.client_capabilities):
            raise _cannot_ask(usd, self._above)
        seconds = f"some {found.seconds.likely:.0f} s" if found.seconds.likely >= 1 else "less than a second"
        most = found.usd.high + found.cold_start_usd.high
        start = found.cold_start_usd.likely
        started = f", {money(start)} of it for a container that may have to start" if start else ""
        text = f"Run {found.workflow} on {found.backend} for about {money(usd)} (up to {money(most)}{started}), {seconds}?"
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return self._by_result(call, usd, text)
        answer = await context.session.elicit_form(text, NOTHING_TO_FILL, related_request_id=context.request_id)
        _check(answer)
        return None

    def _by_result(self, call: CallToolRequestParams, usd: float, text: str) -> InputRequiredResult | None:
        """Ask by the result of the call, which the client repeats with the answer; each answer counts once, for that call alone."""
        said = json.dumps([call.name, call.arguments], sort_keys=True)
        mark = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()
        asked = self._open.pop(call.request_state or "", None)
        answer = (call.input_responses or {}).get(QUESTION)
        if asked is not None and asked[0] == mark and usd <= asked[1] * SLACK and isinstance(answer, ElicitResult):
            _check(answer)
            return None
        if len(self._open) >= MOST_OPEN:
            del self._open[next(iter(self._open))]
        state = secrets.token_urlsafe()
        self._open[state] = (mark, usd)
        question = ElicitRequest(params=ElicitRequestFormParams(message=text, requested_schema=NOTHING_TO_FILL))
        return InputRequiredResult(input_requests={QUESTION: question}, request_state=state)


def with_start(found: Estimate) -> float:
    """Return the US dollars that a call likely costs when a container has to start for it first: nobody knows whether one is up."""
    return found.usd.likely + found.cold_start_usd.likely


def _can_ask(can: ClientCapabilities | None) -> bool:
    asks = can.elicitation if can is not None else None
    return asks is not None and (asks.form is not None or asks.url is None)  # {} means forms, in the older protocol


def _cannot_ask(usd: float, above: float) -> BudgetExceededError:
    return BudgetExceededError(
        f"It would cost about {money(usd)}, a person has to confirm what is above {money(above)}, and this client cannot ask one."
        " Nothing was sent.",
        "Tell the person. They can start the server with a higher --confirm-above, use a client with elicitation, or run it"
        " themselves with: ryla-gen run. Or ask for less: fewer steps, pixels or frames.",
        {"estimate_usd": usd, "limit_usd": above, "setting": "confirm_above"},
    )


def _check(answer: ElicitResult) -> None:
    if answer.action != "accept":
        text = "The person declined it." if answer.action == "decline" else "The person closed the question without an answer."
        raise JobCanceledError(f"{text} Nothing was sent.", "Do not repeat the call unless they ask for it.")
