"""Events leave a container few, small and in order, and nothing they meet on their way reaches the generation."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

from PIL import Image

from ryla_gen.events import Preview, Progress, Queued, Started
from ryla_gen.remote.publish import PREVIEW_EDGE, Publisher, shrunk


class Partition:
    """A queue partition with a clock, and faults."""

    def __init__(self, delay: float = 0.0, fault: Exception | None = None) -> None:
        self.items: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.delay, self.fault = delay, fault

    async def put(self, items: list[dict[str, Any]]) -> None:
        await asyncio.sleep(self.delay)
        if self.fault:
            raise self.fault
        self.items += items
        self.times += [time.monotonic()] * len(items)


def picture(edge: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((edge, edge // 2), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


async def test_a_fast_job_sends_ten_events_a_second_and_its_last_one_at_once() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=True)
    began = time.monotonic()
    publisher.emit(Queued, position=0)
    publisher.emit(Started, cold_start=1.5)
    for step in range(200):
        publisher.emit(Progress, fraction=step / 200, step=step, steps=200, node="KSampler")
        await asyncio.sleep(0.005)
    seconds = time.monotonic() - began
    await publisher.finish("succeeded")
    assert time.monotonic() - began - seconds < 0.1
    types = [item["type"] for item in partition.items]
    assert types[:2] == ["queued", "started"]
    assert types[-1] == "finished"
    assert set(types[2:-1]) == {"progress"}
    assert 5 <= len(types) <= seconds * 10 + 4, "two at the start, one progress and the end beside the ten a second"
    assert [item["seq"] for item in partition.items] == list(range(len(types))), "what was replaced left no gap"
    assert partition.items[-2]["step"] == 199, "the newest progress is the one that is sent"
    assert partition.items[1]["cold_start"] == 1.5


async def test_previews_come_twice_a_second_and_small() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=True)
    data = picture(1024)
    began = time.monotonic()
    while time.monotonic() - began < 1.3:
        publisher.emit(Preview, media_type="image/jpeg", data=data)
        await asyncio.sleep(0.02)
    await publisher.finish("succeeded")
    shown = [item for item in partition.items if item["type"] == "preview"]
    assert len(shown) == 3
    for item in shown:
        assert max(Image.open(io.BytesIO(item["data"])).size) == PREVIEW_EDGE


async def test_previews_nobody_asked_for_are_not_sent() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=False)
    publisher.emit(Preview, media_type="image/jpeg", data=picture(64))
    await publisher.finish("failed")
    assert [item["type"] for item in partition.items] == ["finished"]


async def test_without_events_nothing_is_done_at_all() -> None:
    publisher = Publisher("job", None, previews=True)
    before = asyncio.all_tasks()
    publisher.emit(Started, cold_start=0.0)
    await publisher.finish("succeeded")
    assert asyncio.all_tasks() == before


async def test_a_broken_queue_loses_events_and_nothing_else() -> None:
    publisher = Publisher("job", Partition(fault=ConnectionError("no queue")).put, previews=True)
    publisher.emit(Started, cold_start=0.0)
    await asyncio.sleep(0.05)
    publisher.emit(Progress, fraction=0.5, step=1, steps=2, node="KSampler")
    await publisher.finish("succeeded")


async def test_a_slow_queue_does_not_hold_up_the_reply_and_gets_its_last_event_later() -> None:
    partition = Partition(delay=0.6)
    publisher = Publisher("job", partition.put, previews=True)
    publisher.emit(Started, cold_start=0.0)
    await asyncio.sleep(0.01)
    began = time.monotonic()
    await publisher.finish("succeeded")
    assert time.monotonic() - began < 0.4
    await asyncio.sleep(1.4)
    assert [item["type"] for item in partition.items] == ["started", "finished"]


async def test_after_a_second_start_the_fraction_does_not_fall_and_started_is_not_repeated() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=True)
    for fraction in (0.6, 0.1, 0.7):
        publisher.emit(Started, cold_start=0.0)
        publisher.emit(Progress, fraction=fraction, step=1, steps=2, node="KSampler")
        await asyncio.sleep(0.35)
    await publisher.finish("succeeded")
    assert [item["fraction"] for item in partition.items if item["type"] == "progress"] == [0.6, 0.6, 0.7]
    assert [item["type"] for item in partition.items].count("started") == 1


def test_a_preview_that_is_no_picture_is_left_out() -> None:
    assert shrunk(b"not a picture", "image/jpeg") is None
    small = picture(200)
    assert shrunk(small, "image/jpeg") == ("image/jpeg", small), "what is small enough stays as it is"
