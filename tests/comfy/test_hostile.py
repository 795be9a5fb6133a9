"""A server that sends what no server should: each oddity is one knob of the stub.

The job that is hit ends, well or with a typed error, within its limits, and a second job on the same client is untouched.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import CustomWorkflow
from ryla_gen.backends.comfyui import ComfyBackend
from ryla_gen.comfy import transport
from ryla_gen.comfy.client import ComfyClient
from ryla_gen.comfy.health import examine_queue
from ryla_gen.engine import Engine
from ryla_gen.errors import GenerationTimeoutError, InternalError, NodeFailedError, RylaGenError, ServerUnhealthyError
from ryla_gen.events import Event, Progress, Queued, Started
from ryla_gen.media.origin import MADE_BY_MODEL, Mark
from ryla_gen.results import Generation
from tests.conftest import encoded, portrait

from .stub_server import StubServer

PICTURE = encoded(portrait())
MADE = Mark(MADE_BY_MODEL)
MARKED = MADE.write(PICTURE, "image/png")
"""As it is in a result, where it says that a model made it."""
LIMIT = 60.0
"""Seconds that a graph may run here."""
PATIENCE = 120.0
"""Seconds after which a job counts as hanging: far above every limit here, for busy machines."""
SAVES = {"9": {"class_type": "SaveImage", "inputs": {}}}


def start() -> dict[str, Any]:
    return {"type": "execution_start", "data": {"timestamp": 1_700_000_000_000}}


def executing(node: str) -> dict[str, Any]:
    return {"type": "executing", "data": {"node": node, "display_node": node}}


def executed(node: str, **output: Any) -> dict[str, Any]:
    return {"type": "executed", "data": {"node": node, "display_node": node, "output": output}}


def saved(node: str, *names: str) -> dict[str, Any]:
    return executed(node, images=[{"filename": name, "subfolder": "", "type": "output"} for name in names])


def success() -> dict[str, Any]:
    return {"type": "execution_success", "data": {"timestamp": 1_700_000_001_000}}


RUN = [start(), executing("9"), saved("9", "well.png"), success()]


def frame(kind: str, **data: Any) -> Callable[[str], Sequence[str | bytes]]:
    return lambda prompt_id: [json.dumps({"type": kind, "data": {"prompt_id": prompt_id, **data}})]


def binary(head: Any, data: bytes = b"\x89PNG") -> Callable[[str], Sequence[str | bytes]]:
    def made(prompt_id: str) -> Sequence[bytes]:
        text = (
            head
            if isinstance(head, bytes)
            else json.dumps({"prompt_id": prompt_id, **head} if isinstance(head, dict) else head).encode()
        )
        return [b"\0\0\0\4" + len(text).to_bytes(4, "big") + text + data]

    return made


class Bench:
    """An engine on a stub server."""

    def __init__(self, stub: StubServer, client: ComfyClient, queue_timeout: float) -> None:
        self.stub = stub
        self.client = client
        self.engine = Engine(client, backend="comfyui", queue_timeout=queue_timeout)
        self.events: list[Event] = []

    async def run(self, job: str, graph: dict[str, Any] = SAVES, timeout: float = LIMIT) -> Generation:
        def emit(kind: type[Event], **fields: Any) -> None:
            self.events.append(kind(job=job, **fields))

        async with asyncio.timeout(PATIENCE):
            return await self.engine.run(CustomWorkflow(graph=graph), job=job, emit=emit, timeout=timeout)

    async def begun(self, job: str) -> None:
        """Wait until the client has heard that a job started: its limit counts from there."""
        async with asyncio.timeout(PATIENCE):
            while not any(isinstance(event, Started) and event.job == job for event in self.events):
                await asyncio.sleep(0.01)

    async def ending(self, job: str, **options: Any) -> Generation | RylaGenError:
        """How a job ends; one that hangs, or raises what is not ours, fails the test."""
        try:
            return await self.run(job, **options)
        except RylaGenError as error:
            assert not isinstance(error, InternalError), error
            return error

    async def beside(self, **options: Any) -> tuple[Generation | RylaGenError, Generation]:
        """Run the job that is hit, and one beside it."""
        hit, well = await asyncio.gather(self.ending("odd-1", **options), self.run("well-1"))
        return hit, well


@asynccontextmanager
async def benches(stub: StubServer, *, queue_timeout: float = 30.0, **options: Any) -> AsyncIterator[Bench]:
    stub.messages = stub.messages or RUN
    stub.files[("well.png", "", "output")] = PICTURE
    async with ComfyClient(stub.url, **{"gone_after": 60.0, "silence": 0.2, **options}) as client:
        yield Bench(stub, client, queue_timeout)


@pytest.fixture
async def stub() -> AsyncIterator[StubServer]:
    async with StubServer() as server:
        yield server


def is_well(generation: Generation | RylaGenError) -> None:
    assert isinstance(generation, Generation), generation
    assert [item.data for item in generation.outputs] == [MARKED]


FRAMES = {
    "progress without max": frame("progress", node="9", value=1),
    "progress without value": frame("progress", node="9", max=2),
    "progress in words": frame("progress", node="9", value="1", max="2"),
    "progress in truths": frame("progress", node="9", value=True, max=True),
    "progress that is no number": frame("progress", node="9", value=float("nan"), max=2),
    "progress up to no number": frame("progress", node="9", value=1, max=float("nan")),
    "progress without end": frame("progress", node="9", value=float("inf"), max=float("inf")),
    "progress below zero": frame("progress", node="9", value=-5, max=2),
    "progress down to below zero": frame("progress", node="9", value=1, max=-2),
    "progress beyond all doubles": frame("progress", node="9", value=10**400, max=10**400),
    "progress of a list": frame("progress", node=["9"], value=1, max=2),
    "nodes that are a text": frame("execution_cached", nodes="789"),
    "nodes that are lists": frame("execution_cached", nodes=[["7"]]),
    "a node that is a truth": frame("executing", node=True),
    "an output that is a list": frame("executed", node="9", output=[1]),
    "outputs that are no lists": frame("executed", node="9", output={"images": 7, "text": {"a": 1}}),
    "files without names": frame("executed", node="9", output={"images": [{"filename": 7}, {"filename": ""}, 7, None, []]}),
    "a file of no folder": frame("executed", node="9", output={"images": [{"filename": "x", "type": "../etc"}]}),
    "a name with half a character": frame("execution_cached", nodes=["\ud800"]),
    "a status that is a list": lambda _: [json.dumps({"type": "status", "data": {"status": []}})],
    "a status beyond all counts": lambda _: [
        json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 10**40}}}})
    ],
    "a type that is a list": lambda _: [json.dumps({"type": ["progress"], "data": {}})],
    "no JSON": lambda _: ["}{"],
    "a number of 5,000 digits": lambda _: ['{"type": "progress", "data": {"value": ' + "9" * 5000 + "}}"],
    "JSON that nests": lambda _: ["[" * 100_000],
    "an empty picture": lambda _: [b""],
    "a picture of three bytes": lambda _: [b"\0\0\0"],
    "a picture whose head is a list": binary([]),
    "a picture whose head is not JSON": binary(b"{"),
    "a picture whose head is longer than itself": lambda _: [b"\0\0\0\4\xff\xff\xff\xff"],
    "a picture of a type that is a list": binary({"node_id": "9", "image_type": ["image/png"]}),
    "a picture that is a page": binary({"node_id": "9", "image_type": "text/html"}),
    "a picture of a node that is a list": binary({"node_id": ["9"]}),
    "a picture of an unknown format": lambda _: [b"\0\0\0\1\0\0\0\7x"],
}


@pytest.mark.parametrize("name", FRAMES)
async def test_a_frame_that_does_not_fit_costs_no_job(stub: StubServer, name: str) -> None:
    stub.odd_frames = FRAMES[name]
    async with benches(stub) as bench:
        hit, well = await bench.beside()
        is_well(hit)
        is_well(well)
        for event in bench.events:
            if isinstance(event, Progress):
                assert 0 <= event.fraction <= 1
                assert 0 <= event.step <= 2**53
            json.dumps(event.to_data(), allow_nan=False, default=str)


async def test_what_cannot_be_read_is_counted_and_told_once_of_each_kind(
    stub: StubServer, caplog: pytest.LogCaptureFixture
) -> None:
    stub.odd_frames = lambda prompt_id: [
        *FRAMES["progress without max"](prompt_id) * 5,
        *FRAMES["nodes that are a text"](prompt_id),
    ]
    async with benches(stub) as bench:
        with caplog.at_level(logging.WARNING, "ryla_gen.comfy"):
            is_well(await bench.run("odd-1"))
        assert bench.client.dropped_frames == {"progress": 5, "execution_cached": 1}
    assert [record.args[0] for record in caplog.records if record.args] == ["progress", "execution_cached"]  # type: ignore[index]


async def test_progress_beyond_its_end_is_taken_to_its_end(stub: StubServer) -> None:
    stub.messages = [start(), executing("9"), {"type": "progress", "data": {"node": "9", "value": 9, "max": 4}}, *RUN[2:]]
    async with benches(stub) as bench:
        is_well(await bench.run("well-1"))
        assert [(event.step, event.steps) for event in bench.events if isinstance(event, Progress) and event.steps] == [(4, 4)]


ENTRIES = {
    "a text": "done",
    "nothing": {},
    "a status that is a list": {"status": [], "outputs": {"9": {"images": [{"filename": "well.png"}]}}},
    "messages that are a number": {
        "status": {"completed": True, "messages": 7},
        "outputs": {"9": {"images": [{"filename": "well.png"}]}},
    },
    "messages of odd shapes": {
        "status": {"messages": [7, [], ["executed"], [["x"], {}], ["execution_success", 7]]},
        "outputs": {"9": 7},
    },
    "outputs that are a list": {"status": {"completed": True}, "outputs": [["9", {}]], "meta": 7},
    "a meta of numbers": {"outputs": {"9": {"images": [{"filename": "well.png"}]}}, "meta": {"9": {"display_node": {}}}},
    "a prompt that is a text": {"prompt": "graph", "outputs": {"9": {"images": [{"filename": "well.png"}]}}},
}


@pytest.mark.parametrize("name", ENTRIES)
async def test_a_history_entry_of_another_shape_costs_no_job_after_a_reconnect(stub: StubServer, name: str) -> None:
    stub.odd_entry, stub.hold_at = ENTRIES[name], "executed"
    async with benches(stub) as bench:
        hit = asyncio.create_task(bench.ending("odd-1"))
        well = asyncio.create_task(bench.run("well-1", timeout=PATIENCE))
        await stub.held.wait()
        stub.drop_sockets()
        stub.go_on()
        assert isinstance(await hit, Generation | RylaGenError)
        is_well(await well)


@pytest.mark.parametrize("name", ENTRIES)
async def test_a_history_entry_of_another_shape_is_a_typed_end_when_a_job_is_resumed(stub: StubServer, name: str) -> None:
    stub.odd_entry = ENTRIES[name]
    async with benches(stub) as bench:
        await bench.ending("odd-1")
        workflow = CustomWorkflow(graph=SAVES)
        try:
            async with asyncio.timeout(PATIENCE):
                is_well(await bench.engine.resume(workflow, job="odd-1", emit=lambda kind, **fields: None))
        except RylaGenError as error:
            assert not isinstance(error, InternalError), error


# -- bodies without measure ----------------------------------------------------------------------------


@asynccontextmanager
async def most_held() -> AsyncIterator[list[int]]:
    """Sample what this process holds in memory; the list's one number is the most above what it held before, in bytes."""
    before, most = held(), [0]

    async def sample() -> None:
        while True:
            most[0] = max(most[0], held() - before)
            await asyncio.sleep(0.005)

    sampling = asyncio.create_task(sample())
    try:
        yield most
    finally:
        sampling.cancel()


