"""Containers, the server's side: how many, which input goes where, what happens when one dies. Starts no process itself."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Coroutine
from typing import Any

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

from tests.modal_loopback.autoscaler import Scaling
from tests.modal_loopback.functions import autoscaler_of, definition_of
from tests.modal_loopback.process import Processes
from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import App, Container, Function, Input, World, found

DEATHS = 3
"""Containers that may die of an input, or fail to start, before the server gives up."""
POLL = 10.0
"""Seconds a container waits for an input before it asks again."""
IDLE = 60.0
"""Scale-down window of a function that names none (Modal's default)."""
GRACE = 30.0
"""Seconds for exit hooks when the loopback ends."""

Result = pb.GenericResult


def load_of(function: Function) -> int:
    """Inputs that wait for a container or run in one that goes on."""
    return len(function.waiting) + sum(len(container.running) for container in function.containers if not container.stopping)


class Containers:
    """Starts and stops containers as inputs come and go, and hands the inputs out."""

    def __init__(self, world: World, processes: Processes, most: int, scaledown: float | None, heartbeat: float) -> None:
        self._world = world
        self._processes = processes
        self._most = most
        self._scaledown = scaledown
        self._heartbeat = heartbeat
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    # -- how many, and where ---------------------------------------------------------------------------

    def enqueue(self, item: Input, first: bool = False) -> None:
        """Let an input wait for a container."""
        function = item.call.function
        item.container, item.deadline = None, float("inf")
        (function.waiting.appendleft if first else function.waiting.append)(item)
        self.scale(function)
        function.changed.fire()

    def scale(self, function: Function) -> None:
        """Start as many containers as the waiting inputs and the settings ask for."""
        if self._closing or function.app.state == pb.APP_STATE_STOPPED:
            return
        live = [container for container in function.containers if not container.stopping]
        for _ in range(self._scaling(function).containers(load_of(function)) - len(live)):
            container_id = self._world.new_id("ta")
            container = Container(container_id, function, self._world.folder / "containers" / container_id)
            function.containers.append(container)
            self._world.containers[container.id] = container
            self._spawn(self._live(container))

    def _scaling(self, function: Function) -> Scaling:
        """The settings in force, as the knobs let them count."""
        settings, definition = autoscaler_of(function), definition_of(function)
        most = min(self._most, settings.max_containers or self._most)
        packed = Scaling(max(1, definition.max_concurrent_inputs), most, min_containers=settings.min_containers)
        if not self._world.knobs.autoscale:
            return packed
        target, spare = definition.target_concurrent_inputs, settings.buffer_containers
        return dataclasses.replace(packed, target_inputs=target, buffer_containers=spare)

    def replace(self, app: App) -> None:
        """Stop what an older deployment left running, and start what the new one keeps warm."""
        for function in [known for known in self._world.functions.values() if known.app is app]:
            for container in function.containers:
                self.stop(container)
            if app.state == pb.APP_STATE_DEPLOYED and function.id in app.functions.values():
                self.scale(function)

    async def end(self, app: App) -> None:
        """Kill every container of a stopped app; what waited or ran there is over."""
        over = Result(status=Result.GENERIC_STATUS_TERMINATED, exception="App was stopped")
        for function in [known for known in self._world.functions.values() if known.app is app]:
            running = [item for container in function.containers for item in container.running.values()]
            for item in [*function.waiting, *running]:
                await self.withdraw(item, over)
            for container in function.containers:
                self.stop(container)
                self._processes.kill(container)

    def stop(self, container: Container) -> None:
        """Give a container no further inputs; it finishes what it runs, then ends."""
        container.stopping = True
        container.function.changed.fire()

    def preempt(self, container: Container) -> None:
        """Take a container's machine away: it is told to stop, and gets no further inputs."""
        container.interrupted = True
        self.stop(container)
        self._processes.interrupt(container)

    async def withdraw(self, item: Input, result: pb.GenericResult, kill: bool = False) -> None:
        """Take an input back, wherever it is: its result is decided here."""
        function, container = item.call.function, item.container
        item.call.finish(item, result)
        if item in function.waiting:
            function.waiting.remove(item)
        elif container is not None:
            container.cancelling.append(item.id)
            container.changed.fire()
            if kill:
                self._processes.kill(container)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- a container's life ----------------------------------------------------------------------------

    async def _live(self, container: Container) -> None:
        function = container.function
        try:
            await function.changed.until(lambda: container.stopping, self._world.knobs.cold_start)
            container.exit_code = 0 if container.stopping else await self._processes.run(container)
        except Exception as fault:
            self._world.bugs.append(f"{container.id} could not be started: {fault!r}")
        container.finished_at = time.time()
        function.containers.remove(container)
        lost, container.running = [item for item in container.running.values() if not item.done], {}
        crash = Result(
            status=Result.GENERIC_STATUS_FAILURE, exception=f"container {container.id} exited with {container.exit_code}"
        )
        if not container.ready and not container.stopping:
            function.failed_starts += 1
        if container.failure or function.failed_starts >= DEATHS:
            function.failed_starts = 0
            lost += function.waiting
            function.waiting.clear()
            for item in lost:
                item.call.finish(item, container.failure or crash)
            return
        for item in reversed(lost):
            item.lost += 1
            if item.lost >= DEATHS:
                item.call.finish(item, crash)
            else:
                self.enqueue(item, first=True)
        self.scale(function)

    async def watch(self) -> None:
        """Enforce function timeouts and scale-down windows, for as long as the server runs."""
        while True:
            await asyncio.sleep(0.05)
            for function in list(self._world.functions.values()):
                for container in list(function.containers):
                    await self._enforce(container)

    async def _enforce(self, container: Container) -> None:
        now, function = time.monotonic(), container.function
        for item in list(container.running.values()):
            if not item.done and now > item.deadline:
                limit = definition_of(function).timeout_secs
                text = f"Task's current input {item.id} hit its timeout of {limit}s"
                await self.withdraw(item, Result(status=Result.GENERIC_STATUS_TIMEOUT, exception=text))
        settings = autoscaler_of(function)
        idle = self._scaledown if self._scaledown is not None else settings.scaledown_window or IDLE
        live = sum(not known.stopping for known in function.containers)
        if container.running or function.waiting or container.stopping:
            return
        if live <= self._scaling(function).containers(load_of(function)):
            return
        if container.ready and now - container.idle_since > idle:
            self.stop(container)

    async def close(self) -> None:
        """End every container: exit hooks run for some seconds, then it is killed."""
        self._closing = True
        live = [container for function in self._world.functions.values() for container in function.containers]
        for function in self._world.functions.values():
            function.waiting.clear()
        for container in live:
            container.cancelling += container.running
            container.changed.fire()
            self.stop(container)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE)
        for container in live:
            self._processes.kill(container)
        await asyncio.gather(*self._tasks)

    # -- what containers call --------------------------------------------------------------------------

    async def ContainerHello(self, request: Empty, caller: Caller) -> Empty:
        return Empty()

    async def ContainerHeartbeat(self, request: pb.ContainerHeartbeatRequest, caller: Caller) -> pb.ContainerHeartbeatResponse:
        container = caller.inside
        container.heartbeats += 1

        def cancelling() -> list[str]:
            # Told until the container has ended it: its client may give the answer up, or may not have the input yet.
            container.cancelling = [item for item in container.cancelling if item in container.running]
            return container.cancelling

        if not await container.changed.until(cancelling, self._heartbeat * 0.9):
            return pb.ContainerHeartbeatResponse()
        return pb.ContainerHeartbeatResponse(cancel_input_event=pb.CancelInputEvent(input_ids=container.cancelling))

    async def ContainerCheckpoint(self, request: pb.ContainerCheckpointRequest, caller: Caller) -> Empty:
        container = caller.inside
        container.snapshots += 1
        restored = {}
        if self._world.knobs.restores_elsewhere:
            restored["task_id"] = self._world.new_id("ta")
            self._world.containers[restored["task_id"]] = container
        self._spawn(self._restore(container, restored))
        return Empty()

    async def _restore(self, container: Container, restored: dict[str, str]) -> None:
        self._processes.freeze(container, restored)

    async def FunctionGetDynamicConcurrency(
        self, request: pb.FunctionGetDynamicConcurrencyRequest, caller: Caller
    ) -> pb.FunctionGetDynamicConcurrencyResponse:
        function, most = caller.inside.function, request.max_concurrency
        places = self._scaling(function).places(load_of(function)) if self._world.knobs.autoscale else most
        return pb.FunctionGetDynamicConcurrencyResponse(concurrency=places)

    async def FunctionGetInputs(self, request: pb.FunctionGetInputsRequest, caller: Caller) -> pb.FunctionGetInputsResponse:
        container = caller.inside
        function, container.ready = container.function, True
        container.ready_at = container.ready_at or time.time()
        await function.changed.until(lambda: container.stopping or bool(function.waiting), POLL)
        if container.stopping:
            return pb.FunctionGetInputsResponse(inputs=[pb.FunctionGetInputsItem(kill_switch=True)])
        if not function.waiting:
            return pb.FunctionGetInputsResponse()
        item = function.waiting.popleft()
        self._hand(item, container)
        return pb.FunctionGetInputsResponse(
            inputs=[
                pb.FunctionGetInputsItem(
                    input_id=item.id,
                    input=item.payload,
                    function_call_id=item.call.id,
                    function_call_invocation_type=item.call.kind,
                    function_map_idx=item.index,
                )
            ]
        )

    def _hand(self, item: Input, container: Container) -> None:
        limit = definition_of(container.function).timeout_secs
        item.container, item.deadline = container, time.monotonic() + (limit or float("inf"))
        item.handed_to.append(container.id)
        container.running[item.id] = item
        container.handed += 1
        container.peak = max(container.peak, len(container.running))
        if self._world.knobs.kills_now():
            self._processes.kill(container)

    async def FunctionPutOutputs(self, request: pb.FunctionPutOutputsRequest, caller: Caller) -> Empty:
        container = caller.inside
        container.idle_since = time.monotonic()
        for output in request.outputs:
            item = container.running.pop(output.input_id, None)
            if item is not None and not item.done and self._restarts(container, output.result):
                self.enqueue(item, first=True)
            elif item is not None:  # canceled and timed-out inputs are done already: finish() keeps the first result
                item.call.finish(item, output.result, output)
        return Empty()

    def _restarts(self, container: Container, result: pb.GenericResult) -> bool:
        cancelled = result.status == Result.GENERIC_STATUS_TERMINATED
        return container.interrupted and cancelled and not self._world.knobs.interrupted_ends

    async def TaskResult(self, request: pb.TaskResultRequest, caller: Caller) -> Empty:
        caller.inside.failure = request.result
        return Empty()

    async def TaskList(self, request: pb.TaskListRequest, caller: Caller) -> pb.TaskListResponse:
        tasks = [
            pb.TaskStats(task_id=one.id, app_id=known.app.id, app_description=known.app.name, enqueued_at=one.enqueued_at)
            for known in self._world.functions.values()
            if (known.app.id == request.app_id if request.app_id else known.app.environment == (request.environment_name or "main"))
            for one in known.containers
        ]
        return pb.TaskListResponse(tasks=tasks)

    async def ContainerStop(self, request: pb.ContainerStopRequest, caller: Caller) -> pb.ContainerStopResponse:
        self.stop(found(self._world.containers, request.task_id, "Container"))
        return pb.ContainerStopResponse()
