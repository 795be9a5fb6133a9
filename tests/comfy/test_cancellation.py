"""A prompt is stopped by the route for one job where the server has it, and the older way elsewhere: on the emulator of both."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ryla_gen import FluxDev
from ryla_gen.comfy.client import ComfyClient
from ryla_gen.comfy.messages import ExecutionInterrupted, ExecutionStart
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BackendError
from ryla_gen.models.node_schemas import VERSIONS


def slow(seed: int) -> dict[str, Any]:
    return FluxDev(prompt="a red fox", steps=100, batch_size=3, seed=seed).build().to_api()


@dataclass
class Gate:
    """Stands before an emulator, passes everything on, and writes down which requests stop prompts."""

    emulator: Emulator
    stopping: list[str] = field(default_factory=list)
    url: str = ""

    async def passed_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method == "POST" and request.path != "/prompt":
            self.stopping.append(request.path.replace(json.loads(body or b"{}").get("prompt_id", "-"), "ID"))
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, f"{self.emulator.url}{request.path_qs}", data=body, headers={"Content-Type": "application/json"}
            ) as answer,
        ):
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        ours = web.WebSocketResponse()
        await ours.prepare(request)
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{self.emulator.url}{request.path_qs}") as theirs:
            async for message in theirs:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await ours.send_str(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await ours.send_bytes(message.data)
        return ours


@pytest.fixture(params=VERSIONS)
async def gate(request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    with Emulator(comfyui=request.param) as emulator:
        gate = Gate(emulator)
        app = web.Application()
        app.router.add_get("/ws", gate.socket)
        app.router.add_route("*", "/{path:.*}", gate.passed_on)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        gate.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield gate
        await runner.cleanup()


async def test_waiting_and_running_prompts_are_stopped_and_the_route_is_looked_for_once(gate: Gate) -> None:
    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    async with ComfyClient(gate.url) as client, client.follow(first) as running, client.follow(second) as waiting:
        await client.submit(slow(1), prompt_id=first)
        await client.submit(slow(2), prompt_id=second)
        await client.submit(slow(3), prompt_id=third)
        await client.cancel(second)
        assert isinstance([message async for message in waiting][-1], ExecutionInterrupted)
        seen = []
        async for message in running:
            seen.append(message)
            if isinstance(message, ExecutionStart):
                await client.cancel(third)
                await client.cancel(first)
        assert isinstance(seen[-1], ExecutionInterrupted)
        while (await client.queue()).running:  # the queue shows it until its thread is at its end
            await asyncio.sleep(0.01)
        assert (await client.queue()).pending == ()
        await client.cancel(first)
    ways = [path.partition("/cancel")[0].rpartition("/")[0] if "/jobs/" in path else path for path in gate.stopping]
    if gate.emulator.has_jobs:
        assert ways == ["/api/jobs"] * 4
    else:
        assert ways == ["/api/jobs", *["/queue", "/interrupt"] * 4]


async def test_a_server_that_refuses_says_so_instead_of_being_asked_another_way(gate: Gate) -> None:
    gate.emulator.knobs.refuse_cancels = 503
    async with ComfyClient(gate.url) as client:
        with pytest.raises(BackendError):
            await client.cancel(str(uuid.uuid4()))
    assert len(gate.stopping) == 1
