"""Run one workflow on one ComfyUI server: upload, build, check, submit, follow, collect. Knows no backend and no journal."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..comfy import schema
from ..comfy.client import ComfyClient
from ..comfy.errors import causes_in_log, node_error, refusal
from ..comfy.follower import PromptStream
from ..comfy.lint import oddities
from ..comfy.messages import (
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    ImageFrame,
    Message,
    NodeExecuted,
    NodeExecuting,
    NodeProgress,
    PreviewImage,
    PromptEnd,
    QueuePosition,
    clean,
)
from ..comfy.requirements import missing_for
from ..comfy.separators import with_server_names
from ..errors import (
    BackendError,
    JobCanceledError,
    JobExpiredError,
    RylaGenError,
    ServerUnhealthyError,
    WorkflowInvalidError,
    before_start,
)
from ..events import Preview, Progress, Queued, Started
from ..graphs.api_format import graph_seed
from ..results import METADATA_KEY, Cost, Generation, Output, Timings, metadata, require_outputs
from ..results.output_files import as_output, output_notices, text_output
from ..workflows.base import Files, Notice, Workflow
from .limits import Limits, Watched
from .loras import stored_loras
from .progress import Collected, CollectedItem, Emit, PromptProgress
from .uploads import Uploads

LOG_SECONDS = 3.0
"""How long the server may take to show its log, for what led to a node's exception."""
SIGNS_OF_A_START = (ExecutionCached, NodeExecuting, NodeProgress, NodeExecuted, PreviewImage)
"""Messages of a prompt that runs already."""

log = logging.getLogger("ryla_gen")


