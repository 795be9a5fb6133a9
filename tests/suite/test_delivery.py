"""Results on Modal that go to a bucket: uploaded by the container, with the credentials of a secret that the owner gave the app."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import modal as modal_client
import pytest
import standardwebhooks

from ryla_gen import Client, CustomWorkflow, Flux
from ryla_gen.delivery.signatures import new_secret
from ryla_gen.delivery.uploads import NOT_UPLOADED
from ryla_gen.errors import RefusedError, RylaGenError
from ryla_gen.results import Output
from ryla_gen.workflows.base import Workflow
from ryla_gen_cli import app as command
from tests.delivery.conftest import BUCKET, Storage, bucket_on, moto
from tests.delivery.receiver import Receiver, serving
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

from .conftest import deployed

__all__ = ["moto"]
SMALL = Flux(prompt="a fox", width=256, height=256, steps=1, seed=7)
BROKEN = CustomWorkflow(
    graph={
        "1": {"class_type": "NoSuchClass", "inputs": {}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
)
SIGNED_WITH = new_secret()
CLOUD = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")


@pytest.fixture(scope="module")
def bucket(moto: str) -> Storage:
    return bucket_on(moto)


@pytest.fixture(scope="module")
def app(worker_python: Path, bucket: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """The app, whose containers have the bucket's credentials, and may ask addresses of this machine."""
    secret = bucket.environment | {"RYLA_GEN_ALLOW_PRIVATE_ADDRESSES": "true", "RYLA_GEN_WEBHOOK_SECRET": SIGNED_WITH}
    with deployed(worker_python, tmp_path_factory.mktemp("modal"), secrets={"delivery": secret}) as loopback:
        yield loopback


