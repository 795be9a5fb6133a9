"""Webhooks at a real receiver: signed as the standard's own library verifies it, and told until they are taken or refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from ryla_gen import FluxDev
from ryla_gen.delivery.signatures import new_secret, read_secrets, sign
from ryla_gen.delivery.webhook_events import event_id, failure_event, make_test_event, result_event, write_event
from ryla_gen.delivery.webhooks import Webhook, check_webhook
from ryla_gen.errors import ERRORS, InvalidInputError, JobCanceledError, JobExpiredError, NodeFailedError
from ryla_gen.results import Cost, Generation, Output, Timings
from ryla_gen.settings import Settings
from tests.models.downloads.https_host import Authority

from .receiver import Receiver, serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "QUJD" * 11
PROMPT = "a fox that nobody is to read of"
QUICK: dict[str, Any] = {"first_pause": 0.001, "longest_retry_after": 0.001}


def generation(**changes: Any) -> Generation:
    outputs = (
        Output("image", "image/png", "flux_dev-7-0.png", b"\x89PNG PICTURE", 64, 32),
        Output("text", "text/plain", "flux_dev-7-1.txt", text=PROMPT),
    )
    facts: dict[str, Any] = {"timings": Timings(total=3.5), "cost": Cost(0.25)}
    return Generation(FluxDev(prompt=PROMPT, seed=7), outputs, 7, "job-1", "modal", **facts | changes)


def hook(url: str, secrets: str = SECRET, **more: Any) -> Webhook:
    return Webhook(url, read_secrets(secrets), allow_private=True, **more)


def settings(**env: str) -> Settings:
    return Settings.load({"RYLA_GEN_HOME": "/nowhere", "RYLA_GEN_WEBHOOK_SECRET": SECRET, **env})


# -- what is told ----------------------------------------------------------------------------------------------------------------


def test_an_event_tells_how_a_job_ended_and_nothing_of_its_content() -> None:
    event = result_event(generation(), at="2026-11-30T01:00:00.000Z")
    assert (event["type"], event["timestamp"]) == ("job.succeeded", "2026-11-30T01:00:00.000Z")
    data = event["data"]
    picture, text = data.pop("outputs")
    assert data == {
        "contract": 2, "job": "job-1", "workflow": "flux_dev", "backend": "modal", "state": "succeeded", "seed": 7,
        "cost_usd": 0.25, "seconds": 3.5, "error": None,
    }  # fmt: skip
    assert picture == {
        "kind": "image", "media_type": "image/png", "name": "flux_dev-7-0.png", "width": 64, "height": 32, "bytes": 12,
        "sha256": hashlib.sha256(b"\x89PNG PICTURE").hexdigest(),
    }  # fmt: skip
    assert set(text) == {"kind", "media_type", "name", "bytes", "sha256"}
    written = write_event(event)
    assert b"fox" not in written
    assert b"PICTURE" not in written


def test_an_output_that_was_uploaded_is_told_by_where_it_is() -> None:
    uploaded = Output("image", "image/png", "a.png", width=64, height=32, url="s3://bucket/a.png", sha256="0" * 64, size=12345)
    [told] = result_event(replace(generation(), outputs=(uploaded,)))["data"]["outputs"]
    assert (told["url"], told["sha256"], told["bytes"]) == ("s3://bucket/a.png", "0" * 64, 12345)


def test_a_failure_tells_its_code_and_not_its_words() -> None:
    error = NodeFailedError(f"The node refused {PROMPT!r}.", "Change the fox.", {"node_id": "3"})
    facts: dict[str, Any] = {"job": "j", "workflow": "flux", "backend": "modal", "seed": 7, "prompt": PROMPT, "cost_usd": 0.1}
    event = failure_event(error, **facts)
    assert event["type"] == "job.failed"
    assert event["data"]["error"] == {"code": "node_failed", "http_status": 500}
    assert (event["data"]["outputs"], event["data"]["seconds"], event["data"]["cost_usd"]) == ([], None, 0.1)
    assert b"fox" not in write_event(event)


def test_prompt_and_words_are_told_where_that_was_asked_for() -> None:
    assert result_event(generation(), include_prompt=True)["data"]["prompt"] == PROMPT
    error = NodeFailedError("It said fox.", "Change it.")
    data = failure_event(error, job="j", workflow="flux", backend="modal", prompt=PROMPT, include_prompt=True)["data"]
    assert data["prompt"] == PROMPT
    assert data["error"] == {"code": "node_failed", "http_status": 500, "message": "It said fox.", "hint": "Change it."}


@pytest.mark.parametrize("code", ERRORS)
def test_each_error_leaves_a_job_in_one_of_three_states(code: str) -> None:
    event = failure_event(ERRORS[code]("x"), job="j", workflow="flux", backend="modal")
    state = {"job_canceled": "canceled", "job_expired": "expired"}.get(code, "failed")
    assert (event["type"], event["data"]["state"], event["data"]["error"]["code"]) == (f"job.{state}", state, code)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (asyncio.CancelledError(), ("job.canceled", "job_canceled")),
        (KeyboardInterrupt(), ("job.canceled", "job_canceled")),
        (ZeroDivisionError(PROMPT), ("job.failed", "internal")),
        (JobCanceledError("x"), ("job.canceled", "job_canceled")),
        (JobExpiredError("x"), ("job.expired", "job_expired")),
    ],
)
def test_so_does_what_is_no_error_of_this_package(error: BaseException, told: tuple[str, str]) -> None:
    event = failure_event(error, job="j", workflow="flux", backend="modal")
    assert (event["type"], event["data"]["error"]["code"]) == told
    assert b"fox" not in write_event(event)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), "much", True])
def test_a_cost_that_is_no_number_is_not_known(number: Any) -> None:
    event = result_event(generation(cost=Cost(number), timings=Timings(total=number)))
    assert (event["data"]["cost_usd"], event["data"]["seconds"]) == (None, None)
    assert json.loads(write_event(event)) == event


def test_the_id_is_that_of_the_end_whoever_tells_it_and_however_often() -> None:
    first, again = result_event(generation(), at="2026-11-30T01:00:00.000Z"), result_event(generation(), include_prompt=True)
    assert event_id(first) == event_id(again)
    other = failure_event(JobCanceledError("x"), job="job-1", workflow="flux", backend="modal")
    assert len({event_id(first), event_id(other), event_id(make_test_event()), event_id(make_test_event())}) == 4
    odd = failure_event(JobCanceledError("x"), job="a.b\r\nc: \ud800", workflow="flux", backend="modal")
    assert event_id(odd).replace("_", "").isalnum()


# -- how it is signed ------------------------------------------------------------------------------------------------------------


def test_the_signature_is_the_one_of_the_specification() -> None:
    headers = sign(read_secrets(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_the_standards_own_library_verifies_what_was_sent() -> None:
    receiver, event = Receiver(), result_event(generation(), include_prompt=True)
    async with serving(receiver) as url:
        told = await hook(url, f"{SECRET} {OTHER}").tell(event)
    assert (told.delivered, told.tries, told.status, told.final) == (True, 1, 204, False)
    [(headers, body)] = receiver.came
    for secret in (SECRET, OTHER):  # a receiver has either, while one takes the place of the other
        assert Verifier(secret).verify(body, headers) == event
    with pytest.raises(WebhookVerificationError):
        Verifier(new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(body.replace(b"modal", b"model"), headers)
    assert headers["content-type"] == "application/json"


def test_a_new_secret_can_be_used_and_is_another_each_time() -> None:
    assert new_secret() != new_secret()
    assert [len(key) for key in read_secrets(f"{new_secret()}  {new_secret()}\n")] == [32, 32]
    assert read_secrets("whsec_" + "QUJD" * 10 + "QQ") == (b"ABC" * 10 + b"A",), "without the padding, as some write it"


@pytest.mark.parametrize(
    "text", [None, "", "  ", "secret", "whsec_", "whsec_QUJD", "whsec_!" + "QUJD" * 10, "QUJD" * 10, f"{SECRET} x"]
)
def test_a_secret_that_cannot_be_used_is_refused_and_not_shown(text: str | None) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_secrets(text)
    assert "ryla-gen webhook secret" in caught.value.hint
    assert "QUJD" not in str(caught.value)
    assert "MfKQ" not in str(caught.value)


def test_neither_secret_nor_token_is_shown_by_an_object() -> None:
    webhook = check_webhook("https://example.com/hook?token=TOKEN", settings())
    assert repr(webhook) == "Webhook(include_prompt=False, allow_private=False)"
    assert "MfKQ" not in repr(settings())


# -- what is refused before anything is sent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com/hook", "only https"),
        ("ftp://example.com/hook", "only https"),
        ("example.com/hook", "cannot be used"),
        ("https:///hook", "cannot be used"),
        ("https://user:PASSWORD@example.com/hook", "cannot be used"),
        ("https://example.com:99999/hook", "cannot be used"),
        ("https://example.com:0/hook", "cannot be used"),
        ("https://exa mple.com/hook", "cannot be used"),
        ("https://example.com/ho\r\nok", "cannot be used"),
        ("https://[::1/hook", "cannot be used"),
        ("", "cannot be used"),
        ("https://127.0.0.1/hook?token=TOKEN", "private network"),
        ("http://localhost:8080/hook", "private network"),
        ("https://10.1.2.3/hook", "private network"),
        ("https://[::ffff:10.0.0.1]/hook", "private network"),
        ("https://169.254.169.254/latest", "private network"),
    ],
)
def test_an_address_that_cannot_be_told_is_refused_at_once(url: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        check_webhook(url, settings())
    assert "PASSWORD" not in str(caught.value)
    assert "TOKEN" not in str(caught.value)


def test_this_machine_is_told_where_that_is_allowed_and_plain_http_nowhere_else() -> None:
    allowed = settings(RYLA_GEN_ALLOW_PRIVATE_ADDRESSES="true")
    for url in ("http://127.0.0.1:8080/hook", "http://localhost/hook", "https://10.0.0.1/hook", "https://example.com/hook"):
        assert check_webhook(url, allowed, include_prompt=True).include_prompt
    with pytest.raises(InvalidInputError, match="only https"):
        check_webhook("http://10.0.0.1/hook", allowed)
    with pytest.raises(InvalidInputError, match="no secret"):
        check_webhook("https://example.com/hook", settings(RYLA_GEN_WEBHOOK_SECRET=" "))


# -- telling ---------------------------------------------------------------------------------------------------------------------


async def told_by(receiver: Receiver, **limits: Any) -> Any:
    async with serving(receiver) as url:
        return await hook(url).tell(make_test_event(), **QUICK | limits)


async def test_a_receiver_that_fails_twice_is_told_a_third_time_with_the_same_id() -> None:
    receiver = Receiver([500, 503, 200])
    told = await told_by(receiver)
    assert (told.delivered, told.tries, told.status) == (True, 3, 200)
    assert {headers["webhook-id"] for headers, _ in receiver.came} == {receiver.came[0][0]["webhook-id"]}
    assert len({body for _, body in receiver.came}) == 1
    assert str(told).endswith("/hook took it (200) (try 3).")
    assert "TOKEN" not in repr(told)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_to_the_end_and_may_be_told_later(status: int) -> None:
    receiver = Receiver([status], body="come   back\nlater")
    told = await told_by(receiver, attempts=3)
    assert (told.delivered, told.tries, told.status, told.final, len(receiver.came)) == (False, 3, status, False, 3)
    assert f"answered {status} (come back later)" in str(told)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_a_refusal_ends_it(status: int) -> None:
    receiver = Receiver([status, 200])
    told = await told_by(receiver)
    assert (told.delivered, told.tries, told.status, told.final) == (False, 1, status, True)
    assert ("no more events" in str(told)) == (status == 410)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_to_a_private_address_or_to_any(status: int) -> None:
    elsewhere = Receiver()
    async with serving(elsewhere) as private:
        receiver = Receiver([status], headers={"Location": private})
        told = await told_by(receiver)
    assert (told.delivered, told.final, told.status) == (False, True, status)
    assert "not followed" in str(told)
    assert elsewhere.came == []
    assert len(receiver.came) == 1


async def test_a_receiver_that_hangs_is_given_up_after_its_seconds() -> None:
    receiver = Receiver(["hang"])
    told = await told_by(receiver, seconds=0.2, attempts=2)
    assert (told.delivered, told.tries, told.status, told.final) == (False, 2, None, False)
    assert "did not answer in time" in str(told)


async def test_a_receiver_that_hangs_once_is_told_again() -> None:
    told = await told_by(Receiver(["hang", "cut", 200]), seconds=3.0)
    assert (told.delivered, told.tries) == (True, 3)


async def test_the_body_of_an_answer_cannot_hold_it_up() -> None:
    taken, refused = Receiver(["slow"]), Receiver(["slow"], slow_status=400)
    assert (await told_by(taken)).delivered
    told = await told_by(refused)
    assert (told.final, told.status) == (True, 400)
    assert len(told.reason) < 300
    assert max(taken.sent, refused.sent) < 50_000_000


async def test_retry_after_is_waited_for_within_a_limit_and_passed_on() -> None:
    receiver = Receiver([429, 200], headers={"Retry-After": "86400"})
    assert (await told_by(receiver)).delivered, "it would have waited for a day"
    told = await told_by(Receiver([503], headers={"Retry-After": "120"}), attempts=1)
    assert told.retry_after == 120.0
    for odd in ("Fri, 31 Dec 1999 23:59:59 GMT", "-5", "1e9", "²", "9" * 5000):
        assert (
            await told_by(Receiver([503], headers={"Retry-After": odd} if odd.isascii() else {}), attempts=1)
        ).retry_after == 0.0


async def test_nobody_there_is_told_in_words_without_the_token() -> None:
    with socket.socket() as bound:  # so that no other program gets the port; it does not listen
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/hook?token=TOKEN"
        told = await hook(url).tell(make_test_event(), attempts=2, **QUICK)
    assert (told.delivered, told.tries, told.status, told.final) == (False, 2, None, False)
    assert "could not be reached: Connection refused" in str(told)
    assert "TOKEN" not in str(told)


async def test_a_name_that_is_nobodys_is_no_fault_of_the_job() -> None:
    for url in ("https://receiver.invalid/hook?token=TOKEN", f"https://{'a' * 64}.example/", "https://xn--a.invalid/"):
        told = await Webhook(url, read_secrets(SECRET)).tell(make_test_event(), attempts=1)
        assert not told.delivered
        assert "TOKEN" not in str(told)


async def test_an_interrupt_is_not_swallowed() -> None:
    receiver = Receiver(["hang"])
    async with serving(receiver) as url:
        task = asyncio.create_task(hook(url).tell(make_test_event()))
        await receiver.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# -- where it may go -------------------------------------------------------------------------------------------------------------


def name_of_this_machine() -> str:
    """A name that is none of those every program knows, and leads to a private address."""
    name = socket.gethostname()
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, family=socket.AF_INET)}
    except OSError:
        found = set()
    if not found or not all(address.startswith(("127.", "10.", "192.168.", "172.")) for address in found):
        pytest.skip("the name of this machine leads to no private address")
    return name


async def test_a_name_whose_dns_answer_is_private_is_refused_when_the_connection_is_made() -> None:
    name, receiver = name_of_this_machine(), Receiver()
    async with serving(receiver) as url:
        port = url.partition("127.0.0.1:")[2].partition("/")[0]
        webhook = check_webhook(f"https://{name}:{port}/hook", settings())
        told = await webhook.tell(make_test_event(), **QUICK)
    assert (told.delivered, told.tries, told.final) == (False, 1, True)
    assert "private network" in str(told)
    assert receiver.came == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"])
async def test_an_address_of_this_machine_is_not_asked_though_nothing_checked_it_before(host: str) -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        port = url.partition("127.0.0.1:")[2].partition("/")[0]
        told = await Webhook(f"http://{host}:{port}/hook", read_secrets(SECRET)).tell(make_test_event(), attempts=1)
    assert not told.delivered
    assert receiver.came == []


async def test_https_is_verified(authority: Authority, tmp_path: Any) -> None:
    good, wrong_name = Receiver(), Receiver()
    async with serving(good, authority.context("127.0.0.1")) as url:
        assert (await hook(url).tell(make_test_event())).delivered
    async with serving(wrong_name, authority.context("other.example")) as url:
        told = await hook(url).tell(make_test_event(), attempts=2, **QUICK)
    assert (told.delivered, told.tries) == (False, 2)
    assert "certificate is not valid for '127.0.0.1'" in str(told)
    strangers = tmp_path / "stranger"
    strangers.mkdir()
    async with serving(wrong_name, Authority(strangers).context("127.0.0.1")) as url:
        told = await hook(url).tell(make_test_event(), attempts=1)
    assert "could not be reached" in str(told)
    assert "unable to get local issuer certificate" in str(told)
    assert wrong_name.came == []