STATM = Path("/proc/self/statm")


def held() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["bomb", "endless", "huge"])
@pytest.mark.parametrize("place", ["view", "nodes"])
async def test_an_answer_without_measure_ends_typed_and_holds_little_memory(stub: StubServer, place: str, kind: str) -> None:
    stub.odd_body = f"{place} {kind}"
    stub.messages = [start(), executing("9"), saved("9", "odd.png"), success()]
    async with benches(stub, answer_within=PATIENCE, file_within=PATIENCE) as bench:
        async with most_held() as most:
            error = await bench.ending("odd-1")
        assert isinstance(error, ServerUnhealthyError)
        limit = min(transport.UNDECLARED_LIMIT, transport.NODES_LIMIT if place == "nodes" else transport.FILE_LIMIT)
        assert most[0] < 2 * limit + 64 * 2**20  # the body once, room to grow, and what compresses on this side
        stub.odd_body, stub.messages = "", RUN
        is_well(await bench.run("well-1"))


@pytest.mark.parametrize("place", ["view", "nodes"])
async def test_an_answer_that_drips_ends_at_its_deadline(stub: StubServer, place: str) -> None:
    stub.odd_body = f"{place} drip"
    stub.messages = [start(), executing("9"), saved("9", "odd.png"), success()]
    async with benches(stub, answer_within=1.0, file_within=1.0) as bench:
        error = await bench.ending("odd-1")
        assert isinstance(error, ServerUnhealthyError) and "within 1 s" in error.message
        stub.odd_body, stub.messages = "", RUN
        is_well(await bench.run("well-1"))


