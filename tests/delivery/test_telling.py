"""Webhooks of jobs: told by the client that sees the end, once the journal has it; told later where that process ended."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ryla_gen import AsyncClient, CustomWorkflow, Flux, Settings
from ryla_gen.characters import AsyncCharacters
from ryla_gen.delivery.outbox import tell_due
from ryla_gen.delivery.signatures import new_secret
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import InvalidInputError, NodeFailedError, RylaGenError
from ryla_gen.history import History
from ryla_gen.history.webhooks import Outbox

from .receiver import Receiver, serving

SMALL = Flux(prompt="a secret fox", width=256, height=256, steps=1, seed=7)
BROKEN = CustomWorkflow(
    graph={"1": {"class_type": "NoSuchClass", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}
)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RYLA_GEN_WEBHOOK_SECRET", new_secret())
    return Settings.load(backend="emulator", allow_private_addresses=True)


def told(receiver: Receiver) -> Iterator[dict[str, object]]:
    for _, body in receiver.came:
        yield json.loads(body)


async def test_a_webhook_is_told_of_a_result_and_of_a_failure(settings: Settings) -> None:
    receiver = Receiver()
    async with serving(receiver) as url, AsyncClient(settings=settings) as client:
        made = await client.run(SMALL, webhook=url)
        with pytest.raises(RylaGenError):
            await client.run(BROKEN, webhook=url)
        await client.run(SMALL)
    first, second = sorted(told(receiver), key=lambda event: str(event["type"]), reverse=True)
    assert (first["type"], first["data"]["job"], first["data"]["seed"]) == ("job.succeeded", made.job, 7)  # type: ignore[index]
    assert (second["type"], second["data"]["outputs"]) == ("job.failed", [])  # type: ignore[index]
    assert b"secret fox" not in b"".join(body for _, body in receiver.came)
    with closing(History(settings.history_path)) as history:
        assert Outbox(history).waiting() == 0


async def test_a_failure_is_told_with_what_it_cost(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "36000")
    receiver = Receiver()
    with Emulator() as server:
        server.knobs.delay_per_node, server.knobs.raise_at = 0.05, "SaveImage"
        paid = Settings.load(backend="comfyui", comfyui_url=server.url, allow_private_addresses=True)
        async with serving(receiver) as url, AsyncClient(settings=paid) as client:
            job = await client.submit(SMALL, webhook=url)
            with pytest.raises(NodeFailedError):
                await job.result()
            record = client.history.get(job.id)
    (event,) = told(receiver)
    assert record is not None and record.cost_usd
    assert event["data"]["cost_usd"] == record.cost_usd  # type: ignore[index]


async def test_each_picture_of_a_character_is_told_and_the_whole_is_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        monkeypatch.setenv("RYLA_GEN_WEBHOOK_URL", url)
        settings = Settings.load(backend="emulator", allow_private_addresses=True)
        async with AsyncClient(settings=settings) as client:
            size = {"width": 256, "height": 256, "steps": 1}
            job = await AsyncCharacters(client).submit_base_images("a fox", count=2, fields=size)
            await job.result()
    jobs = {event["data"]["job"] for event in told(receiver)}  # type: ignore[index]
    assert jobs == {part.job for part in job.parts}


async def test_the_settings_name_a_webhook_for_every_job_and_a_call_may_leave_it_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        monkeypatch.setenv("RYLA_GEN_WEBHOOK_URL", url)
        monkeypatch.setenv("RYLA_GEN_WEBHOOK_INCLUDE_PROMPT", "yes")
        async with AsyncClient(settings=Settings.load(backend="emulator", allow_private_addresses=True)) as client:
            await client.run(SMALL)
            await client.run(SMALL, webhook="")
    (event,) = told(receiver)
    assert event["data"]["prompt"] == "a secret fox"  # type: ignore[index]


@pytest.mark.parametrize("url", ["http://example.com/x", "ftp://x", "no address", "https://user:pass@example.com/"])
async def test_an_address_that_is_none_is_refused_before_anything_is_sent(settings: Settings, url: str) -> None:
    async with AsyncClient(settings=settings) as client:
        with pytest.raises(InvalidInputError):
            await client.run(SMALL, webhook=url)
        assert client.history.list() == []


async def test_without_a_secret_nothing_is_sent_and_the_error_says_how_to_make_one(clean_environment: Path) -> None:
    async with AsyncClient(backend="emulator") as client:
        with pytest.raises(InvalidInputError, match="ryla-gen webhook secret"):
            await client.run(SMALL, webhook="https://example.com/hook")
        assert client.history.list() == []


async def test_a_receiver_that_hangs_delays_no_result_and_the_next_process_tells_it(settings: Settings) -> None:
    receiver = Receiver(answers=["hang", 204])
    async with serving(receiver) as url:
        async with AsyncClient(settings=settings) as client:
            made = await client.run(SMALL, webhook=url)
            assert made.output.data
            await asyncio.wait_for(receiver.arrived.wait(), 240)
        with closing(History(settings.history_path)) as history:
            assert Outbox(history).waiting() == 1, "the client was closed while the receiver hung"
            history._write("UPDATE webhooks SET next_try = '2020-01-01T00:00:00.000Z'", ())  # its lease is over
            (again,) = await tell_due(history, settings)
            assert again.told.delivered and again.job == made.job
            assert Outbox(history).waiting() == 0
    first, second = receiver.came
    assert first[0]["webhook-id"] == second[0]["webhook-id"], "so that the receiver drops what it has had"


@pytest.mark.parametrize("trouble", ["a folder is in its place", "a newer version wrote it"])
async def test_a_webhook_is_told_where_the_journal_cannot_be_used(settings: Settings, trouble: str) -> None:
    settings.history_path.parent.mkdir(parents=True, exist_ok=True)
    if trouble == "a folder is in its place":
        settings.history_path.mkdir()
    else:
        with closing(sqlite3.connect(settings.history_path)) as connection:
            connection.execute("PRAGMA user_version = 99")
    receiver = Receiver()
    async with serving(receiver) as url, AsyncClient(settings=settings) as client:
        made = await client.run(SMALL, webhook=url)
        await asyncio.wait_for(receiver.arrived.wait(), 240)
    assert [(event["type"], event["data"]["job"]) for event in told(receiver)] == [("job.succeeded", made.job)]  # type: ignore[index]
