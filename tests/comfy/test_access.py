"""A ComfyUI of one's own behind a proxy: tokens, passwords, certificates, path prefixes; and where none of it may appear."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from ryla_gen import AsyncClient, Flux, Settings
from ryla_gen.comfy.connect import authorization, connect
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BackendUnreachableError, InvalidInputError, NotAuthorizedError, StorageFailedError
from ryla_gen.settings import set_value
from tests.cli.shell import here, ryla

from .proxy import Proxy, proxied

FOX = Flux(prompt="a fox", width=256, height=256, steps=1, seed=1)
TOKEN = "t0ken-of-mine"
BASIC = "Basic " + base64.b64encode(b"me:p@ss:w/rd").decode()


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with Emulator() as server:
        yield server.url


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
async def proxy(emulator: str) -> AsyncIterator[Proxy]:
    async with proxied(emulator, wants=f"Bearer {TOKEN}", prefix="/comfy") as one:
        yield one


@pytest.fixture
async def tls_proxy(emulator: str, authority: trustme.CA) -> AsyncIterator[Proxy]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with proxied(emulator, context, wants=BASIC) as one:
        yield one


def settings(env: dict[str, str] | None = None, **arguments: Any) -> Settings:
    return Settings.load({"RYLA_GEN_HOME": os.environ["RYLA_GEN_HOME"], **(env or {})}, **arguments)


async def made(found: Settings) -> Any:
    client = AsyncClient(settings=found)
    try:
        async with asyncio.timeout(30):
            return await client.run(FOX)
    finally:
        await client.close()


def written(folder: Path) -> str:
    """Everything in the files below a folder."""
    return "".join(str(path.read_bytes()) for path in folder.rglob("*") if path.is_file())


class TestCredentials:
    async def test_a_token_goes_with_every_request_and_the_websocket_below_a_path(self, proxy: Proxy) -> None:
        generation = await made(settings({"COMFYUI_POD_URL": f"{proxy.url}/", "COMFYUI_TOKEN": TOKEN}))
        assert generation.outputs[0].width == 256
        assert proxy.authorizations == {f"Bearer {TOKEN}"}
        assert proxy.passed["/ws"] == 1 and proxy.passed["/prompt"] == 1 and proxy.passed["/view"] == 1

    async def test_a_user_and_password_in_the_address_are_used_and_shown_nowhere(
        self, tls_proxy: Proxy, ca: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        url = tls_proxy.url.replace("://", "://me:p%40ss%3Aw%2Frd@")
        found = settings(comfyui_url=url, comfyui_tls_ca=str(ca))
        generation = await made(found)
        assert tls_proxy.authorizations == {BASIC}
        assert found.comfyui_url == tls_proxy.url
        shown = repr(found) + caplog.text + repr(generation) + str(list(found.entries()))
        shown += written(Path(os.environ["RYLA_GEN_HOME"]))
        assert "p@ss" not in shown and "p%40ss" not in shown and BASIC.split()[1] not in shown

    @pytest.mark.parametrize("env", [{}, {"COMFYUI_TOKEN": "wrong"}, {"COMFYUI_USER": "me", "COMFYUI_PASSWORD": "wr0ng"}])
    async def test_refused_credentials_are_a_typed_error_that_does_not_repeat_them(self, proxy: Proxy, env: dict[str, str]) -> None:
        with pytest.raises(NotAuthorizedError) as caught:
            await made(settings({"COMFYUI_POD_URL": proxy.url, **env}))
        assert "COMFYUI_TOKEN" in caught.value.hint and "COMFYUI_PASSWORD" in caught.value.hint
        said = str(caught.value.to_data()) + repr(caught.value.__cause__) + repr(caught.value.__context__)
        assert not any(value in said for key, value in env.items() if key != "COMFYUI_USER")
        assert caught.value.started == "no"

    async def test_forbidden_is_the_same_error(self, proxy: Proxy) -> None:
        proxy.forbidden = True
        with pytest.raises(NotAuthorizedError, match="403"):
            await made(settings({"COMFYUI_POD_URL": proxy.url, "COMFYUI_TOKEN": TOKEN}))

    async def test_the_variables_go_to_the_configured_origin_alone(self, proxy: Proxy, emulator: str) -> None:
        env = {"COMFYUI_POD_URL": "https://pod.example.com/comfy", "COMFYUI_TOKEN": TOKEN}
        found = settings(env, comfyui_url=proxy.url)
        assert found.comfyui_token is None
        assert any("COMFYUI_TOKEN is not sent" in text and "pod.example.com" in text for text in found.warnings)
        with pytest.raises(NotAuthorizedError):
            await made(found)
        assert proxy.authorizations == {None}
        assert settings(env, comfyui_url="https://pod.example.com/other").comfyui_token == TOKEN
        assert settings({"COMFYUI_TOKEN": TOKEN}, comfyui_url=proxy.url).comfyui_token == TOKEN

    async def test_a_redirect_to_another_server_never_carries_them(self, emulator: str) -> None:
        from .stub_server import StubServer

        async with StubServer() as stub, proxied(emulator) as foreign:
            stub.redirect_to = foreign.url
            with pytest.raises(BackendUnreachableError, match="redirects"):
                await made(settings({"COMFYUI_POD_URL": stub.url, "COMFYUI_TOKEN": TOKEN}))
            assert foreign.authorizations == set()

    @pytest.mark.parametrize(("token", "user"), [("two words", None), ("line\nbreak", None), ("käse", None), (None, "a:b")])
    def test_what_no_header_carries_is_refused_without_repeating_it(self, token: str | None, user: str | None) -> None:
        with pytest.raises(InvalidInputError) as caught:
            authorization(token, user, "secret")
        assert (token or "secret") not in str(caught.value)

    def test_no_file_takes_a_password_and_no_message_repeats_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(InvalidInputError, match="never stored in a file"):
            set_value("comfyui.url", "https://me:hunter2@pod.example.com")
        with pytest.raises(InvalidInputError, match="COMFYUI_TOKEN"):
            set_value("comfyui.token", "hunter2")
        for wrong in ("htps://me:hunter2@pod", "me:hunter2@pod:1", "https://me:hunter2@pod:99999"):
            with pytest.raises(InvalidInputError) as caught:
                settings({"COMFYUI_POD_URL": wrong})
            assert "hunter2" not in str(caught.value.to_data())
        assert here("config", "show", "--json") == 0
        assert "hunter2" not in capsys.readouterr().out


class TestCertificates:
    async def test_an_authority_of_ones_own_is_trusted_when_it_is_named(self, tls_proxy: Proxy, ca: Path) -> None:
        env = {"COMFYUI_POD_URL": tls_proxy.url, "COMFYUI_USER": "me", "COMFYUI_PASSWORD": "p@ss:w/rd"}
        assert (await made(settings({**env, "RYLA_GEN_COMFYUI_TLS_CA": str(ca)}))).outputs

    async def test_a_strange_certificate_is_refused_before_a_byte_of_the_password_is_sent(self, tls_proxy: Proxy) -> None:
        with pytest.raises(BackendUnreachableError, match="certificate is not trusted") as caught:
            await made(settings({"COMFYUI_POD_URL": tls_proxy.url, "COMFYUI_USER": "me", "COMFYUI_PASSWORD": "p@ss:w/rd"}))
        assert "comfyui.tls_ca" in caught.value.hint
        assert tls_proxy.authorizations == set()

    def test_checking_can_be_switched_off_which_is_said_once_on_stderr(self, emulator: str, authority: trustme.CA) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("example.org").configure_cert(context)

        async def doctor() -> tuple[str, str]:
            async with proxied(emulator, context) as proxy:
                env = {"COMFYUI_POD_URL": proxy.url, "RYLA_GEN_COMFYUI_TLS_VERIFY": "false"}
                done = await asyncio.to_thread(ryla, "doctor", "flux", "--generate", **env)
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stderr.decode(), proxy.url

        said, url = asyncio.run(doctor())
        assert said.count(f"the certificate of {url} is not checked") == 1

    def test_a_file_that_is_no_certificate_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("nonsense")
        for name in ("ca.pem", "absent.pem"):
            found = settings(comfyui_url="https://pod", comfyui_tls_ca=str(tmp_path / name))
            with pytest.raises(StorageFailedError, match="certificate authority"):
                connect(found)

    async def test_plain_http_behind_an_https_address_is_said(self, emulator: str) -> None:
        with pytest.raises(BackendUnreachableError, match="TLS"):
            await made(settings({"COMFYUI_POD_URL": emulator.replace("http:", "https:")}))


async def test_an_hour_of_the_server_has_its_price_on_every_result(emulator: str) -> None:
    generation = await made(settings({"COMFYUI_POD_URL": emulator, "RYLA_GEN_COMFYUI_HOURLY_USD": "36"}))
    assert generation.cost.total_usd == pytest.approx(generation.timings.running / 100)
    assert generation.cost.total_usd > 0