@pytest.mark.parametrize("kind", ["bomb", "drip"])
async def test_a_history_entry_without_measure_hides_nothing_of_the_others(stub: StubServer, kind: str) -> None:
    stub.odd_body, stub.hold_at = f"history {kind}", "executed"
    async with benches(stub, answer_within=2.0) as bench:
        hit = asyncio.create_task(bench.ending("odd-1", timeout=3.0))  # its end is told nowhere else, so this ends it
        await stub.held.wait()
        await bench.begun("odd-1")
        well = asyncio.create_task(bench.run("well-1", timeout=PATIENCE))
        while not stub.pending:
            await asyncio.sleep(0.01)
        stub.drop_sockets()
        stub.go_on()
        assert isinstance(await hit, Generation | RylaGenError)
        is_well(await well)


async def test_a_frame_beyond_all_pictures_costs_the_connection_and_no_job(stub: StubServer) -> None:
    stub.odd_frames = lambda prompt_id: [b"\0\0\0\4" + bytes(transport.FRAME_LIMIT)]
    async with benches(stub, gone_after=PATIENCE) as bench:
        hit, well = await asyncio.gather(bench.ending("odd-1", timeout=PATIENCE), bench.run("well-1", timeout=PATIENCE))
        is_well(hit)
        is_well(well)


