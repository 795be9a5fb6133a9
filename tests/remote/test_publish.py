"""Events leave a container few, small and in order, and nothing they meet on their way reaches the generation."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import pytest
from PIL import Image

from ryla_gen.events import Preview, Progress, Queued, Started
from ryla_gen.remote.publish import PREVIEW_EDGE, Publisher, shrunk


class Partition:
    """A queue partition with a gate, and faults."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.items: list[dict[str, Any]] = []
        self.fault = fault
        self.puts = 0
        self.open = asyncio.Event()
        """Deliveries wait until it is set."""
        self.open.set()

    async def put(self, items: list[dict[str, Any]]) -> None:
        self.puts += 1
        await self.open.wait()
        if self.fault:
            raise self.fault
        self.items += items

    async def tried(self, puts: int) -> None:
        """Wait until so many deliveries have been tried."""
        async with asyncio.timeout(60):
            while self.puts < puts:
                await asyncio.sleep(0.01)

    async def holds(self, kind: str, **fields: Any) -> None:
        """Wait until the newest item is such an event."""
        async with asyncio.timeout(60):
            while not self.items or {**self.items[-1], "type": kind, **fields} != self.items[-1]:
                await asyncio.sleep(0.01)


def picture(edge: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((edge, edge // 2), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


async def test_a_fast_job_sends_ten_events_a_second_and_its_last_one_besides() -> None:
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
    await partition.holds("finished", state="succeeded")
    types = [item["type"] for item in partition.items]
    assert types[:2] == ["queued", "started"]
    assert types[-1] == "finished"
    assert set(types[2:-1]) == {"progress"}
    assert 5 <= len(types) <= seconds * 10 + 4, "two at the start, one progress and the end beside the ten a second"
    assert [item["seq"] for item in partition.items] == list(range(len(types))), "what was replaced left no gap"
    assert partition.items[-2]["step"] == 199, "the newest progress is the one that is sent"
    assert partition.items[1]["cold_start"] == 1.5


async def test_the_last_event_is_sent_at_once() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=True)
    for _ in range(3000):  # after so many it would pause for five minutes
        publisher.emit(Started, cold_start=0.0)
    await partition.holds("started")
    await publisher.finish("succeeded")
    await partition.holds("finished", state="succeeded")


async def test_previews_come_twice_a_second_and_small() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=True)
    data = picture(1024)
    began, shown = time.monotonic(), list[dict[str, Any]]()
    async with asyncio.timeout(60):
        while len(shown) < 3:
            publisher.emit(Preview, media_type="image/jpeg", data=data)
            await asyncio.sleep(0.02)
            shown = [item for item in partition.items if item["type"] == "preview"]
    assert time.monotonic() - began >= 1.0, "twice half a second between three"
    await publisher.finish("succeeded")
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
    partition = Partition(fault=ConnectionError("no queue"))
    publisher = Publisher("job", partition.put, previews=True)
    publisher.emit(Started, cold_start=0.0)
    await partition.tried(1)
    partition.fault = None  # it works again: what was lost stays lost, and a gap tells of it
    publisher.emit(Progress, fraction=0.5, step=1, steps=2, node="KSampler")
    await publisher.finish("succeeded")
    await partition.holds("finished", state="succeeded")
    assert [(item["seq"], item["type"]) for item in partition.items] == [(1, "progress"), (2, "finished")]


async def test_a_slow_queue_does_not_hold_up_the_reply_and_gets_its_last_event_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryla_gen.remote.publish.PUT_SECONDS", 120.0)  # however slow this machine is
    partition = Partition()
    partition.open.clear()
    publisher = Publisher("job", partition.put, previews=True)
    publisher.emit(Started, cold_start=0.0)
    await partition.tried(1)
    await publisher.finish("succeeded")
    assert partition.items == [], "the reply was not held up until the first event was there, or lost"
    partition.open.set()
    await partition.holds("finished", state="succeeded")
    assert [item["type"] for item in partition.items] == ["started", "finished"]


async def test_a_second_start_is_told_and_the_fraction_begins_again_and_never_falls_otherwise() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=True)
    for step, (start, fraction) in enumerate([(True, 0.6), (False, 0.5), (True, 0.1), (False, 0.7)]):
        if start:
            publisher.emit(Started, cold_start=0.0)
        publisher.emit(Progress, fraction=fraction, step=step, steps=4, node="KSampler")
        await partition.holds("progress", step=step)
    await publisher.finish("succeeded")
    told = [item.get("fraction", item["type"]) for item in partition.items]
    assert told == ["started", 0.6, 0.6, "started", 0.1, 0.7, "finished"]
    assert [item["seq"] for item in partition.items] == list(range(7))


async def test_a_container_that_has_to_stop_publishes_no_end_and_the_next_one_goes_on_counting() -> None:
    partition = Partition()
    first = Publisher("job", partition.put, previews=False)
    first.emit(Started, cold_start=0.0)
    await first.finish(None)
    second = Publisher("job", partition.put, previews=False, first=len(partition.items) + 100)
    second.emit(Started, cold_start=2.0)
    await second.finish("succeeded")
    assert [item["type"] for item in partition.items] == ["started", "queued", "started", "finished"]
    assert [item["seq"] for item in partition.items] == [0, 1, 102, 103]


async def test_an_event_that_cannot_be_made_takes_none_of_those_behind_it_along() -> None:
    partition = Partition()
    publisher = Publisher("job", partition.put, previews=True)
    publisher.emit(Preview, media_type="image/jpeg", data=None)  # no bytes: reading it raises a TypeError
    await publisher.finish("succeeded")
    await partition.holds("finished", state="succeeded")


def test_a_preview_that_is_no_picture_is_left_out() -> None:
    assert shrunk(b"not a picture", "image/jpeg") is None
    small = picture(200)
    assert shrunk(small, "image/jpeg") == ("image/jpeg", small), "what is small enough stays as it is"
