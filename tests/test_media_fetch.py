"""Pictures behind addresses, from real servers on the loopback: limits, redirects, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from ryla_gen import media
from ryla_gen.errors import InvalidInputError

from .media_samples import encoded, picture


class Server:
    """A real HTTP server on the loopback that answers as a path tells it to, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        what, _, rest = request.path.strip("/").partition("/")
        if what == "hop":
            raise web.HTTPFound("/ok" if rest == "1" else f"/hop/{int(rest) - 1}")
        if what == "to":
            raise web.HTTPFound(request.query["url"])
        if what == "status":
            return web.Response(status=int(rest))
        if what == "endless":
            return await self._endless(request)
        if what == "hang":
            await asyncio.sleep(30)
        if what == "html":
            return web.Response(text="<html>Sign in</html>", content_type="image/png")
        return web.Response(body=encoded(picture()), content_type="image/png")

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while self.sent < 200_000_000:
                await response.write(bytes(100_000))
                self.sent += 100_000
        return response


@contextlib.asynccontextmanager
async def serving(server: Server, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_url_is_fetched_through_up_to_three_redirects() -> None:
    async with serving(Server()) as base:
        assert await media.read_image(f"{base}/ok") == encoded(picture())
        assert await media.read_image(f"{base.upper().replace('HTTP', 'Http')}/hop/3") == encoded(picture())
        with pytest.raises(InvalidInputError, match="redirects more than 3"):
            await media.read_image(f"{base}/hop/4")


async def test_answers_that_are_no_picture_are_explained() -> None:
    async with serving(Server()) as base:
        with pytest.raises(InvalidInputError, match="answered 404"):
            await media.read_image(f"{base}/status/404")
        with pytest.raises(InvalidInputError, match="no picture"):
            await media.read_image(f"{base}/html")
        with pytest.raises(InvalidInputError, match="only https"):
            await media.read_image(f"{base}/to?url=http://example.com/p.png")
        with pytest.raises(InvalidInputError, match="only https"):
            await media.read_image(f"{base}/to?url=ftp://example.com/p.png")


async def test_an_endless_answer_is_cut_off_at_the_limit() -> None:
    server = Server()
    async with serving(server) as base:
        with pytest.raises(InvalidInputError, match="too large"):
            await media.read_image(f"{base}/endless", limit_bytes=1_000_000)
    assert server.sent < 50_000_000


async def test_a_server_that_is_not_there_is_reported_without_the_secrets_of_its_address() -> None:
    async with serving(Server()) as base:
        pass
    with pytest.raises(InvalidInputError, match="cannot be fetched") as caught:
        await media.read_image(base.replace("//", "//user:password@") + "/p.png?signature=TOKEN")
    assert "TOKEN" not in str(caught.value)
    assert "password" not in str(caught.value)
    assert f"{base}/p.png cannot be fetched" in caught.value.message, "with the port, which may be what is wrong"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_https_is_verified_and_never_leads_to_http(tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2"]
    await asyncio.to_thread(
        subprocess.run,
        [*made, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    script = (
        "import asyncio, sys\nfrom ryla_gen import media\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(len(asyncio.run(media.read_image(url))))\n"
        "    except media.InvalidInputError as error: print(error.message)\n"
    )
    async with serving(Server(), context) as base, serving(Server()) as plain:
        with pytest.raises(InvalidInputError, match="certificate"):
            await media.read_image(f"{base}/ok")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, f"{base}/hop/2", f"{base}/to?url={plain}/ok",
            env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "cert.pem")}, stdout=subprocess.PIPE,
        )  # fmt: skip
        lines = (await process.communicate())[0].decode().splitlines()
    assert int(lines[0]) == len(encoded(picture()))
    assert "only https" in lines[1]