async def test_files_beyond_count_end_the_job_and_stop_its_prompt(stub: StubServer) -> None:
    stub.odd_frames = frame("executed", node="9", output={"text": ["x"] * 20_000})
    stub.hold_at = "executed"
    async with benches(stub) as bench:
        error = await bench.ending("odd-1")
        assert isinstance(error, ServerUnhealthyError) and "10,000" in error.message
        assert "interrupt odd-1" in stub.events
        stub.hold_at = ""
        is_well(await bench.run("well-1"))


# -- a server that answers and runs nothing ------------------------------------------------------------


async def test_a_prompt_whose_thread_died_is_told_as_a_stuck_server_with_the_way_out(stub: StubServer) -> None:
    stub.dies_at = "executing"
    async with benches(stub) as bench:
        error = await bench.ending("odd-1", timeout=1.0)
        assert isinstance(error, ServerUnhealthyError), error
        assert "counts the job odd-1 as running, but made no progress" in error.message
        assert "restart ComfyUI" in error.hint and f"ryla-gen doctor --url {bench.client.address}" in error.hint
        assert "interrupt odd-1" in stub.events


async def test_a_prompt_that_is_only_slow_is_told_to_take_more_time(stub: StubServer) -> None:
    stub.hold_at = "executed"  # it stops when it is told to
    async with benches(stub) as bench:
        error = await bench.ending("well-1", timeout=0.5)
        assert isinstance(error, GenerationTimeoutError) and "--timeout" in str(error)


