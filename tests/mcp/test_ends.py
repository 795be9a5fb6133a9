"""How calls and servers end: given up, closed, told to stop, killed. What is paid for ends with the call, and the journal knows."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from ryla_gen.emulator.server import Emulator
from tests.cli.shell import COMMAND, SECONDS, environment, ryla

from .agents import ERAS, SMALL, agent, facts, jobs

FOX: dict[str, Any] = {"prompt": "a fox", **SMALL, "steps": 20}


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as made:
        made.knobs.hold_nodes = True  # an interrupt ends it
        made.start()
        yield made


async def until(true: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    with anyio.fail_after(SECONDS):
        while not true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_that_is_given_up_cancels_its_job(server: Emulator, mode: str, clean_environment: Path) -> None:
    async with agent("--url", server.url, mode=mode) as client, anyio.create_task_group() as group:
        group.start_soon(client.call_tool, "flux_dev", FOX)
        await until(lambda: any(record.state == "running" for record in jobs()))
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await until(lambda: jobs()[0].state == "canceled")
            assert facts(await client.call_tool("jobs"))["jobs"][0]["state"] == "canceled"
    await until(lambda: server.queue.remaining() == 0)  # shown until its thread is at its end


async def test_the_tool_cancel_stops_a_job_and_only_those_of_agents(server: Emulator, clean_environment: Path) -> None:
    async with agent("--url", server.url, "--wait", "0") as client:
        told = facts(await client.call_tool("flux_dev", FOX))
        ended = facts(await client.call_tool("cancel", {"job": told["job"]}))
        assert ended["state"] == "canceled"
        result = await client.call_tool("result", {"job": told["job"]})
        assert (result.is_error, result.structured_content["code"]) == (True, "job_canceled")
    await asyncio.to_thread(ryla, "submit", "flux-dev", "a fox", "--url", server.url)
    own = jobs()[0].id
    async with agent("--url", server.url) as client:
        refused = await client.call_tool("cancel", {"job": own})
        assert (refused.is_error, refused.structured_content["code"]) == (True, "invalid_input")
        assert f"ryla-gen jobs cancel {own}" in refused.structured_content["hint"]
        hidden = await client.call_tool("result", {"job": own})
        assert (hidden.is_error, f"ryla-gen jobs result {own}" in hidden.structured_content["hint"]) == (True, True)
    assert server.queue.remaining() == 1


class RawAgent:
    """A client that can be as rude as a killed host: it writes lines itself."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "mcp", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        self.send("initialize", client, 1)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.send("notifications/initialized", {})

    def send(self, method: str, params: dict[str, Any], number: int | None = None) -> None:
        assert self.process.stdin is not None
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": number} if number else {})
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> int:
        with self.process as process:
            return process.wait(SECONDS)


@pytest.fixture
async def busy(server: Emulator, clean_environment: Path) -> RawAgent:
    """An agent whose job runs."""
    raw = RawAgent("--url", server.url)
    raw.send("tools/call", {"name": "flux_dev", "arguments": FOX}, 2)
    await until(lambda: any(record.state == "running" for record in jobs()))
    return raw


async def test_the_end_of_the_input_cancels_what_runs(server: Emulator, busy: RawAgent) -> None:
    assert busy.process.stdin is not None
    busy.process.stdin.close()
    assert busy.end() == 0
    assert [record.state for record in jobs()] == ["canceled"]
    await until(lambda: server.queue.remaining() == 0)  # shown until its thread is at its end


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_cancels_what_runs_although_the_input_is_open(server: Emulator, busy: RawAgent, number: int) -> None:
    busy.process.send_signal(number)
    assert busy.end() == 128 + number
    assert [record.state for record in jobs()] == ["canceled"]
    await until(lambda: server.queue.remaining() == 0)  # shown until its thread is at its end


async def test_after_a_kill_the_journal_has_the_job_and_the_next_server_its_result(server: Emulator, busy: RawAgent) -> None:
    busy.process.kill()
    busy.end()
    (record,) = jobs()
    assert (record.state, record.handle is not None, "mcp" in record.tags) == ("running", True, True)
    server.knobs.hold_nodes = False
    async with agent("--url", server.url) as client:
        told = {"state": record.state}
        while told["state"] == "running":  # a call waits for some seconds only
            told = facts(await client.call_tool("result", {"job": record.id}))
        assert (told["state"], len(told["files"])) == ("succeeded", 1)
    assert server.stats.prompts == 1


async def test_a_job_that_no_call_waits_for_ends_with_the_server(server: Emulator, clean_environment: Path) -> None:
    async with agent("--url", server.url, "--wait", "0") as client:
        told = facts(await client.call_tool("flux_dev", FOX))
        await until(lambda: jobs()[0].state == "running")
    assert told["job"] == jobs()[0].id
    assert jobs()[0].state == "canceled"


async def test_a_job_of_another_server_goes_on_when_the_one_that_looked_at_it_ends(server: Emulator, busy: RawAgent) -> None:
    (record,) = jobs()
    async with agent("--url", server.url, "--wait", "0") as other:
        assert facts(await other.call_tool("result", {"job": record.id}))["state"] in ("queued", "running")
    assert jobs()[0].state == "running"
    assert busy.process.stdin is not None
    busy.process.stdin.close()
    assert busy.end() == 0
    assert jobs()[0].state == "canceled"
