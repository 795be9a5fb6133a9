"""Serve one request in a GPU container: decode it, run it on the supervised ComfyUI, encode the reply.

Faults of the request are replies; faults of the machine are raised, so that Modal counts a failure. Must not know a caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from dataclasses import replace
from typing import Any

import modal

from .. import contract
from ..comfy.server import ComfyServer
from ..delivery.uploads import uploaded
from ..engine.lora_effect import LoraWatch
from ..engine.progress import Emit
from ..errors import (
    BackendUnreachableError,
    GenerationTimeoutError,
    InternalError,
    JobCanceledError,
    ModelNotFoundError,
    PlainData,
    RefusedError,
    RylaGenError,
    ServerUnhealthyError,
    StorageFailedError,
)
from ..events import Preview, Progress, Queued, Started, State
from ..faces import require_face
from ..locks.families import family_lock
from ..locks.graph_lock import GraphLock
from ..names import CLAIMS_DICT, EVENTS_QUEUE, MODELS_VOLUME
from ..results import Cost, Generation
from ..support.cancels import cancels
from ..version import __version__
from ..workflows.base import Notice, Workflow
from . import costs
from .build_logs import IMAGE_LINE
from .claims import ModalClaims, claim, stop
from .config import FamilyConfig
from .consistency import with_similarity
from .container_paths import Places
from .faults import typed_errors
from .interrupts import Interrupts
from .loras import Brought, LoraCopies, ModalShelf
from .model_links import ModelLinks, folders_of
from .preload import preload
from .publish import Publisher, put_into
from .snapshot import ContainerStart
from .supervisor import Session, Supervisor
from .telling import Teller, with_delivery
from .volume_check import VolumeFiles

MACHINE_FAULTS = (ServerUnhealthyError, BackendUnreachableError, StorageFailedError, InternalError)
STOP_SECONDS = 3.0
"""How long a canceled input may take to write down that its job is stopped."""
LOST_EVENTS = 100
"""Events that an earlier container may have numbered and not delivered: a job that runs again begins its numbers above them."""
PARTITION_EVENTS = 5000
"""Events in a partition, when the queue does not say how many."""

log = logging.getLogger("ryla_gen.remote")


class Worker:
    """The life of one container.

    Args:
        config: the class it serves.
        lock: the locked graph that is served; None: a family's workflows.
        places: where things are; read from the environment when absent.
    """

    def __init__(self, config: FamilyConfig, lock: GraphLock | None = None, places: Places | None = None) -> None:
        self._config = config
        self._places = places or Places.from_environment()
        self._teller = Teller(private=self._places.private_addresses)
        self._links: ModelLinks | None = None
        if lock is not None:
            self._places = replace(self._places, own_folders=folders_of(lock))
            self._links = ModelLinks(lock, self._places)
        release = (lock.image if lock is not None else family_lock(config.family)).release
        server = ComfyServer(
            self._places.arguments(release),
            folder=self._places.comfyui if self._places.comfyui.is_dir() else self._places.work,
            environment=self._places.environment(),
            log=_to_container_log,
            ready_within=self._config.load,
        )
        self._supervisor = Supervisor(server, stall=self._places.stall or self._config.stall)
        self._start = ContainerStart(server, self._places, self._config, release)
        self._interrupts = Interrupts()
        self._watch = LoraWatch(server.said, (self._places.loras, self._places.used_models / "loras"))
        self._emulated = False
        self._device: str | None = None
        self._version: str | None = None
        self._ready = 0.0
        self._cold_start = 0.0
        self._served = False

    async def prepare(self) -> None:
        """Do what a snapshot of this container may hold.

        Raises:
            StorageFailedError, InternalError: the container's own disk cannot be written, or whatever else went wrong.
        """
        with typed_errors("The container could not be prepared"):
            self._link_models()
            await self._start.before_snapshot()

    async def start(self) -> None:
        """Start ComfyUI, and if configured load the weights into VRAM.

        Raises:
            ServerUnhealthyError: ComfyUI does not come up.
            StorageFailedError, InternalError: whatever else went wrong.
        """
        with typed_errors("The container could not start"):
            await self._make_ready()

    async def _make_ready(self) -> None:
        self._places = replace(self._places, container=os.environ.get("MODAL_TASK_ID"))
        sys.stderr.write(f"{IMAGE_LINE}{os.environ.get('MODAL_IMAGE_ID', 'unknown')}\n")  # by it the build's log is found later
        # Modal's objects are made here: after a restore their connections and tokens are new ones.
        self._claims = ModalClaims(CLAIMS_DICT)
        self._events = modal.Queue.from_name(EVENTS_QUEUE, create_if_missing=True)
        self._loras = LoraCopies(ModalShelf(MODELS_VOLUME), self._places.loras)
        self._stock = VolumeFiles(MODELS_VOLUME, self._places, self._links)
        self._link_models()
        await self._start.after_snapshot()
        session = await self._supervisor.session()
        stats = await session.client.system_stats()
        system = stats.get("system", {})
        self._emulated = "emulator" in system
        self._version = system.get("comfyui_version")
        self._device = next((str(device.get("name")) for device in stats.get("devices") or ()), None)
        if self._config.preloads:
            began = time.monotonic()
            if await preload(session.engine, self._config.preload):
                self._start.load = time.monotonic() - began
        self._ready = time.monotonic()
        self._cold_start = self._start.seconds()
        log.info("ready for %s after %.1f s", self._config.family, self._cold_start)

    def _link_models(self) -> None:
        if self._links is not None:
            self._links.make()

    async def stop(self) -> None:
        """End ComfyUI."""
        self._start.stop()
        await self._teller.stop()
        await self._supervisor.stop()

    async def run(self, name: str | None, request: PlainData) -> PlainData:
        """Serve one request: the one line behind every remote method.

        Args:
            name: the workflow the method serves; None when the request names it.
            request: as docs/contract.md says.

        Raises:
            ServerUnhealthyError: ComfyUI died, and died again.
            BackendUnreachableError, StorageFailedError: this container cannot work.
            InternalError: whatever else went wrong.
        """
        self._interrupts.listen()
        with typed_errors("The container failed"):
            return contract.readable_by(request, await self._run(name, request))

    async def _run(self, name: str | None, request: PlainData) -> PlainData:
        cold = self._cold_start if not self._served and time.monotonic() - self._ready < self._places.cold else 0.0
        try:
            read = contract.read_request(request, name)
            # Before anything costs time: of several calls with one job id, only the one that owns the claim runs it.
            again = await claim(self._claims, read.job, modal.current_function_call_id() or "")
        except MACHINE_FAULTS:
            raise
        except RylaGenError as error:
            return contract.error_reply(error)
        put = put_into(self._events, read.job) if read.options.events else None
        first = await self._last_sent(read.job) if again and put else 0
        publisher = Publisher(read.job, put, previews=read.options.previews, first=first)
        publisher.emit(Queued, position=0)
        state: State | None = "failed"
        failure: RylaGenError | None = None
        try:
            generation = await self._generation(read.workflow, contract.prompt_id_of(read.job), publisher, cold)
            generation = replace(generation, job=read.job)
            if read.options.measure_consistency:
                models = self._places.used_models
                generation = await asyncio.to_thread(with_similarity, generation, emulated=self._emulated, models=models)
            generation = await uploaded(generation, read.options.output_to, private=self._places.private_addresses)
            # In this order: if the reply cannot be encoded, the last event must not say that the job succeeded.
            reply, state = contract.reply(generation), "succeeded"
        except asyncio.CancelledError:
            # The state is only for the last event; the cancellation itself goes on to Modal.
            state = await self._end_state(read.job)
            raise
        except JobCanceledError as error:
            reply, state = contract.error_reply(error), "canceled"
            failure = error
        except MACHINE_FAULTS as error:
            await self._teller.failed(read, error)
            raise
        except RylaGenError as error:
            reply, failure = contract.error_reply(error), error
        finally:
            self._served = True
            await publisher.finish(state)
        # After the last event, which a slow receiver must not hold up.
        told = await (self._teller.succeeded(read.options, generation) if failure is None else self._teller.failed(read, failure))
        return with_delivery(reply) if told else reply

    async def _end_state(self, job: str) -> State | None:
        """End a job whose input was canceled; do not end it where the container has to stop, since it may run again.

        Otherwise it was canceled by hand, and perhaps by a side that writes no claims (a client of contract 1, Modal's dashboard):
        then it is stopped from here, so that no other call takes it up.
        """
        if self._interrupts.received:
            return None
        with contextlib.suppress(Exception):  # the Dict does not answer: the message in Modal's result remains
            async with asyncio.timeout(STOP_SECONDS):
                await stop(self._claims, job)
        return "canceled"

    async def _last_sent(self, job: str) -> int:
        """Return a number above those of all events that were sent for a job by an earlier container."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                # Numbers of a second run must be above those of the first, or readers would take its events for old ones.
                return int(await self._events.len.aio(partition=job)) + LOST_EVENTS
        except Exception as error:  # a queue that does not answer must not delay the job
            log.debug("the events of %s could not be counted: %s", job, error)
            return PARTITION_EVENTS + LOST_EVENTS

    async def _generation(self, workflow: Workflow, job: str, publisher: Publisher, cold: float) -> Generation:
        workflow = await workflow.resolved()
        notices = await self._check(workflow)
        brought = await self._bring_loras(workflow)
        loras = {lora_id: item.name for lora_id, item in brought.items()}
        mark = self._watch.mark()
        try:
            generation = await self._run_with_restart(workflow, job, publisher, cold, loras)
        except RefusedError as error:  # it ran all the same
            if seconds := error.details.get("gpu_seconds"):
                error.details["cost_usd"] = self._cost(seconds).total_usd
            raise
        notices += await self._watch.notices(generation.graph, mark)
        copied = [item.to_data(lora_id) for lora_id, item in brought.items() if item.bytes]
        return self._stamp(generation, cold, notices, {"loras": copied} if copied else {})

    async def _check(self, workflow: Workflow) -> tuple[Notice, ...]:
        """Check what ComfyUI reports only after minutes, or not at all: missing weights, and a picture without a face."""
        try:
            if self._places.checks_weights or not self._emulated:
                await self._stock.require(workflow)
        except ModelNotFoundError as error:
            if error.details.get("stale"):
                await self._stop_accepting("it cannot see weights that were added after it started")
            raise
        notices: list[Notice] = []
        for name, picture in workflow.face_pictures().items():
            verdict = "unknown"
            if picture is not None:
                models = self._places.used_models
                verdict = await asyncio.to_thread(require_face, picture, emulated=self._emulated, models=models, name=name)
            if verdict == "unknown":
                text = f"{name} was not checked for a face; without one the result shows a stranger."
                notices.append(Notice("face_unchecked", text))
        return tuple(notices)

    async def _bring_loras(self, workflow: Workflow) -> dict[str, Brought]:
        brought = {lora_id: await self._loras.bring(lora_id, base) for lora_id, base in workflow.stored_loras().items()}
        return {lora_id: item for lora_id, item in brought.items() if item is not None}

    async def _run_with_restart(
        self, workflow: Workflow, job: str, publisher: Publisher, cold: float, loras: dict[str, str]
    ) -> Generation:
        """Run the workflow, and once more when ComfyUI died while running it. A death while it only waited is not its fault."""
        deaths = waited = 0
        while True:
            session = await self._session()
            begun: list[bool] = []
            try:
                return await self._run_once(session, workflow, job, _emitter(session, publisher, cold, begun), loras)
            except (ServerUnhealthyError, BackendUnreachableError) as error:
                if cancels():
                    raise asyncio.CancelledError from error  # canceled meanwhile: report that, whatever ended ComfyUI
                if not session.over:  # else the next ComfyUI may be starting already, and it would be ended
                    await session.end(error.message)
                deaths, waited = deaths + bool(begun), waited + (not begun)
                # A second death while running, or pictures that are made already: running once more would only cost again.
                if deaths > 1 or waited > self._config.max_inputs or error.details.get("produced"):
                    await self._stop_accepting("ComfyUI died again")
                    raise self._supervisor.unhealthy(f"ComfyUI died while it ran the job {job}", error) from None
                log.warning("job %s is submitted again: %s", job, error.message)

    async def _run_once(self, session: Session, workflow: Workflow, job: str, emit: Emit, loras: dict[str, str]) -> Generation:
        # The container's limit bounds every request: no caller holds a GPU longer than the owner of the app allows.
        limit = min(workflow.time_limit(), self._config.limit)
        with session.busy():
            try:
                return await session.engine.run(workflow, job=job, emit=emit, timeout=limit, loras=loras)
            except (GenerationTimeoutError, asyncio.CancelledError) as error:
                if job not in session.engine.uncancelled:
                    session.release(job)
                elif not session.over:  # it continues, or will run, although its caller has left
                    await asyncio.shield(session.end(f"it could not be told to stop the job {job}"))
                if isinstance(error, GenerationTimeoutError):
                    error.hint = longer(workflow, self._config)
                raise

    async def _session(self) -> Session:
        try:
            return await self._supervisor.session()
        except ServerUnhealthyError:
            await self._stop_accepting("ComfyUI does not restart")
            raise

    async def _stop_accepting(self, why: str) -> None:
        log.error("this container takes no further requests: %s", why)
        # Modal starts another container for the next input; this one would fail every request in the same way.
        await modal.experimental.stop_fetching_inputs.aio()

    def _cost(self, seconds: float) -> Cost:
        config = self._config
        machine: dict[str, Any] = {"count": costs.gpu_count(config.gpu), "cpu": config.cpu, "memory": config.memory}
        return costs.cost_of(seconds, costs.gpu_name(self._device, config.gpu), **machine, region=config.region)

    def _stamp(self, generation: Generation, cold: float, notices: tuple[Notice, ...], more: PlainData) -> Generation:
        gpu = costs.gpu_name(self._device, self._config.gpu)
        about = {"comfyui": self._version, "gpu": gpu, "container": self._places.container, "app": __version__}
        hooks = {key: value for key, value in generation.server.items() if key == "on_output"}
        return replace(
            generation,
            timings=replace(
                generation.timings,
                cold_start=cold,
                cold=self._start.times() if cold else None,
                restored=bool(cold) and self._start.restored,
            ),
            cost=self._cost(generation.timings.running),
            warnings=generation.warnings + notices,
            server={**about, **hooks, **more},
        )


def _emitter(session: Session, publisher: Publisher, cold: float, begun: list[bool]) -> Emit:
    """Pass the engine's events on, and take them as signs of life."""

    def emit(kind: Any, **fields: Any) -> None:
        if kind in (Started, Progress, Preview):
            session.sign()
        if kind is Started:
            begun.append(True)
            fields["cold_start"] = cold
        publisher.emit(kind, **fields)

    return emit


def longer(workflow: Workflow, config: FamilyConfig) -> str:
    """Explain how to give a request more time in a container: its limit is counted here, so a caller's timeout cannot raise it."""
    less = "ask for less (fewer steps, pixels, frames or images at once)"
    if workflow.own_graph and workflow.time_limit() < config.limit:
        return f"Give the workflow more time: limit=SECONDS, up to {config.limit:g} on Modal; or {less}. timeout= cannot raise it."
    gpu = f"put the family on a faster GPU: ryla-gen deploy --apply-to {config.family} --gpu NAME"
    return f"{less[0].upper()}{less[1:]}, or {gpu}. A longer timeout= cannot raise the limit of the container."


def _to_container_log(line: str) -> None:
    sys.stderr.write(f"comfyui: {line}\n")