async def test_a_job_behind_a_dead_one_waits_as_long_as_it_may_and_says_what_is_before_it(stub: StubServer) -> None:
    stub.dies_at = "executing"
    async with benches(stub, queue_timeout=5.0) as bench:
        stuck = asyncio.create_task(bench.ending("odd-1", timeout=PATIENCE))
        await stub.held.wait()
        error = await bench.ending("well-1")
        stuck.cancel()
        assert isinstance(error, ServerUnhealthyError), error
        assert "waited 5 s" in error.message and "prompt odd-1 was ahead" in error.message
        assert error.started == "no" and error.details["ahead"] == ["odd-1"]
        assert [event.position for event in bench.events if isinstance(event, Queued) and event.job == "well-1"] == [1]
        assert not [item for item in stub.pending if item[1] == "well-1"]


async def test_a_job_behind_others_that_move_is_late_and_no_fault_of_the_server(stub: StubServer) -> None:
    stub.hold_at = "executed"
    async with benches(stub, queue_timeout=6.0) as bench:
        others = [asyncio.create_task(bench.ending(f"well-{number}", timeout=PATIENCE)) for number in range(3)]
        await stub.held.wait()
        late = asyncio.create_task(bench.ending("well-9"))
        while not [event for event in bench.events if isinstance(event, Queued) and event.job == "well-9"]:
            await asyncio.sleep(0.01)  # until it has heard its place
        stub.go_on("executed")
        error = await late
        for task in others:
            task.cancel()
        assert isinstance(error, GenerationTimeoutError), error
        assert "queue_timeout" in error.hint and error.details["queued"]


async def test_a_queue_that_nobody_serves_is_told_as_such(stub: StubServer) -> None:
    stub.asleep = True
    async with benches(stub, queue_timeout=3.0) as bench:
        error = await bench.ending("well-1")
        assert isinstance(error, ServerUnhealthyError) and "runs nothing" in error.message
        assert "restart ComfyUI" in error.hint


async def test_silence_while_the_prompt_waits_is_waiting(stub: StubServer) -> None:
    stub.asleep = True
    async with benches(stub, silence=0.05) as bench:
        waiting = asyncio.create_task(bench.run("well-1"))
        while stub.counts["GET /queue"] < 8:  # many looks long
            await asyncio.sleep(0.01)
        assert not waiting.done()
        stub.asleep = False
        stub._more.set()
        is_well(await waiting)


async def test_silence_about_a_prompt_that_nobody_knows_ends_it(stub: StubServer) -> None:
    stub.loses_at = "executed"
    async with benches(stub) as bench:
        began = time.monotonic()
        error = await bench.ending("odd-1", timeout=PATIENCE)
        assert isinstance(error, ServerUnhealthyError) and "neither in its queue nor in its history" in error.message
        assert time.monotonic() - began < PATIENCE / 2
        is_well(await bench.run("well-1"))


def test_a_lost_prompt_is_noticed_within_half_a_minute() -> None:
    from inspect import signature

    from ryla_gen.comfy.socket import QUIET

    silence = signature(ComfyClient).parameters["silence"].default
    assert (
        silence * (QUIET + 1) + silence + 5 <= 30
    )  # quiet, seen at the next look, confirmed at the one after, each taking a moment


async def test_an_end_that_was_never_heard_is_learnt_from_the_history(stub: StubServer) -> None:
    stub.hold_at = "executed"
    async with benches(stub) as bench:
        running = asyncio.create_task(bench.run("well-1", timeout=PATIENCE))
        await stub.held.wait()
        stub.sockets.clear()  # the server forgets its sockets and leaves them open
        stub.go_on()
        is_well(await running)


