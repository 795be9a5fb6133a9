"""Results that go to a bucket or to signed addresses, on backends whose files this process has."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ryla_gen import AsyncClient, Client, Flux, Settings
from ryla_gen.delivery import uploads
from ryla_gen.delivery.uploads import NOT_UPLOADED, uploaded
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import InvalidInputError
from ryla_gen.events import FINAL_STATES
from ryla_gen.media.provenance import read_mark
from ryla_gen.media.xmp import SOURCE_TYPES
from ryla_gen.tools.provenance import make_certificate
from ryla_gen.tools.provenance.verify import read_manifest

from .conftest import Storage
from .receiver import Receiver, serving

SMALL = {"width": 256, "height": 256, "steps": 1, "seed": 7}


def small(**fields: object) -> Flux:
    return Flux.from_plain({"prompt": "a fox", **SMALL, **fields}, trusted=True)


def private_client() -> Client:
    """A client that asks addresses of this machine."""
    return Client(settings=Settings.load(backend="emulator", allow_private_addresses=True))


def test_the_files_are_in_the_bucket_and_the_result_says_where(storage: Storage) -> None:
    with Client("emulator") as client:
        kept = client.run(small())
        made = client.run(small(), output_to="s3://pictures/fox/today/")
        record = client.history.get(made.job)
    key = f"fox/today/{made.job}/flux-7-0.png"
    held = storage.read(key)
    assert storage.keys() == [key]
    assert storage.media_type(key) == "image/png"
    item = made.output
    assert (item.url, item.data) == (f"s3://pictures/{key}", b"")
    assert (item.sha256, item.size, item.bytes_made) == (hashlib.sha256(held).hexdigest(), len(held), len(held))
    assert (item.width, item.height) == (256, 256)
    assert len(held) == pytest.approx(len(kept.output.data), rel=0.05), "the very file that would have come back"
    assert record is not None and record.outputs[0]["url"] == item.url and record.outputs[0]["bytes"] == len(held)
    assert made.warnings == kept.warnings


def test_what_goes_into_the_bucket_is_marked_and_signed(storage: Storage, clean_environment: Path) -> None:
    make_certificate(clean_environment / "provenance")
    with Client(settings=Settings.load(backend="emulator", provenance_sign=True)) as client:
        made = client.run(small(), output_to="s3://pictures/fox")
    (key,) = storage.keys()
    held = storage.read(key)
    assert read_mark(held, "image/png")[0] == f"{SOURCE_TYPES}algorithmicMedia"
    manifest = read_manifest(held, "image/png")
    assert manifest is not None and manifest.seal == "valid"
    assert made.output.sha256 == hashlib.sha256(held).hexdigest()
    assert not {"unsigned", NOT_UPLOADED} & {notice.code for notice in made.warnings}


def test_what_is_elsewhere_can_be_neither_opened_nor_saved_and_the_address_is_named(storage: Storage, tmp_path: Path) -> None:
    with Client("emulator") as client:
        made = client.run(small(), output_to="s3://pictures")
    for use in (made.output.image, lambda: made.save(tmp_path), lambda: made.output.save(tmp_path), lambda: made.image):
        with pytest.raises(InvalidInputError, match=f"s3://pictures/{made.job}/flux-7-0.png"):
            use()
    assert list(tmp_path.glob("*.png")) == []
    assert made._repr_png_() is None
    assert f"s3://pictures/{made.job}" in made._repr_html_()


@pytest.mark.parametrize("fault", ["no such bucket", "no answer", "no credentials"])
def test_a_file_that_does_not_arrive_stays_in_the_result(storage: Storage, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = "s3://pictures/fox"
    if fault == "no such bucket":
        target = "s3://nobodys-bucket/fox"
    elif fault == "no answer":
        monkeypatch.setattr("ryla_gen.delivery.uploads.RETRY", {"max_retries": 0})
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    else:
        monkeypatch.setattr("ryla_gen.delivery.uploads.RETRY", {"max_retries": 0})
        monkeypatch.setattr("ryla_gen.delivery.uploads.SECONDS", 20.0)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        # Without keys the library asks the machine's metadata service, which is not there.
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with Client("emulator") as client:
        made = client.run(small(), output_to=target)
    assert made.output.url is None
    assert made.image.size == (256, 256)
    (notice,) = [item for item in made.warnings if item.code == NOT_UPLOADED]
    assert f"flux-7-0.png was not uploaded to {target}" in notice.message
    assert "It is in this result" in notice.message
    said = {"no such bucket": "there is no such bucket (", "no answer": "the storage cannot be reached ("}
    said["no credentials"] = "there are no credentials in the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    assert said.get(fault, "") in notice.message
    assert "<" not in notice.message, "what the server wrote may repeat what was signed"
    assert "a-secret-of-the-bucket" not in notice.message


def test_signed_addresses_take_one_file_each(storage: Storage) -> None:
    signed = [storage.signed("one.png"), storage.signed("two.png")]
    with private_client() as client:
        made = client.run(small(batch_size=2), output_to=signed)
    assert storage.keys() == ["one.png", "two.png"]
    assert [item.url for item in made.outputs] == [f"{storage.url}/pictures/one.png", f"{storage.url}/pictures/two.png"]
    assert hashlib.sha256(storage.read("two.png")).hexdigest() == made.outputs[1].sha256


def test_more_files_than_signed_addresses_lose_nothing(storage: Storage, tmp_path: Path) -> None:
    with private_client() as client:
        made = client.run(small(batch_size=2), output_to=[storage.signed("one.png")])
    first, second = made.outputs
    assert first.url is not None and second.url is None
    assert second.image().size == (256, 256)
    assert [path.name for path in made.save(f"{tmp_path}/")] == ["flux-7-1.png"], "what is here can be saved"
    assert [item.message for item in made.warnings if item.code == NOT_UPLOADED] == [
        "flux-7-1.png was not uploaded to its signed address: the job made more files than the 1 signed addresses of output_to. "
        "It is in this result."
    ]


def test_a_signed_address_of_a_private_network_is_not_asked(storage: Storage) -> None:
    with Client("emulator") as client:
        made = client.run(small(), output_to=storage.signed("one.png"))
    assert storage.keys() == []
    assert made.output.url is None
    assert NOT_UPLOADED in [item.code for item in made.warnings]


async def test_a_fault_that_nobody_foresaw_costs_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has been paid for: it stays in the result, whatever the upload ran into."""
    async with AsyncClient("emulator") as client:
        made = await client.run(small())
    signed = "https://a.example/x?X-Amz-Signature=secret"
    monkeypatch.setitem(sys.modules, "aiohttp", None)  # such as a broken installation
    with_why = await uploaded(made, signed)
    assert with_why.outputs == made.outputs
    (notice,) = (item for item in with_why.warnings if item.code == NOT_UPLOADED)
    assert "secret" not in notice.message
    of_newer = await uploaded(made, "az://of-a-newer-version/prefix")
    assert of_newer.outputs == made.outputs and NOT_UPLOADED in [item.code for item in of_newer.warnings]


