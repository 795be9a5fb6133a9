"""Run one workflow on one ComfyUI server: upload, build, check, submit, follow, collect. Knows no backend and no journal."""

from __future__ import annotations

import asyncio
import contextlib
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
)
from ..comfy.requirements import missing_for
from ..comfy.separators import with_server_names
from ..errors import (
    BackendError,
    HookFailedError,
    JobCanceledError,
    JobExpiredError,
    RefusedError,
    RylaGenError,
    ServerUnhealthyError,
    WorkflowInvalidError,
    before_start,
)
from ..events import Preview, Progress, Queued, Started
from ..graphs.api_format import graph_seed
from ..media.origin import Mark
from ..names import HOOK_GROUP
from ..results import METADATA_KEY, Cost, Generation, Output, Timings, file_texts, metadata, require_outputs
from ..results.output_files import as_output, output_notices, text_output
from ..results.provenance import mark_of
from ..support.cancels import end_all
from ..workflows.base import Files, Notice, Workflow
from ..workflows.preview import default_files
from .answers import describe_server, stored_graph
from .limits import Limits, Watched
from .loras import stored_loras
from .output_hooks import OutputHook, check_outputs, installed_hooks
from .progress import Collected, CollectedItem, Emit, PromptProgress
from .uploads import Uploads
from .verdicts import final_faults

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
        self._hooks: tuple[OutputHook, ...] = ()
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
            self._hooks = await asyncio.to_thread(installed_hooks) if place != "absent" else ()
        except asyncio.CancelledError:
            await asyncio.shield(self.stop(job))
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
            run.graph = stored_graph(entry) or run.graph
            seed = used_seed(workflow, run.graph)
            outputs = await self._collect(run, workflow, seed, job)
        finally:
            run.collected.close()
        return await self._stamp(workflow, run, outputs, workflow.notices(), seed=seed, job=job, began=began)

    async def _prepare(self, workflow: Workflow, job: str, loras: Mapping[str, str]) -> tuple[dict[str, Any], tuple[Notice, ...]]:
        """Upload, build and check the graph. Nothing is submitted yet, so no result can be lost here."""
        uploads = asyncio.ensure_future(self._uploads.bring(workflow))
        try:
            schemas, self._hooks = await asyncio.gather(self._client.object_info(), asyncio.to_thread(installed_hooks))
            files = Files(prefix=f"ryla/{job}/{workflow.name}", media=await uploads, loras=loras)
        finally:
            await end_all([uploads])
        graph = with_server_names(workflow.build(await self._with_loras(files, workflow, schemas)).to_api(), schemas)
        graph = dict(schema.rename_classes(graph, schemas))
        known = workflow.checks_files()
        if missing_for(workflow.name, graph, schemas, files=known) or final_faults(schema.validate(graph, schemas)):
            # Nodes or weights may have come since the schemas were read: look again once before refusing.
            schemas = await self._client.object_info(refresh=True)
            graph = with_server_names(graph, schemas)
            if missing := missing_for(workflow.name, graph, schemas, files=known, default_files=default_files(type(workflow))):
                emulated = self._backend == "emulator"
                raise missing.error_of_emulator(workflow.lock_file()) if emulated else missing.error(self._backend)
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
        await Watched(self._client, run, job, limits, note=lambda message: self._note(message, run), stop=self.stop).follow(
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

    async def stop(self, job: str) -> bool:
        """Stop a prompt on the server. A failure is kept in ``uncancelled``, and does not hide the reason for stopping."""
        try:
            await self._client.cancel(job)
        except RylaGenError as error:
            self.uncancelled.add(job)
            log.warning("the server could not be told to stop the job %s: %s", job, error.message)
            return False
        self.uncancelled.discard(job)
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
            case PreviewImage(media_type=media_type, data=data) if not self._hooks:  # it would show what a hook may refuse
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
        texts = file_texts(workflow, seed, job, run.graph)
        run.server = await self._about_server()
        mark = mark_of(run.graph, emulated="emulated" in run.server)

        async def made(item: CollectedItem, index: int) -> Output:
            name, node = f"{workflow.name}-{seed}-{index}", item.node or None
            if item.text is not None:
                return text_output(item.text, name, node=node)
            data = await item.task if item.task is not None else item.data
            return as_output(data, item.name, name, getattr(workflow, "output_format", "png"), texts, node=node, mark=mark)

        outputs = tuple([await made(item, index) for index, item in enumerate(run.collected.in_graph_order(run.graph))])
        if not outputs and run.gap:
            text = "The connection was lost while the graph ran, and the pictures that it sent over the websocket with it."
            raise ServerUnhealthyError(text, "End the graph with SaveImage, whose files stay on the server, and run it again.")
        require_outputs(outputs, workflow.name)
        return await self._checked(outputs, run, workflow, (texts, mark), job)

    async def _checked(
        self, outputs: tuple[Output, ...], run: PromptProgress, workflow: Workflow, said: tuple[Mapping[str, str], Mark], job: str
    ) -> tuple[Output, ...]:
        """Ask the hooks. What one refused is forgotten by the server as well, as far as a server forgets: its files stay there."""

        def tell(index: int) -> None:
            run.emit(Progress, fraction=1.0, step=index, steps=len(outputs), node=HOOK_GROUP)

        try:
            return await check_outputs(outputs, workflow, self._hooks, *said, tell)
        except RefusedError as error:
            cost = self._cost(self._seconds(run))
            error.details |= {"gpu_seconds": cost.gpu_seconds, "cost_usd": cost.total_usd}
            await self.forget(job, error)
            raise

    async def forget(self, job: str, error: RefusedError) -> None:
        """Take a refused job out of the server's history, so that nobody fetches its result by it.

        Args:
            job: id of the job, which has ended.
            error: why. Where the hook itself failed, the result stays: it can be fetched when the hook works.
        """
        if not isinstance(error, HookFailedError):
            with contextlib.suppress(RylaGenError):  # the refusal counts all the same
                await self._client.forget(job)

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
        running = self._seconds(run)
        queued = max(0.0, (run.started or run.submitted) - run.submitted)
        return Generation(
            workflow=workflow,
            outputs=outputs,
            seed=seed,
            job=job,
            backend=self._backend,
            timings=Timings(queued=queued, running=running, total=max(time.monotonic() - began, queued + running)),
            cost=self._cost(running),
            warnings=notices + run.notices + output_notices(outputs),
            graph=run.graph,
            server={**run.server, **({"on_output": [hook.name for hook in self._hooks]} if self._hooks else {})},
        )

    def _seconds(self, run: PromptProgress) -> float:
        """Return how long the graph held the GPU; hooks run after its end."""
        if run.gap and all(run.server_clock):  # the start was before this process followed the prompt, or was missed
            return max(0.0, run.server_clock[1] - run.server_clock[0])
        started = run.started or run.submitted
        return max(0.0, (run.ended or started) - started)

    def _cost(self, running: float) -> Cost:
        usd = running * self._hourly_usd / 3600
        return Cost(total_usd=usd, gpu_usd=usd, gpu=self._gpu, gpu_seconds=0.0 if self._backend == "emulator" else running)

    async def _about_server(self) -> dict[str, Any]:
        """Return versions and GPU, asked once per engine; empty if the server does not answer: that must not cost a result."""
        if self._server is None:
            try:
                stats = await self._client.system_stats()
            except RylaGenError:
                return {}
            self._server = describe_server(stats)
        return self._server


def used_seed(workflow: Workflow, graph: Mapping[str, Any]) -> int:
    """Return the seed a run used: the request's, or for a custom graph the first one it names."""
    seed = getattr(workflow, "seed", None)
    return int(seed) if seed is not None else graph_seed(graph) if workflow.own_graph else 0
