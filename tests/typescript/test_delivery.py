"""A bucket and a webhook asked for from TypeScript: the container uploads and tells, and the reply has addresses."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator

import pytest
import standardwebhooks

from ryla_gen.delivery.signatures import new_secret
from tests.delivery.conftest import BUCKET, Storage, bucket_on, moto
from tests.delivery.receiver import Receiver, serving
from tests.modal_loopback import Loopback, minimal_environment
from tests.suite.conftest import IN_CONTAINERS, deployed

from .conftest import Scenario

__all__ = ["moto"]
SMALL = {"prompt": "a red fox in the snow", "width": 256, "height": 256, "steps": 1}
TINY = {"width": 256, "height": 256, "steps": 1}
SIGNED_WITH = new_secret()


@pytest.fixture(scope="module")
def bucket(moto: str) -> Storage:
    return bucket_on(moto)


@pytest.fixture(scope="module")
def app(bucket: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """The app, whose containers have the bucket's credentials and the webhook's secret; the caller has neither."""
    secret = bucket.environment | {"RYLA_GEN_ALLOW_PRIVATE_ADDRESSES": "true", "RYLA_GEN_WEBHOOK_SECRET": SIGNED_WITH}
    python = minimal_environment(tmp_path_factory.mktemp("python"), *IN_CONTAINERS)
    with deployed(python, tmp_path_factory.mktemp("modal"), secrets={"delivery": secret}) as loopback:
        yield loopback


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    """A receiver on a thread of its own, and its address."""
    found, ready = Receiver(), threading.Event()
    address: list[str] = []
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with serving(found) as url:
            ended = asyncio.Event()
            ends.append((asyncio.get_running_loop(), ended))
            address.append(url)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(240)
    yield found, address[0]
    loop, ended = ends[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join()


def test_the_file_goes_to_the_bucket_and_its_address_to_the_caller(node: Scenario, bucket: Storage) -> None:
    made = node("generate", workflow="flux", options=SMALL, call={"outputTo": f"s3://{BUCKET}/fox"})
    (item,) = made["outputs"]
    held = bucket.read(item["url"].removeprefix(f"s3://{BUCKET}/"))
    assert item["url"].startswith(f"s3://{BUCKET}/fox/{made['job']}/flux-")
    assert (item["sha256"], item["size"], item["width"]) == (hashlib.sha256(held).hexdigest(), len(held), 256)
    assert "data" not in item and "image" not in made and made["images"] == []


def test_a_list_of_signed_addresses_takes_a_file_each(node: Scenario, bucket: Storage) -> None:
    signed = [bucket.signed("one.png"), bucket.signed("two.png")]
    made = node("generate", workflow="flux", options={**SMALL, "batchSize": 2}, call={"outputTo": signed})
    assert [item["url"] for item in made["outputs"]] == [f"{bucket.url}/{BUCKET}/one.png", f"{bucket.url}/{BUCKET}/two.png"]
    assert [hashlib.sha256(bucket.read(key)).hexdigest() for key in ("one.png", "two.png")] == [
        item["sha256"] for item in made["outputs"]
    ]


def test_what_could_not_be_uploaded_comes_as_a_buffer_and_a_wrong_place_is_an_error(node: Scenario) -> None:
    made = node("generate", workflow="flux", options=SMALL, call={"outputTo": "s3://nobodys-bucket/fox"})
    assert made["image"] == made["outputs"][0]["data"] and made["image"].startswith(b"\x89PNG")
    assert "not_uploaded" in [warning["code"] for warning in made["warnings"]]
    error = node("generate", workflow="flux", options=SMALL, call={"outputTo": "/etc/passwd"})["error"]
    assert (error["code"], "output_to" in error["message"]) == ("invalid_input", True)


def test_the_webhook_is_told_by_the_container(node: Scenario, receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    made = node("generate", workflow="flux", options=SMALL, call={"webhook": url})
    assert made["server"]["webhook_delivered"] is True
    ((headers, body),) = found.came
    standardwebhooks.Webhook(SIGNED_WITH).verify(body, headers)
    assert "red fox" not in body.decode()
    node("generate", workflow="flux", options=SMALL, call={"webhook": url, "webhookPrompt": True})
    assert "red fox" in found.came[-1][1].decode()


def test_a_job_runner_of_a_backend_passes_both_on(node: Scenario, receiver: tuple[Receiver, str], bucket: Storage) -> None:
    found, url = receiver
    settings = {"size": TINY, "baseImages": 2, "outputTo": f"s3://{BUCKET}/mia", "webhook": url}
    job = node("jobId", method="submitBaseImages", input={"prompt": "a fox", "nsfw": False, "seed": 7}, settings=settings)
    output = node("jobStatus", id=job)["output"]
    assert output["seeds"] == ["7", "8"] and output["prompts"] == ["a fox"] * 2
    held = bucket.keys()
    assert [address.removeprefix(f"s3://{BUCKET}/") in held for address in output["images"]] == [True, True]
    told = [json.loads(body)["data"] for _, body in found.came]
    assert sorted(item["outputs"][0]["url"] for item in told) == sorted(output["images"])