async def test_a_result_whose_upload_is_cut_off_is_not_canceled_and_the_next_process_gets_it(clean_environment: Path) -> None:
    """It is paid for, and its server still has it."""
    receiver = Receiver(answers=["hang"])
    with Emulator() as server:
        server.start()
        settings = Settings.load(backend="comfyui", comfyui_url=server.url, allow_private_addresses=True)
        async with serving(receiver) as url:
            async with AsyncClient(settings=settings) as client:
                job = await client.submit(small(), output_to=url.replace("/hook", "/file"))
                await asyncio.wait_for(receiver.arrived.wait(), 240)
                job._outcome.cancel()  # as the end of the event loop does, where nobody closes the client
                await asyncio.wait([job._outcome])
                record = client.history.get(job.id)
                assert record is not None and record.state not in FINAL_STATES
            async with AsyncClient(settings=settings) as later:
                made = await (await later.jobs.get(job.id)).result()
                record = later.history.get(job.id)
        assert record is not None and record.state == "succeeded"
        assert made.image.size == (256, 256)
        assert server.stats.prompts == 1


async def test_all_the_files_of_a_job_share_the_time_of_their_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve files, four at once, at a receiver that takes none: each waited for its own five minutes, while a GPU is paid for."""
    monkeypatch.setattr(uploads, "SECONDS", 1.0)
    receiver = Receiver(answers=["hang"])
    async with AsyncClient("emulator") as client, serving(receiver) as url:
        made = await client.run(small())
        many = replace(made, outputs=made.outputs * 12)
        kept = await uploaded(many, [url] * 12, private=True)
        assert len(receiver.came) <= 4, "the time of the first four was that of the others too"
    assert kept.outputs == many.outputs
    assert [item.code for item in kept.warnings].count(NOT_UPLOADED) == 12


def test_a_signature_stands_nowhere(storage: Storage, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    signed = storage.signed("one.png")
    secret = signed.partition("X-Amz-Signature=")[2]
    assert len(secret) > 20
    with private_client() as client:
        made = client.run(small(), output_to=[signed])
        client.run(small(), output_to=signed)
        failed = client.run(small(seed=8), output_to=[storage.signed("two.png").replace("pictures", "nobodys")])
        client.run(small(seed=9), output_to="s3://pictures")
        file = client.settings.history_path
    shown = f"{made!r}{made.output!r}{failed!r}{made.metadata}{failed.warnings}" + "".join(capfd.readouterr())
    stored = b"".join(path.read_bytes() for path in file.parent.rglob("*") if path.is_file())
    for text in (secret, "X-Amz-Signature", "a-secret-of-the-bucket"):
        assert text not in shown
        assert text.encode() not in stored
    with sqlite3.connect(file) as journal:
        assert journal.execute("SELECT count(*) FROM jobs").fetchone() == (4,)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "pictures",
        "file:///etc",
        "/etc/passwd",
        "s3://",
        "s3://a",
        "s3:///x",
        "s3://pictures/../x",
        "s3://pictures/a//b",
        "s3://pictures/a?x=1",
        "ftp://pictures/a",
        "s3://pic tures",
        "https://",
        "http://[",
        [],
        ["s3://pictures/a"],
        [1],
        7,
        {},
        "s3://pictures/a\nb",
        ["https://a.example/x y"],
        ["https://a.example"] * 101,
    ],
)
def test_no_place_is_refused_before_anything_runs(given: object) -> None:
    with Client("emulator") as client:
        with pytest.raises(InvalidInputError, match="output_to"):
            client.run(small(), output_to=given)  # type: ignore[arg-type]
        assert client.history.list() == []


def test_a_name_that_no_bucket_can_have_is_told_as_one() -> None:
    with Client("emulator") as client, pytest.raises(InvalidInputError, match="'b' is no bucket's name") as caught:
        client.run(small(), output_to="s3://b/p")
    assert "3 to 222" in caught.value.hint


def test_without_the_extra_a_bucket_is_refused_before_anything_runs(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "obstore.py").write_text("raise ImportError('not installed')\n")
    script = """
from ryla_gen import Client, Flux, Settings
from ryla_gen.errors import BackendNotConfiguredError
with Client("emulator") as client:
    try:
        client.run(Flux(prompt="x"), output_to="s3://pictures/x")
    except BackendNotConfiguredError as error:
        print(len(client.history.list()), error)
"""
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 Uploading to a bucket needs the package obstore.")
    assert "pip install 'ryla-gen[buckets]'" in done.stdout


def test_the_command_prints_the_address_and_writes_no_file(storage: Storage, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ryla_gen_cli", "run", "flux", "a fox", "--seed", "7", "--width", "256", "--height", "256"]
    command += ["--output-to", "s3://pictures/cli", "--backend", "emulator"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    (key,) = storage.keys()
    assert plain.stdout.strip() == f"s3://pictures/{key}"
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, cwd=tmp_path)
    (item,) = json.loads(as_json.stdout.splitlines()[-1])["data"]["outputs"]
    assert item["path"] is None
    assert item["url"].startswith("s3://pictures/cli/") and item["bytes"] > 100 and len(item["sha256"]) == 64
    assert list(tmp_path.rglob("*.png")) == []
    both = subprocess.run([*command, "-o", "x.png"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert both.returncode == 2 and "--output-to" in both.stderr
