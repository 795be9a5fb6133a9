"""The TypeScript receiver takes what this package really sends, and refuses what another secret signed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ryla_gen.delivery.signatures import new_secret, read_secrets
from ryla_gen.delivery.webhook_events import event_id, failure_event, make_test_event
from ryla_gen.delivery.webhooks import Webhook
from ryla_gen.errors import NodeFailedError

from .conftest import KEPT

RECEIVER = Path(__file__).parent / "webhook_receiver.mjs"


@asynccontextmanager
async def receiving(compiled: Path, secrets: str) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """The receiver in a node process of its own: its address, and what it prints."""
    shutil.copyfile(RECEIVER, compiled / RECEIVER.name)
    env = {name: os.environ[name] for name in KEPT if name in os.environ} | {"RYLA_GEN_WEBHOOK_SECRET": secrets}
    node = await asyncio.create_subprocess_exec("node", RECEIVER.name, cwd=compiled, env=env, stdout=asyncio.subprocess.PIPE)
    assert node.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await node.stdout.readline())}/", node.stdout
    finally:
        node.kill()
        await node.wait()


async def said(printed: asyncio.StreamReader) -> Any:
    return json.loads(await printed.readline())


async def test_what_is_sent_is_verified_with_either_secret_and_told_in_full(compiled: Path) -> None:
    old, new = new_secret(), new_secret()
    error = NodeFailedError("It said 灯台 \ud800.")
    events = [
        make_test_event(),
        failure_event(error, job="j", workflow="flux", backend="modal", prompt="灯台", include_prompt=True),
    ]
    async with receiving(compiled, new) as (url, printed):
        for event in events:
            told = await Webhook(url, read_secrets(f"{old} {new}"), allow_private=True).tell(event)
            assert (told.delivered, told.status) == (True, 204)
            came = await said(printed)
            assert came["id"] == event_id(event)
            assert came["event"]["type"] == event["type"]
            assert came["event"]["data"]["job"] == event["data"]["job"]
        assert came["event"]["data"]["prompt"] == "灯台"


async def test_what_another_secret_signed_is_refused(compiled: Path) -> None:
    async with receiving(compiled, new_secret()) as (url, printed):
        told = await Webhook(url, read_secrets(new_secret()), allow_private=True).tell(make_test_event())
        assert (told.delivered, told.status, told.final) == (False, 400, True)
        assert "not signed with a secret of ours" in str(told)
        assert await said(printed) == {"refused": "It is not signed with a secret of ours."}
