"""The receiver among the examples: it takes what is really sent, once, and nothing else whatever it is."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from ryla_gen.comfy.server import free_port
from ryla_gen.delivery.signatures import new_secret, read_secrets, sign
from ryla_gen.delivery.webhook_events import make_test_event, result_event
from ryla_gen.delivery.webhooks import Webhook

from .test_webhooks import OTHER, SECRET, generation, hook

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "webhook_receiver.py"
BODY = b'{"type":"webhook.test"}'


def loaded() -> Callable[[str, Mapping[str, str], bytes], None]:
    spec = importlib.util.spec_from_file_location("webhook_receiver", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.verify  # type: ignore[no-any-return]


verify = loaded()


def accepted(secrets: str, headers: Mapping[str, str], body: bytes) -> bool:
    try:
        verify(secrets, headers, body)
    except ValueError:
        return False
    return True


def accepted_by_the_standard(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Verifier(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


@asynccontextmanager
async def running() -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """The example as a program of its own; its address and what it prints."""
    port = free_port()
    env = os.environ | {"RYLA_GEN_WEBHOOK_SECRET": f"{OTHER} {SECRET}", "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    program = await asyncio.create_subprocess_exec(sys.executable, str(EXAMPLE), env=env, stdout=asyncio.subprocess.PIPE)
    assert program.stdout is not None
    try:
        assert b"Running on" in await program.stdout.readline()
        await program.stdout.readline()
        yield f"http://127.0.0.1:{port}/", program.stdout
    finally:
        with suppress(ProcessLookupError):
            program.terminate()
        await program.wait()


async def test_it_takes_what_is_sent_prints_it_once_and_refuses_what_another_secret_signed() -> None:
    async with running() as (url, printed):
        event = result_event(generation())
        for _ in range(2):
            assert (await hook(url).tell(event)).delivered
        told = await Webhook(url, read_secrets(new_secret()), allow_private=True).tell(event)
        assert (told.status, told.final) == (400, True)
        last = make_test_event()
        assert (await hook(url).tell(last)).delivered
        lines = [(await printed.readline()).decode().split() for _ in range(2)]
    assert lines == [["job.succeeded", "job-1"], ["webhook.test", last["data"]["job"]]]


def test_it_accepts_either_secret_and_one_of_several_signatures() -> None:
    headers = sign(read_secrets(f"{OTHER} {SECRET}"), "msg_1", int(time.time()), BODY)
    assert accepted(SECRET, headers, BODY)
    assert accepted(f"{new_secret()} {OTHER}", headers, BODY)
    assert not accepted(new_secret(), headers, BODY)
    assert not accepted("", headers, BODY)


@pytest.mark.parametrize("age", [-330, -10, 0, 10, 301])
def test_it_accepts_five_minutes_either_way(age: int) -> None:
    headers = sign(read_secrets(SECRET), "msg_1", int(time.time()) - age, BODY)
    assert accepted(SECRET, headers, BODY) == (abs(age) < 300) == accepted_by_the_standard(SECRET, headers, BODY)


@given(
    body=st.binary(max_size=200),
    change=st.sampled_from(["body", "webhook-id", "webhook-timestamp", "webhook-signature"]),
    other=st.text(max_size=80),
)
def test_whatever_is_changed_on_the_way_is_refused(body: bytes, change: str, other: str) -> None:
    headers = sign(read_secrets(SECRET), "msg_1", int(time.time()), body)
    assert accepted(SECRET, headers, body)
    if change == "body":
        assert accepted(SECRET, headers, other.encode("utf-8", "replace")) == (other.encode("utf-8", "replace") == body)
    else:
        assert accepted(SECRET, headers | {change: other}, body) == (other == headers[change])
        assert not accepted(SECRET, {name: text for name, text in headers.items() if name != change}, body)


@given(
    headers=st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()), body=st.binary()
)
def test_nonsense_is_refused_and_breaks_nothing(headers: dict[str, str], body: bytes) -> None:
    assert not accepted(SECRET, headers, body)


@given(
    key=st.binary(min_size=24, max_size=64),
    message=st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z"),
    body=st.text(st.characters(exclude_categories=["Cs"])).map(str.encode),
)
def test_it_and_the_standards_own_library_agree_on_every_secret(key: bytes, message: str, body: bytes) -> None:
    import base64

    secret = "whsec_" + base64.b64encode(key).decode()
    headers: dict[str, Any] = sign(read_secrets(secret), message, int(time.time()), body)
    assert accepted(secret, headers, body)
    assert accepted_by_the_standard(secret, headers, body)
