"""A real receiver of webhooks on the loopback, with knobs. It knows nothing of the code under test."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Receiver:
    """Answers as it is told to, one answer after the other, the last one for ever; and keeps what came."""

    answers: list[int | str] = field(default_factory=lambda: [204])
    """A status; or ``hang`` (no answer), ``slow`` (a status, and a body that never ends), ``cut`` (the connection ends)."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every answer."""
    body: str = ""
    """Sent with every answer that has a status."""
    slow_status: int = 200
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers and body of each event, in order."""
    paths: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first event has come."""
    sent: int = 0
    """Bytes of the body that never ends."""

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.paths.append(request.path_qs)
        self.came.append(({name.lower(): value for name, value in request.headers.items()}, body))
        self.arrived.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "hang":
            await asyncio.sleep(600)
        if answer == "cut" and request.transport is not None:
            request.transport.abort()
        if answer == "slow":
            return await self._endless(request)
        return web.Response(status=answer if isinstance(answer, int) else 200, headers=self.headers, text=self.body)

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.slow_status)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while self.sent < 50_000_000:
                await response.write(b"x" * 100_000)
                self.sent += 100_000
        return response


@contextlib.asynccontextmanager
async def serving(receiver: Receiver, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on a port of its own; yields the address of its hook, with a token in the query."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}/hook?token=TOKEN"
    finally:
        await runner.cleanup()