class Engine:
    """Runs workflows on one ComfyUI server through its client.

    Args:
        client: the server.
        backend: name that results carry.
        hourly_usd: what an hour of the server costs, for the cost of a result.
        gpu: kind of GPU, when it is known.
        queue_timeout: seconds that a prompt may wait until its graph starts; None where something else watches the server's queue.

    """

    def __init__(
        self,
        client: ComfyClient,
        *,
        backend: str,
        hourly_usd: float = 0.0,
        gpu: str | None = None,
        queue_timeout: float | None = None,
    ) -> None:
        self._client = client
        self._backend = backend
        self._hourly_usd = hourly_usd
        self._gpu = gpu
        self._queue_timeout = queue_timeout
        self.uncancelled: set[str] = set()
        """Jobs that should have been stopped, but whose server could not be reached."""
        self._uploads = Uploads(client)
        self._server: dict[str, Any] | None = None

    async def run(
        self, workflow: Workflow, *, job: str, emit: Emit, timeout: float | None = None, loras: Mapping[str, str] | None = None
    ) -> Generation:
        """Run a resolved and seeded workflow to its end.

        Args:
            workflow: the request; its pictures are bytes.
            job: id of the job, also the prompt's id on the server.
            emit: takes the job's events.
            timeout: seconds from the start of the graph, instead of the workflow's own limit.
            loras: the server's name of each LoRA id that the caller knows; the others are looked for.

        Raises:
            WorkflowError, ModelNotFoundError, InvalidInputError: the request was at fault.
            GenerationTimeoutError: it waited or ran too long and was stopped.
            BackendUnreachableError, ServerUnhealthyError: the server was at fault; ``details["produced"]``: something was saved.

        """
        began = time.monotonic()
        with before_start():
            graph, notices = await self._prepare(workflow, job, loras or {})
        run = self._begin(graph, emit, began)
        limit = workflow.time_limit() if timeout is None else timeout
        seed = used_seed(workflow, graph)
        extra = {METADATA_KEY: metadata(workflow, seed, job)}
        try:
            async with self._client.follow(job) as follower:
                try:
                    await self._client.submit(graph, prompt_id=job, extra_pnginfo=extra)
                except WorkflowInvalidError as error:
                    if not self._uploads.forget_if_missing(error):
                        raise
                    # The server was given an empty input folder since: upload again. It refused, so nothing ran.
                    graph, notices = await self._prepare(workflow, job, loras or {})
                    run.graph = graph
                    await self._client.submit(graph, prompt_id=job, extra_pnginfo=extra)
                await self._follow(follower, run, job, limit)
            outputs = await self._collect(run, workflow, seed, job)
        except BackendError as error:
            # A caller may run the job again after a server fault, but not once pictures were made: they would be made twice.
            error.details["produced"] = bool(run.collected)
            raise
        finally:
            run.collected.close()
        return await self._stamp(workflow, run, outputs, notices, seed=seed, job=job, began=began)

    async def knows(self, job: str) -> bool:
        """Whether the server has this job: waiting, running or in its history."""
        return (await self._client.locate([job]))[job].place != "absent"

    async def resume(self, workflow: Workflow, *, job: str, emit: Emit, timeout: float | None = None) -> Generation:
        """Follow a job that an earlier process submitted to this server, to its end.

        Raises:
            JobExpiredError: the server knows nothing of it (any more).
            RylaGenError: as :meth:`run`.

        """
        began = time.monotonic()
        try:
            place = (await self._client.locate([job]))[job].place
        except asyncio.CancelledError:
            await asyncio.shield(self._stop(job))
            raise
        if place == "absent":
            raise JobExpiredError(f"The server {self._client.address} does not know the job {job} (or no longer does).")
        run = self._begin(workflow.build().to_api(), emit, began)
        if place == "running":
            self._start(run)
        try:
            async with self._client.follow(job, resume=True) as follower:
                await self._follow(follower, run, job, timeout or workflow.time_limit())
            entry = await self._client.history(job)
            # The server's graph is the one that ran; this version of the package might build another one.
            run.graph = _stored_graph(entry) or run.graph
            seed = used_seed(workflow, run.graph)
            outputs = await self._collect(run, workflow, seed, job)
        finally:
            run.collected.close()
        return await self._stamp(workflow, run, outputs, workflow.notices(), seed=seed, job=job, began=began)

    async def _prepare(self, workflow: Workflow, job: str, loras: Mapping[str, str]) -> tuple[dict[str, Any], tuple[Notice, ...]]:
        """Upload, build and check the graph. Nothing is submitted yet, so no result can be lost here."""
        uploads = asyncio.ensure_future(self._uploads.bring(workflow))
        try:
            schemas = await self._client.object_info()
            files = Files(prefix=f"ryla/{job}/{workflow.name}", media=await uploads, loras=loras)
        finally:
            uploads.cancel()
        graph = with_server_names(workflow.build(await self._with_loras(files, workflow, schemas)).to_api(), schemas)
        graph = dict(schema.rename_classes(graph, schemas))
        known = workflow.checks_files()
        if missing_for(workflow.name, graph, schemas, files=known) or final_faults(schema.validate(graph, schemas)):
            # Nodes or weights may have come since the schemas were read: look again once before refusing.
            schemas = await self._client.object_info(refresh=True)
            graph = with_server_names(graph, schemas)
            if missing := missing_for(workflow.name, graph, schemas, files=known):
                raise missing.error()
            if faults := final_faults(schema.validate(graph, schemas)):
                raise refusal(faults)
        notices = [*workflow.notices()]
        if workflow.own_graph:
            notices += [Notice("odd_input", text) for text in oddities(graph, schemas)]
        for name in workflow.face_pictures() if self._backend == "comfyui" else ():
            text = f"{name} was not checked for a face: PuLID only logs that there is none, and then paints a stranger."
            notices.append(Notice("face_unchecked", text))
        return graph, tuple(notices)

    async def _with_loras(self, files: Files, workflow: Workflow, schemas: Mapping[str, Any]) -> Files:
        wanted = [lora_id for lora_id in workflow.stored_loras() if lora_id not in files.loras]
        if not wanted:
            return files
        stored = stored_loras(wanted, schemas)
        # A LoRA may have been stored since the server's lists were read: read them again once before refusing.
        if len(stored) < len(set(wanted)):
            stored = stored_loras(wanted, await self._client.object_info(refresh=True), required=not workflow.own_graph)
        return replace(files, loras={**stored, **files.loras})

    def _begin(self, graph: Mapping[str, Any], emit: Emit, began: float) -> PromptProgress:
        return PromptProgress(graph, emit, Collected(self._client.view), submitted=began)

    async def _follow(self, follower: PromptStream, run: PromptProgress, job: str, limit: float) -> None:
        """Follow the prompt to its end, within its limits."""
        limits = Limits(running=limit, waiting=self._queue_timeout)
        await Watched(self._client, run, job, limits, note=lambda message: self._note(message, run), stop=self._stop).follow(
            follower
        )
        if run.failure is not None:
            raise await self._node_error(run.failure)
        run.gap = follower.gap
        if run.started is None:  # everything was cached, or the start was missed in a reconnect
            self._start(run)
        run.ended = time.monotonic()

    async def _node_error(self, failure: ExecutionError) -> RylaGenError:
        """Make the typed error for a node that raised, with its causes where the server's log can be read."""
        try:
            async with asyncio.timeout(LOG_SECONDS):
                log_pieces = [text for _, text in await self._client.log()]
        except (RylaGenError, TimeoutError):
            log_pieces = []
        return node_error(failure, causes_in_log(failure, log_pieces))

    async def _stop(self, job: str) -> bool:
        """Stop a prompt on the server. A failure is kept in ``uncancelled``, and does not hide the reason for stopping."""
        try:
            await self._client.cancel(job)
        except RylaGenError as error:
            self.uncancelled.add(job)
            log.warning("the server could not be told to stop the job %s: %s", job, error.message)
            return False
        return True

    def _note(self, message: Message, run: PromptProgress) -> None:
        if isinstance(message, PromptEnd):
            run.server_clock = (run.server_clock[0], message.at)
        if isinstance(message, SIGNS_OF_A_START):  # its start was sent while the connection was down
            self._start(run)
        match message:
            case QueuePosition(position=position):
                run.emit(Queued, position=position)
            case ExecutionStart(at=at):
                run.server_clock = (at, 0.0)
                self._start(run)
            case ExecutionCached(nodes=nodes):
                run.done.update(node for node in nodes if node in run.graph)
            case NodeExecuting(node=node):
                run.enter(node)
                self._progress(run, 0, 0)
            case NodeProgress(node=node, value=value, maximum=maximum):
                run.node, run.part = node, value / maximum if maximum else 0.0
                self._progress(run, int(value), int(maximum))
            case PreviewImage(media_type=media_type, data=data):
                run.emit(Preview, media_type=media_type, data=data)
            case NodeExecuted():
                run.collected.take(message)
                run.take_notices(message.output.get("emulated"))
            case ImageFrame():
                run.collected.take_frame(message)
            case ExecutionError():
                run.failure = message
            case ExecutionInterrupted():
                raise JobCanceledError("The prompt was interrupted on the server.")
            case ExecutionSuccess():
                run.enter("")

    def _start(self, run: PromptProgress) -> None:
        if run.started is None:
            run.started = time.monotonic()
            run.emit(Started, cold_start=0.0)

    def _progress(self, run: PromptProgress, step: int, steps: int) -> None:
        kind = run.graph.get(run.node, {}).get("class_type", "")
        run.emit(Progress, fraction=round(run.fraction(), 4), step=step, steps=steps, node=kind)

    async def _collect(self, run: PromptProgress, workflow: Workflow, seed: int, job: str) -> tuple[Output, ...]:
        texts = {METADATA_KEY: json.dumps(metadata(workflow, seed, job)), "prompt": json.dumps(run.graph)}

        async def made(item: CollectedItem, index: int) -> Output:
            name = f"{workflow.name}-{seed}-{index}"
            if item.text is not None:
                return text_output(item.text, name, node=item.node or None)
            data = await item.task if item.task is not None else item.data
            return as_output(data, item.name, name, getattr(workflow, "output_format", "png"), texts, node=item.node or None)

        outputs = tuple([await made(item, index) for index, item in enumerate(run.collected.in_graph_order(run.graph))])
        if not outputs and run.gap:
            text = "The connection was lost while the graph ran, and the pictures that it sent over the websocket with it."
            raise ServerUnhealthyError(text, "End the graph with SaveImage, whose files stay on the server, and run it again.")
        require_outputs(outputs, workflow.name)
        return outputs

    async def _stamp(
        self,
        workflow: Workflow,
        run: PromptProgress,
        outputs: tuple[Output, ...],
        notices: tuple[Notice, ...],
        *,
        seed: int,
        job: str,
        began: float,
    ) -> Generation:
        started = run.started or run.submitted
        running = max(0.0, (run.ended or started) - started)
        if run.gap and all(run.server_clock):  # the start was before this process followed the prompt, or was missed
            running = max(0.0, run.server_clock[1] - run.server_clock[0])
        now = time.monotonic()
        queued = max(0.0, started - run.submitted)
        timings = Timings(queued=queued, running=running, total=max(now - began, queued + running))
        usd = running * self._hourly_usd / 3600
        cost = Cost(total_usd=usd, gpu_usd=usd, gpu=self._gpu, gpu_seconds=0.0 if self._backend == "emulator" else running)
        return Generation(
            workflow=workflow,
            outputs=outputs,
            seed=seed,
            job=job,
            backend=self._backend,
            timings=timings,
            cost=cost,
            warnings=notices + run.notices + output_notices(outputs),
            graph=run.graph,
            server=await self._about_server(),
        )

    async def _about_server(self) -> dict[str, Any]:
        """Return versions and GPU, asked once per engine; empty if the server does not answer: that must not cost a result."""
        if self._server is None:
            try:
                stats = await self._client.system_stats()
            except RylaGenError:
                return {}
            self._server = _describe(stats)
        return self._server


