"""Syncs in processes of their own: killed, side by side, on a full disk, with a server that falls silent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import StorageFailedError
from ryla_gen.models.downloads import SyncProgress, status, sync
from ryla_gen.models.weights_table import Weights

from .conftest import Start, noise, row, until
from .hub import Hub

DATA = noise(800_000)


def arrived(models: Path) -> int:
    """The bytes of unfinished downloads that are in their files; the hub counts those that are still on their way too."""
    return sum(part.stat().st_size for part in models.rglob("*.part"))


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return dict(json.loads(out.splitlines()[-1]))


def test_a_killed_sync_goes_on_where_it_was(hub: Hub, models: Path, start: Start) -> None:
    data = noise(12_000_000)  # 30 s, of which the process lives the first
    hub.put("maker/model", "a.safetensors", data)
    hub.knobs.speed = 400_000
    process = start(row(data=data))
    until(lambda: arrived(models) > 400_000)
    process.kill()
    process.wait()
    assert not (models / "checkpoints/a.safetensors").exists()
    (left,) = status([row(data=data)], models)
    assert left.state == "partial" and left.bytes > 200_000
    hub.knobs.speed = None
    until(lambda: hub.seen.at_once == 0)
    report = sync([row(data=data)], models, endpoint=hub.url)
    assert [item.outcome for item in report.files] == ["resumed"]
    assert report.downloaded == len(data) - left.bytes and hub.seen.starts[-1] == left.bytes
    assert (models / "checkpoints/a.safetensors").read_bytes() == data


def test_a_sync_killed_just_before_the_end_asks_for_no_byte_again(hub: Hub, models: Path) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.cut_after, hub.knobs.cuts = 700_000, 1
    sync([row(data=DATA)], models, endpoint=hub.url, tries=1)
    (part,) = models.rglob("*.part")
    part.write_bytes(DATA)
    before = hub.sent
    assert sync([row(data=DATA)], models, endpoint=hub.url).ok and hub.sent == before


def test_two_syncs_at_once_share_the_work(hub: Hub, models: Path, start: Start) -> None:
    hub.knobs.speed = 1_600_000
    contents = {f"{number}.bin": noise(400_000, number) for number in range(4)}
    rows = [row(name, data) for name, data in contents.items()]
    for name, data in contents.items():
        hub.put("maker/model", name, data)
    first, second = start(*rows, workers=2), start(*reversed(rows), workers=2)
    reports = ended(first), ended(second)
    assert all(report["ok"] for report in reports)
    until(lambda: hub.seen.at_once == 0)
    assert hub.sent == 4 * 400_000, "each file came once"
    assert all((models / "checkpoints" / name).read_bytes() == data for name, data in contents.items())
    assert [item.state for item in status(rows, models)] == ["present"] * 4, "and no record was lost"


def test_a_killed_sync_leaves_no_lock_behind(hub: Hub, models: Path, start: Start) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.speed = 10_000  # 80 s: the holder has not finished when the other one has started, however busy the machine
    holder = start(row(data=DATA))
    until(lambda: arrived(models) > 0)
    waiting = start(row(data=DATA))
    until(lambda: hub.count("hub", "HEAD") == 2)
    holder.kill()
    hub.knobs.speed = None
    report = ended(waiting)
    assert report["ok"] and report["files"][0]["outcome"] == "resumed"
    assert (models / "checkpoints/a.safetensors").read_bytes() == DATA


def test_a_server_that_falls_silent_is_left_and_asked_again(hub: Hub, models: Path, start: Start) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    hub.knobs.stall_after, hub.knobs.stalls = 300_000, 1
    report = ended(start(row(data=DATA), environment={"HF_HUB_DOWNLOAD_TIMEOUT": "5"}))
    assert report["ok"] and hub.seen.starts[0] == 0 < hub.seen.starts[1]


def test_the_hubs_address_can_come_from_the_environment(hub: Hub, models: Path, start: Start) -> None:
    hub.put("maker/model", "a.safetensors", DATA)
    assert ended(start(row(data=DATA), endpoint=None, environment={"HF_ENDPOINT": hub.url}))["ok"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only an administrator can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_too_small_a_disk_is_said_before_the_first_byte(hub: Hub, small_disk: Path) -> None:
    big = noise(3_500_000)
    hub.put("maker/model", "a.safetensors", big)
    with pytest.raises(StorageFailedError, match=r"4\.\d MB free, and the downloads need 3\.5 MB more") as caught:
        sync([row(data=big)], small_disk / "models", endpoint=hub.url)
    assert caught.value.details["needed"] == len(big) and hub.count("store") == 0


def test_a_disk_that_fills_up_meanwhile_leaves_no_half_file_and_is_continued_later(hub: Hub, small_disk: Path) -> None:
    big, models = noise(2_500_000), small_disk / "models"
    hub.put("maker/model", "a.safetensors", big)
    hub.knobs.speed = 500_000  # five seconds, in the first of which the disk is filled
    filler = small_disk / "filler"

    def fill(progress: SyncProgress) -> None:
        if progress.bytes and not filler.exists():
            filler.write_bytes(bytes(2_500_000))

    wanted: Weights = row(data=big)
    report = sync([wanted], models, endpoint=hub.url, progress=fill)
    (item,) = report.failures
    assert isinstance(item.error, StorageFailedError) and "filled up" in item.error.message
    assert not (models / "checkpoints/a.safetensors").exists()
    filler.unlink()
    assert [item.outcome for item in sync([wanted], models, endpoint=hub.url).files] == ["resumed"]
    assert (models / "checkpoints/a.safetensors").read_bytes() == big
