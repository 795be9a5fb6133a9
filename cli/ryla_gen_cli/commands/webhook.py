"""Implement ``ryla-gen webhook``: make a secret, try out a receiver, tell what is due in the journal. Shows a secret once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ryla_gen.errors import BackendUnreachableError
from ryla_gen.names import WEBHOOK_SECRET
from ryla_gen.settings import Settings
from ryla_gen.settings.base import SECRETS
from ryla_gen.support.counting import count_text
from ryla_gen.support.loop_thread import run_async

from ..awaited import look_at
from ..common import Json, example, group, screen_of
from ..screen import table, width

if TYPE_CHECKING:
    from ryla_gen.delivery.outbox import ToldJob
    from ryla_gen.delivery.webhooks import Told

VARIABLE = SECRETS["webhook.secret"]

app = group("Make a secret for webhooks, try one out, tell what is still to be told.", example("ryla-gen webhook test https://…"))


@app.command(epilog=example("export RYLA_GEN_WEBHOOK_SECRET=$(ryla-gen webhook secret)"))
def secret(context: typer.Context, as_json: Json = False) -> None:
    """Make a secret that signs webhooks, and print it. It is kept nowhere: put it where it is needed now."""
    from ryla_gen.delivery.signatures import new_secret

    screen = screen_of(context, as_json=as_json)
    made = new_secret()
    places = {"environment": f"export {VARIABLE}=…", "modal": f"modal secret create {WEBHOOK_SECRET} {VARIABLE}=…"}
    screen.result({"secret": made, "variable": VARIABLE, **places}, made)
    if not as_json:
        screen.note(f"Where this package runs: {places['environment']}")
        screen.note(f"For the app on Modal: {places['modal']}")
        screen.note(f"  then name it beside the others, and deploy: ryla-gen config set modal.secrets {WEBHOOK_SECRET}")
        screen.note("The receiver needs it too. While you replace one, hold both, with a space between them.")


@app.command(epilog=example("ryla-gen webhook test https://example.com/hooks/ryla"))
def test(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the receiver.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Send one signed event of the type webhook.test, and show what the receiver answered."""
    from ryla_gen.delivery.webhook_events import event_id, make_test_event
    from ryla_gen.delivery.webhooks import check_webhook

    screen = screen_of(context, as_json=as_json)
    webhook, event = check_webhook(url, Settings.load()), make_test_event()
    told = run_async(webhook.tell(event, attempts=1))
    if not told.delivered:
        details = {"status": told.status, "final": told.final}
        raise BackendUnreachableError(f"The event was not delivered: {told}", _hint(told), details)
    screen.result({"event": event, "webhook_id": event_id(event), **_data(told)}, f"Delivered: {told}")


@app.command(epilog=example("ryla-gen webhook send"))
def send(context: typer.Context, as_json: Json = False) -> None:
    """Look at the jobs that nobody follows, and tell each event that is due; run it now and then where processes end early."""
    from ryla_gen.delivery.outbox import tell_due
    from ryla_gen.delivery.signatures import read_secrets
    from ryla_gen.history import History
    from ryla_gen.history.webhooks import Outbox

    screen = screen_of(context, as_json=as_json)
    settings = Settings.load()
    with closing(History(settings.history_path)) as history:
        outbox = Outbox(history)
        awaited = outbox.awaited()
        if outbox.waiting() or awaited:
            read_secrets(settings.webhook_secret)  # before anything is taken
        before = outbox.waiting()
        if awaited:
            look_at(history, awaited)
        late = outbox.waiting() > before  # the end of a job was seen, and its receiver did not take it at once
        done = run_async(tell_due(history, settings))
        waiting, left = outbox.waiting(), outbox.awaited()
    for text in history.warnings:
        screen.note(f"warning: {text}")
    items = [{"job": item.job, **_data(item.told), "given_up": item.given_up} for item in done]
    seen = [job for job in awaited if job not in left]
    screen.result({"items": items, "waiting": waiting, "seen": seen, "open": len(left)}, _page(done, waiting, seen, len(left)))
    if late or not all(item.told.delivered for item in done):
        raise typer.Exit(1)


def _data(told: Told) -> dict[str, object]:
    return {name: value for name, value in asdict(told).items() if name not in ("final", "retry_after")}


def _hint(told: Told) -> str:
    if told.status in (400, 401, 403):
        return f"Check that the receiver has the same secret as {VARIABLE} here, and verifies the body before it parses it."
    return "Check the address, and that the receiver answers 2xx within 10 seconds."


def _page(done: Sequence[ToldJob], waiting: int, seen: Sequence[str], opened: int) -> str:
    left = f"{count_text(waiting, 'event')} will be told later." if waiting else "Nothing is left to be told."
    if opened:
        left += f"\n{count_text(opened, 'job')} with a webhook has not ended, or cannot be asked: ryla-gen jobs list"
    if seen:
        left = "\n".join([*(f"{job} has ended, which nobody had seen; its webhook has its turn." for job in seen), left])
    if not done:
        return left
    words = {(True, False): "delivered", (False, False): "later", (False, True): "given up"}
    rows = [(item.job, words[item.told.delivered, item.given_up], str(item.told)) for item in done]
    return f"{table(('job', '', 'what came of it'), rows, width())}\n\n{left}"