async def test_doctor_s_look_finds_a_dead_thread_and_a_queue_that_nobody_serves(stub: StubServer) -> None:
    async with benches(stub) as bench:
        assert (await examine_queue(bench.client, seconds=0.5)).moves
        stub.dies_at = "executing"
        stuck = asyncio.create_task(bench.ending("odd-1", timeout=PATIENCE))
        await stub.held.wait()
        found = await examine_queue(bench.client, seconds=0.5)
        assert not found.moves and "odd-1 counts as running" in found.message and "restart ComfyUI" in found.hint
        stuck.cancel()
    stub.running, stub.asleep = [], True
    async with benches(stub) as bench:
        waiting = asyncio.create_task(bench.ending("well-1"))
        while not stub.pending:
            await asyncio.sleep(0.01)
        found = await examine_queue(bench.client, seconds=0.5)
        assert not found.moves and "none is running" in found.message
        waiting.cancel()


async def test_doctor_s_look_is_content_with_a_queue_that_moves(stub: StubServer) -> None:
    stub.hold_at, stub.log = "executed", [{"t": "1", "m": "got prompt\n"}]
    async with benches(stub) as bench:
        running = asyncio.create_task(bench.run("well-1", timeout=PATIENCE))
        await stub.held.wait()
        looking = asyncio.create_task(examine_queue(bench.client, seconds=PATIENCE))
        while not stub.counts["GET /internal/logs/raw"]:
            await asyncio.sleep(0.01)
        stub.log = [*stub.log, {"t": "2", "m": "\r 50%|█████     | 2/4\n"}]
        assert (await looking).moves
        stub.go_on()
        is_well(await running)


# -- outputs -------------------------------------------------------------------------------------------


def two() -> dict[str, Any]:
    return {"30": SAVES["9"], "4": SAVES["9"], "7": {"class_type": "PreviewAny", "inputs": {}}}


@pytest.mark.parametrize("order", [("30", "4", "7"), ("7", "4", "30"), ("4", "30", "7")])
async def test_outputs_come_in_the_graph_s_order_and_name_their_node(stub: StubServer, order: tuple[str, ...]) -> None:
    told = {"30": saved("30", "b0.png", "b1.png"), "4": saved("4", "a.png"), "7": executed("7", text=["a caption"])}
    stub.messages = [start(), *(told[node] for node in order), success()]
    pictures = {name: encoded(portrait((size, size))) for name, size in (("b0.png", 64), ("b1.png", 72), ("a.png", 80))}
    stub.files.update({(name, "", "output"): data for name, data in pictures.items()})
    async with benches(stub) as bench:
        made = await bench.run("well-1", graph=two())
    assert [(item.kind, item.node) for item in made.outputs] == [("image", "30"), ("image", "30"), ("image", "4"), ("text", "7")]
    assert [item.data for item in made.outputs[:3]] == [
        MADE.write(pictures[name], "image/png") for name in ("b0.png", "b1.png", "a.png")
    ]
    assert made.outputs[3].text == "a caption"


async def test_pictures_sent_over_the_websocket_name_the_node_that_was_executing(stub: StubServer) -> None:
    stub.metadata = False
    graph = {"5": {"class_type": "SaveImageWebsocket", "inputs": {}}, **SAVES}
    stub.messages = [start(), executing("5"), {"frame": b"\0\0\0\1\0\0\0\2" + PICTURE}, saved("9", "well.png"), success()]
    async with benches(stub) as bench:
        made = await bench.run("well-1", graph=graph)
    assert [(item.node, item.data) for item in made.outputs] == [("5", MARKED), ("9", MARKED)]