@pytest.fixture
def client(app: Loopback, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A caller without any credentials of the bucket; it knows the webhook's secret, to check an address before it sends."""
    for name in CLOUD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RYLA_GEN_WEBHOOK_SECRET", SIGNED_WITH)
    monkeypatch.setenv("RYLA_GEN_ALLOW_PRIVATE_ADDRESSES", "true")
    with connected(app), Client("modal") as made:
        yield made
    app.knobs.reset()


def test_the_container_uploads_and_nothing_of_the_file_passes_the_caller(client: Client, bucket: Storage) -> None:
    made = client.run(SMALL, output_to=f"s3://{BUCKET}/fox")
    held = bucket.read(f"fox/{made.job}/flux-7-0.png")
    item = made.output
    assert (item.url, item.data) == (f"s3://{BUCKET}/fox/{made.job}/flux-7-0.png", b"")
    assert (item.sha256, item.size) == (hashlib.sha256(held).hexdigest(), len(held))
    assert held.startswith(b"\x89PNG") and not [notice for notice in made.warnings if notice.code == NOT_UPLOADED]


def test_signed_addresses_need_no_secret_of_the_app(client: Client, bucket: Storage) -> None:
    made = client.run(SMALL, output_to=[bucket.signed("signed.png")])
    assert made.output.url == f"{bucket.url}/{BUCKET}/signed.png"
    assert hashlib.sha256(bucket.read("signed.png")).hexdigest() == made.output.sha256


def test_what_the_container_cannot_upload_comes_with_the_reply(client: Client) -> None:
    made = client.run(SMALL, output_to="s3://nobodys-bucket/fox")
    assert made.output.url is None and made.image.size == (256, 256)
    told = [notice.message for notice in made.warnings if notice.code == NOT_UPLOADED]
    assert told and all("nobodys-bucket" in text for text in told)


def test_a_caller_without_this_sdk_gets_the_address(client: Client, bucket: Storage) -> None:
    method = modal_client.Cls.from_name("ryla-comfyui", "Flux")().flux
    fields = {"prompt": "a fox", "width": 256, "height": 256, "steps": 1, "seed": 8}
    reply = method.remote({"inputs": fields, "options": {"output_to": f"s3://{BUCKET}/plain"}})
    (item,) = reply["generation"]["outputs"]
    assert "data" not in item
    assert item["bytes"] == len(bucket.read(item["url"].removeprefix(f"s3://{BUCKET}/")))
    wrong = method.remote({"inputs": fields, "options": {"output_to": "/etc/passwd"}})
    assert wrong["error"]["code"] == "invalid_input"


def test_the_credentials_do_not_reach_comfyui(client: Client, app: Loopback) -> None:
    client.run(SMALL)
    places = list(Path("/proc").glob("[0-9]*/environ"))
    seen = []
    for path in places:
        try:
            text, command = path.read_bytes(), (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if b"ryla_gen.emulator" in command and b"RYLA_COMFYUI_COMMAND" in text:
            seen.append(text)
    assert seen, "ComfyUI's process of the container runs"
    assert not any(b"AWS_SECRET_ACCESS_KEY" in text or b"RYLA_GEN_ALLOW" in text for text in seen)


def wait_until(done: Callable[[], bool], seconds: float = 120) -> bool:
    """Whether something comes true, looked at again and again."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
    return done()


def verify(came: tuple[dict[str, str], bytes]) -> None:
    """Hold a signature against the standard's own library."""
    headers, body = came
    standardwebhooks.Webhook(SIGNED_WITH).verify(body, headers)


def events_of(receiver: Receiver) -> list[tuple[str, str]]:
    return [(event["type"], event["data"]["job"]) for event in (json.loads(body) for _, body in receiver.came)]


@pytest.fixture
def receiver(app: Loopback) -> Iterator[tuple[Receiver, str]]:
    """A receiver on a thread of its own, and its address."""
    found, ready, ended = Receiver(), threading.Event(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        async with serving(found) as url:
            address.append(url)
            ready.set()
            while not ended.is_set():
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    yield found, address[0]
    ended.set()
    thread.join()


def test_the_container_tells_the_webhook_and_the_caller_does_not_again(client: Client, receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    made = client.run(SMALL, webhook=url, output_to=f"s3://{BUCKET}/told")
    assert made.server["webhook_delivered"] is True
    assert events_of(found) == [("job.succeeded", made.job)]
    verify(found.came[0])
    (told,) = json.loads(found.came[0][1])["data"]["outputs"]
    assert (told["url"], told["sha256"]) == (made.output.url, made.output.sha256)
    assert "fox" not in json.dumps({**json.loads(found.came[0][1])["data"], "outputs": []})


def test_a_failure_is_told_by_the_container_too(client: Client, receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    with pytest.raises(RylaGenError) as caught:
        client.run(BROKEN, webhook=url)
    assert [kind for kind, _ in events_of(found)] == ["job.failed"]
    assert caught.value.details["webhook_delivered"] is True


def test_a_caller_that_is_gone_needs_nobody_to_tell_it(client: Client, receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    sent = client.hand_in(SMALL, webhook=url)
    client.close()
    assert wait_until(lambda: len(found.came) == 1)
    assert events_of(found) == [("job.succeeded", sent.job)]


def test_what_nobody_told_of_a_caller_that_is_gone_the_command_tells(
    app: Loopback,
    client: Client,
    receiver: tuple[Receiver, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, url = receiver
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    # The journal says that this process, which lives, sent the jobs: as on the machine of a caller that is gone it must not.
    monkeypatch.setattr("ryla_gen.history.processes._machine", lambda: "another machine")
    found.answers = [400]  # which the container does not send again
    missed = client.hand_in(SMALL, webhook=url).job
    assert wait_until(lambda: len(found.came) == 1)
    found.answers = [204]
    told = client.hand_in(SMALL, webhook=url).job
    assert wait_until(lambda: len(found.came) == 2)
    assert wait_until(lambda: all(call.outputs for call in app.calls))  # told first, answered after that
    client.close()
    monkeypatch.setattr("ryla_gen.history.processes._machine", lambda: "this machine")
    capsys.readouterr()
    assert command.run(["webhook", "send", "--json"]) == 0
    data = json.loads(capsys.readouterr().out.splitlines()[-1])["data"]
    assert (sorted(data["seen"]), data["open"], data["waiting"]) == (sorted([missed, told]), 0, 0)
    assert events_of(found) == [("job.succeeded", missed), ("job.succeeded", told), ("job.succeeded", missed)], "the other was told"
    assert len({headers["webhook-id"] for headers, _ in found.came}) == 2


def test_what_the_container_could_not_deliver_the_caller_tells(client: Client, receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    found.answers = [503, 204]
    made = client.run(SMALL, webhook=url)
    assert "webhook_delivered" not in made.server
    assert wait_until(lambda: len(found.came) >= 2)
    assert {headers["webhook-id"] for headers, _ in found.came} == {found.came[0][0]["webhook-id"]}, "a repeat says that it is one"


def test_a_container_tells_nothing_of_a_result_that_the_hook_of_its_caller_has_not_seen(
    client: Client, receiver: tuple[Receiver, str]
) -> None:
    found, url = receiver

    def refuse(output: Output, workflow: Workflow) -> None:
        raise RefusedError("Nothing today.")

    with Client("modal", on_output=refuse) as strict, pytest.raises(RefusedError):
        strict.run(SMALL, webhook=url)
    assert wait_until(lambda: len(found.came) == 1)
    with Client("modal", on_output=lambda output, workflow: None) as lenient:
        lenient.run(SMALL, webhook=url)
    assert wait_until(lambda: len(found.came) == 2)
    assert [kind for kind, _ in events_of(found)] == ["job.failed", "job.succeeded"]
