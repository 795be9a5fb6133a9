"""A reverse proxy as people put one in front of ComfyUI: TLS, authorization, a path prefix, HTTP and websockets. It counts."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host"}


class Proxy:
    """One proxy in front of one server.

    Args:
        target: address of the server behind it.
        wants: the authorization header without which everything is 401; empty lets everybody in.
        prefix: path under which the server appears.
    """

    def __init__(self, target: str, wants: str = "", prefix: str = "") -> None:
        self.target, self.wants, self.prefix = target, wants, prefix
        self.refused: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.authorizations: set[str | None] = set()
        self.forbidden = False
        """Answers 403 to everybody."""
        self.held_path = ""
        """The path whose requests wait for as long as it is held."""
        self.waiting = 0
        """Requests that came for that path."""
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}{self.prefix}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Check, then pass on."""
        given = request.headers.get("Authorization")
        self.authorizations.add(given)
        if self.forbidden or (self.wants and given != self.wants):
            self.refused[request.path] += 1
            return web.Response(status=403 if self.forbidden else 401, text="no", headers={"WWW-Authenticate": "Bearer"})
        if not request.path.startswith(self.prefix):
            return web.Response(status=404)
        path = request.path.removeprefix(self.prefix)
        self.waiting += path == self.held_path
        while path == self.held_path:
            await asyncio.sleep(0.01)
        self.passed[path] += 1
        address = self.target + request.path_qs.removeprefix(self.prefix)
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._websocket(request, session, address)
            headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP | {"authorization"}}
            async with session.request(request.method, address, data=await request.read(), headers=headers) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    async def _websocket(self, request: web.Request, session: aiohttp.ClientSession, address: str) -> web.StreamResponse:
        ours = web.WebSocketResponse(max_msg_size=0)
        await ours.prepare(request)
        async with session.ws_connect(address, max_msg_size=0) as theirs:

            async def pump(source: Any, sink: Any) -> None:
                async for message in source:
                    if message.type is WSMsgType.TEXT:
                        await sink.send_str(message.data)
                    elif message.type is WSMsgType.BINARY:
                        await sink.send_bytes(message.data)
                await sink.close()

            await asyncio.gather(pump(ours, theirs), pump(theirs, ours))
        return ours


@asynccontextmanager
async def proxied(target: str, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Proxy]:
    """Run a proxy while the block runs."""
    proxy = Proxy(target, **options)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    proxy.port = runner.addresses[0][1]
    proxy.scheme = "https" if tls is not None else "http"
    try:
        yield proxy
    finally:
        await runner.cleanup()