def _describe(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions and GPU, as far as a server tells them in the usual shape."""
    system, devices = stats.get("system"), stats.get("devices")
    system = system if isinstance(system, dict) else {}
    first = devices[0] if isinstance(devices, list) and devices and isinstance(devices[0], dict) else {}
    said = {"comfyui": system.get("comfyui_version"), "gpu": first.get("name")}
    found: dict[str, Any] = {key: clean(value, 200) if value is not None else None for key, value in said.items()}
    return {**found, "emulated": True} if "emulator" in system else found


def _stored_graph(entry: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the graph in a history entry, if it has the shape of one."""
    match (entry or {}).get("prompt"):
        case [_, _, dict(graph), *_] if all(
            isinstance(node, dict) and isinstance(node.get("inputs"), dict) for node in graph.values()
        ):
            return graph
    return None


WHOLE_VERDICTS = frozenset({"invalid_prompt", "missing_node_type", "prompt_no_outputs", "http_500"})
"""Errors of a graph as a whole."""
FINAL_VERDICTS = frozenset(
    {
        "required_input_missing",
        "bad_linked_input",
        "dependency_cycle",
        "exception_during_validation",
        "exception_during_inner_validation",
    }
)
"""What no server accepts. The rest (lists, bounds, types) a custom node may judge by rules of its own: the server decides."""


def final_faults(verdict: schema.Verdict) -> dict[str, Any]:
    """Return what no server accepts, written as ComfyUI refuses a graph; empty where the graph is worth sending."""
    whole = verdict.error or {}
    final = {
        node_id: {**entry, "errors": errors}
        for node_id, entry in verdict.node_errors.items()
        if (errors := [error for error in entry["errors"] if error["type"] in FINAL_VERDICTS])
    }
    return {"error": whole, "node_errors": final} if final or whole.get("type") in WHOLE_VERDICTS else {}


def used_seed(workflow: Workflow, graph: Mapping[str, Any]) -> int:
    """Return the seed a run used: the request's, or for a custom graph the first one it names."""
    seed = getattr(workflow, "seed", None)
    drawn = graph_seed(graph) if workflow.own_graph else 0
    return drawn if seed is None else int(seed)
