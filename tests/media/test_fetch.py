"""Pictures behind addresses, from real servers on the loopback: limits, redirects, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession, TCPConnector, web
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from PIL import Image

from ryla_gen import AsyncClient, Client, media
from ryla_gen.characters import AsyncCharacters
from ryla_gen.errors import InvalidInputError
from ryla_gen.media.addresses import PrivateAddressError, guarded_connector, is_public, leads_outside
from ryla_gen.media.sources import _follow

from ..media_samples import encoded, picture

HERE = media.References(private_addresses=True)


async def read_image(url: str, **limits: int) -> bytes:
    return await media.read_image(url, references=HERE, **limits)


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
        assert await read_image(f"{base}/ok") == encoded(picture())
        assert await read_image(f"{base.upper().replace('HTTP', 'Http')}/hop/3") == encoded(picture())
        with pytest.raises(InvalidInputError, match="redirects more than 3"):
            await read_image(f"{base}/hop/4")


async def test_answers_that_are_no_picture_are_explained() -> None:
    async with serving(Server()) as base:
        with pytest.raises(InvalidInputError, match="answered 404"):
            await read_image(f"{base}/status/404")
        with pytest.raises(InvalidInputError, match="not a picture"):
            await read_image(f"{base}/html")
        with pytest.raises(InvalidInputError, match="only https"):
            await read_image(f"{base}/to?url=http://example.com/p.png")
        with pytest.raises(InvalidInputError, match="only https"):
            await read_image(f"{base}/to?url=ftp://example.com/p.png")


async def test_an_endless_answer_is_cut_off_at_the_limit() -> None:
    server = Server()
    async with serving(server) as base:
        with pytest.raises(InvalidInputError, match="too large"):
            await read_image(f"{base}/endless", limit_bytes=1_000_000)
    assert server.sent < 50_000_000


async def test_a_server_that_is_not_there_is_reported_without_the_secrets_of_its_address() -> None:
    async with serving(Server()) as base:
        pass
    with pytest.raises(InvalidInputError, match="cannot be fetched") as caught:
        await read_image(base.replace("//", "//user:password@") + "/p.png?signature=TOKEN")
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
        "import asyncio, sys\nfrom ryla_gen import media\nhere = media.References(private_addresses=True)\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(len(asyncio.run(media.read_image(url, references=here))))\n"
        "    except media.InvalidInputError as error: print(error.message)\n"
    )
    async with serving(Server(), context) as base, serving(Server()) as plain:
        with pytest.raises(InvalidInputError, match="certificate"):
            await read_image(f"{base}/ok")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, f"{base}/hop/2", f"{base}/to?url={plain}/ok",
            env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "cert.pem")}, stdout=subprocess.PIPE,
        )  # fmt: skip
        lines = (await process.communicate())[0].decode().splitlines()
    assert int(lines[0]) == len(encoded(picture()))
    assert "only https" in lines[1]


# -- private addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.0.192",
        "198.18.0.1",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::127.0.0.1",
        "2001:db8::1",
        "no-address",
    ],
)
def test_these_addresses_are_not_of_the_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_these_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LOCALHOST", "127.1", "0x7f.1", "2130706433", "0", "[::1]", "[::ffff:127.0.0.1]"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_address_of_this_machine_is_not_asked_unless_that_is_allowed(host: str, scheme: str) -> None:
    server = Server()
    async with serving(server) as base:
        with pytest.raises(InvalidInputError, match="private network|only https|not a canonical") as caught:
            await media.read_image(f"{scheme}://{host}:{base.rpartition(':')[2]}/ok")
    assert server.asked == []
    if "private network" in caught.value.message:
        assert "allow_private_addresses" in caught.value.hint


@pytest.mark.parametrize("target", ["https://127.0.0.1/x", "https://localhost/x", "https://169.254.169.254/x", "https://[::1]/x"])
async def test_a_redirect_leads_to_no_private_address(target: str) -> None:
    class Internet(ThreadedResolver):
        """Stands for a name server of the internet: its one picture server happens to be here."""

        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
            return await super().resolve("127.0.0.1", port, family)

    server = Server()
    async with (
        serving(server) as base,
        ClientSession(connector=TCPConnector(resolver=Internet())) as session,
    ):
        with pytest.raises(InvalidInputError, match="private network"):
            port = base.rpartition(":")[2]
            await _follow(session, f"http://pictures.example:{port}/to?url={target}", 1000, plain=False, private=False)
    assert server.asked == ["/to"]


async def test_a_name_is_looked_at_where_the_connection_is_made() -> None:
    """A second look-up, which may answer otherwise, is never made: what was looked at is what is connected to."""
    server = Server()
    async with serving(server) as base, ClientSession(connector=guarded_connector()) as session:
        with pytest.raises(ClientConnectorError) as caught:
            await session.get(f"http://localhost:{base.rpartition(':')[2]}/ok")
        assert isinstance(caught.value.os_error, PrivateAddressError)
    assert server.asked == []


# -- references="bytes" ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["/etc/passwd", "~/x.png", "x.png", "https://example.com/x.png", "file:///etc/passwd", Path("x")])
async def test_a_client_of_a_server_reads_no_path_and_no_address(given: str | Path) -> None:
    async with AsyncClient("emulator", references="bytes") as client:
        with pytest.raises(InvalidInputError, match="does not read paths or addresses") as caught:
            await client.instantid(prompt="a", reference_image=given)
        assert caught.value.details["field"] == "reference_image"
        assert client.history.list() == []
        with pytest.raises(InvalidInputError, match="does not read paths or addresses"):
            await AsyncCharacters(client).submit_face_swap(given, "in a garden")


async def test_it_reads_bytes_data_urls_pictures_and_open_files(tmp_path: Path) -> None:
    only = media.References("bytes")
    data = encoded(picture())
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        for given in (data, f"data:image/png;base64,{b64encode(data).decode()}", Image.open(path), file):
            assert await media.read_image(given, references=only)


def test_the_switch_is_a_setting_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_REFERENCES", "bytes")
    with Client("emulator") as client, pytest.raises(InvalidInputError, match="does not read paths or addresses"):
        client.instantid(prompt="a", reference_image="x.png")
    with pytest.raises(InvalidInputError, match="one of any, bytes"):
        Client("emulator", references="paths")  # type: ignore[arg-type]


FULLWIDTH, CIRCLED, STOP = "\uff11\uff12\uff17", "\u2460", "\u3002"


@pytest.mark.parametrize(
    "host",
    [f"{FULLWIDTH}.0.0.1", f"127{STOP}0{STOP}0{STOP}1", f"{CIRCLED}0.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]"],
)
async def test_an_address_of_this_machine_in_other_signs_leads_inside(host: str) -> None:
    """The library connects to such a host without looking it up, so the connector's resolver never sees it."""
    assert not await leads_outside(f"https://{host}/picture.png")
