"""An error that nothing expected ends one job, typed, journaled and stopped at its server; its neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ryla_gen import AsyncClient, Client, Flux
from ryla_gen.backends.comfyui import ComfyBackend, EngineTicket, Work
from ryla_gen.client.job_base import state_of
from ryla_gen.delivery.webhook_events import failure_event
from ryla_gen.emulator.server import Emulator
from ryla_gen.engine import Engine
from ryla_gen.engine.progress import Emit
from ryla_gen.errors import InternalError, JobExpiredError, RylaGenError
from ryla_gen.events import Event, Started
from ryla_gen.graphs.graph import Graph
from ryla_gen.results import Generation
from ryla_gen.telemetry.events import describe_failure
from ryla_gen.workflows.base import Files

SMALL: dict[str, Any] = {"width": 256, "height": 256, "steps": 1}


class Stumbling(Flux):
    """A workflow whose code has a fault, as a plug-in's may."""

    def build(self, files: Files | None = None) -> Graph:
        """Raise what no interface promises."""
        raise KeyError("the author's fault")


class Worse(Flux):
    """A workflow that cannot even be described."""

    def described(self) -> dict[str, Any]:
        """Raise before anything is sent."""
        raise OverflowError("int too large to convert to float")


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as made:
        yield made


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("wrong", [Stumbling, Worse])
async def test_map_gives_every_other_result(wrong: type[Flux], ordered: bool, server: Emulator) -> None:
    asked = [(wrong if number == 3 else Flux)(prompt=f"fox {number}", **SMALL) for number in range(10)]
    async with AsyncClient(url=server.url) as client:
        given = [item async for item in client.map(asked, ordered=ordered, return_exceptions=True)]
        states = [record.state for record in client.jobs.list()]
    assert sum(isinstance(item, Generation) for item in given) == 9
    (error,) = [item for item in given if isinstance(item, RylaGenError)]
    cause = error.__cause__
    assert isinstance(error, InternalError)
    assert (error.details["exception_type"], type(cause).__name__) in {("KeyError",) * 2, ("OverflowError",) * 2}
    assert str(cause) in error.message
    assert states.count("succeeded") == 9
    assert "running" not in states and "queued" not in states


class Breaking(ComfyBackend):
    """A backend in which something nothing expected happens when a graph begins to run, as an odd message made it once."""

    def _ticket(self, job: str, work: Work, engine: Engine) -> EngineTicket:
        async def broken(emit: Emit) -> Generation:
            def stumbling(kind: type[Event], **fields: Any) -> None:
                emit(kind, **fields)
                if kind is Started:
                    raise ValueError("cannot convert float NaN to integer")

            return await work(stumbling)

        return super()._ticket(job, broken, engine)


async def test_the_job_that_broke_is_journaled_and_its_prompt_is_stopped(server: Emulator) -> None:
    server.knobs.delay_per_node = 30.0
    async with AsyncClient(url=server.url) as client:
        client._backends["comfyui"] = Breaking(server.url)
        job = await client.submit(Flux(prompt="fox", **SMALL))
        with pytest.raises(InternalError, match="ValueError: cannot convert float NaN to integer") as caught:
            await job.result()
        record = client.history.get(job.id)
        async with asyncio.timeout(240):
            while server.queue.remaining():
                await asyncio.sleep(0.05)
    assert isinstance(caught.value.__cause__, ValueError)
    assert record is not None and record.error is not None
    assert (record.state, record.error["code"], record.error["details"]["exception_type"]) == ("failed", "internal", "ValueError")


async def test_what_on_event_raises_cancels_that_job_alone_and_reaches_its_caller_as_it_is(server: Emulator) -> None:
    server.knobs.delay_per_node = 0.1

    def angry(event: Event) -> None:
        if isinstance(event, Started):
            raise ZeroDivisionError("of the caller")

    async with AsyncClient(url=server.url) as client:
        quiet = asyncio.create_task(client.run(Flux(prompt="bear", **SMALL)))
        with pytest.raises(ZeroDivisionError, match="of the caller"):
            await client.run(Flux(prompt="fox", **SMALL), on_event=angry)
        assert (await quiet).image.size == (256, 256)
        states = {record.inputs["prompt"]: record.state for record in client.jobs.list()}
    assert states == {"fox": "canceled", "bear": "succeeded"}


def test_plain_code_hears_it_in_the_same_way(server: Emulator) -> None:
    with Client(url=server.url) as client, pytest.raises(InternalError, match="KeyError") as caught:
        client.run(Stumbling(prompt="fox", **SMALL))
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_journal_a_webhook_and_telemetry_say_the_same_of_an_end() -> None:
    """An interrupt was a failure to the journal, and canceled to the others."""
    ends = (KeyboardInterrupt(), SystemExit("job_expired"), asyncio.CancelledError(), OSError(), JobExpiredError("x"))
    for error in ends:
        told = failure_event(error, job="a", workflow="flux", backend="modal")["data"]["state"]
        assert state_of(error) == told
        assert (describe_failure(error, job="a", backend="modal", workflow="flux").type == "canceled") == (told == "canceled")
    assert [state_of(error) for error in ends] == ["canceled", "canceled", "canceled", "failed", "expired"]