async def test_a_graph_that_only_shows_texts_succeeds(stub: StubServer) -> None:
    stub.messages = [start(), executed("7", text=["one", "two"], other=["no text"]), success()]
    async with benches(stub) as bench:
        made = await bench.run("well-1", graph={"7": {"class_type": "PreviewAny", "inputs": {}}})
    assert [(item.kind, item.text, item.node) for item in made.outputs] == [("text", "one", "7"), ("text", "two", "7")]


# -- what the server's log knows -----------------------------------------------------------------------

TRACEBACK = (
    '\x1b[1m\x1b[31m[ERROR]\x1b[0m Traceback (most recent call last):\n  File "/pack/odd.py", line 20, in go\n'
    "    {}['missing']\nKeyError: 'missing'\n\n"
    "The above exception was the direct cause of the following exception:\n\n"
    'Traceback (most recent call last):\n  File "/pack/odd.py", line 22, in go\n    raise ValueError("…")\n'
    "ValueError: the file\nhas no\x1b[31m header\n\n"
    "The above exception was the direct cause of the following exception:\n\n"
    'Traceback (most recent call last):\n  File "/comfy/execution.py", line 543, in execute\n    run()\n'
    "RuntimeError: Error while deserializing:\nthe real cause\n\n"
)


async def test_a_node_s_exception_is_shown_whole_with_what_led_to_it(stub: StubServer) -> None:
    said = {"node_id": "9", "node_type": "Load", "exception_type": "RuntimeError", "traceback": ['  File "/comfy/execution.py"\n']}
    failure = {"type": "execution_error", "data": {**said, "exception_message": "Error while deserializing:\nthe real cause\n"}}
    stub.messages = [start(), executing("9"), failure]
    stub.log = [{"t": "1", "m": "got prompt\n"}, {"t": "2", "m": TRACEBACK}, {"t": "3", "m": "Prompt executed in 0.04 seconds\n"}]
    async with benches(stub) as bench:
        error = await bench.ending("odd-1")
    assert isinstance(error, NodeFailedError)
    assert error.message == (
        "Node 9 (Load) failed: RuntimeError: Error while deserializing:\nthe real cause\n"
        "caused by ValueError: the file\nhas no header\ncaused by KeyError: 'missing'"
    )
    assert error.details["causes"] == ["ValueError: the file\nhas no header", "KeyError: 'missing'"]


LORA = {"9": SAVES["9"], "3": {"class_type": "LoraLoader", "inputs": {"lora_name": "other.safetensors"}}}


def left_out(key: str) -> dict[str, str]:
    return {"t": key, "m": f"\x1b[1m\x1b[33m[WARNING]\x1b[0m lora key not loaded: {key}\n"}


async def test_a_lora_without_effect_on_a_server_of_one_s_own_is_told(stub: StubServer, tmp_path: Path) -> None:
    before = [left_out("of.another.prompt"), {"t": "1", "m": "Prompt executed in 1.00 seconds\n"}]
    stub.messages, stub.hold_at, stub.log = RUN, "executed", [*before, {"t": "2", "m": "got prompt\n"}]
    stub.files[("well.png", "", "output")] = PICTURE
    stub.nodes = {"LoraLoader": {"input": {"required": {"lora_name": [["other.safetensors"], {}]}}, "output": []}}
    backend = ComfyBackend(stub.url)
    try:
        ticket = await backend.submit(CustomWorkflow(graph=LORA), job="well-1")
        await stub.held.wait()
        while not stub.counts["GET /internal/logs/raw"]:
            await asyncio.sleep(0.01)
        own = [
            left_out("a.weight"),
            left_out("b.weight"),
            {"t": "9", "m": "\x1b[32m[INFO]\x1b[0m \x1b[32mPrompt executed in 2.00 seconds\x1b[0m\n"},
        ]
        stub.log = [*stub.log, *own, left_out("of.the.next.prompt")]
        stub.go_on()
        async with asyncio.timeout(PATIENCE):
            made = await ticket.result()
    finally:
        await backend.close()
    assert [item.code for item in made.warnings] == ["lora_keys_not_loaded"]
    assert "at least 2 tensors of the LoRA other" in made.warnings[0].message
