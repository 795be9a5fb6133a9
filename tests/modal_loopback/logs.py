"""What containers and image builds wrote, kept for as long as the loopback runs: counted, fetched by time, and streamed.

Modal keeps an entry for each piece of output, with its time and its container. Which call an entry belongs to Modal knows only
where a container runs one input at a time; the loopback leaves the call of an entry empty where several ran.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import Container, Function, World, found

LONGEST = 35 * 86_400
"""Seconds that one question may span at most (``modal._logs``)."""
LEAST_WAIT = 0.2
"""Seconds that a stream stays open at least, so that a client that asks for no waiting does not ask at once again."""

Wanted = pb.AppFetchLogsRequest | pb.AppCountLogsRequest | pb.AppGetLogsRequest


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of output."""

    number: int
    at: int
    """Nanoseconds since 1970."""
    text: str
    app: str
    task: str
    function: Function | None = None
    call: str = ""
    input: str = ""
    error: bool = False
    """Whether it was written to stderr."""


class Logs:
    """Everything that was written, in order."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._entries: list[Entry] = []

    # -- what writes -----------------------------------------------------------------------------------

    def write(self, container: Container, text: str, *, error: bool) -> None:
        """Keep what a container wrote."""
        running = list(container.running.values())
        alone = running[0] if len(running) == 1 else None
        call, item = (alone.call.id, alone.id) if alone else ("", "")
        app = container.function.app.id
        self._add(Entry(len(self._entries) + 1, time.time_ns(), text, app, container.id, container.function, call, item, error))

    def write_build(self, app: str, task: str, text: str) -> None:
        """Keep what the build of an image wrote."""
        self._add(Entry(len(self._entries) + 1, time.time_ns(), text, app, task))

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._world.written.fire()

    async def read(self, container: Container, pipe: int, *, error: bool) -> None:
        """Read a container's output to its end, entry by entry, into its file and into here."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb"))
        try:
            with container.log.open("ab") as file:
                while data := await reader.read(65_536):
                    file.write(data)
                    file.flush()
                    self.write(container, data.decode(errors="replace"), error=error)
        finally:
            transport.close()

    # -- what asks -------------------------------------------------------------------------------------

    async def AppCountLogs(self, request: pb.AppCountLogsRequest, caller: Caller) -> pb.AppCountLogsResponse:
        begin, end = _span(request)
        width = request.bucket_secs or 60
        first = math.floor(begin / width)
        response = pb.AppCountLogsResponse(app_id=request.app_id)
        for number in range(first, max(first, math.ceil(end / width))):
            held = [item for item in self._within(request, begin, end) if math.floor(item.at / 1e9 / width) == number]
            errors = sum(item.error for item in held)
            start = Timestamp(seconds=number * width)
            response.buckets.add(bucket_start_at=start, stderr_logs=errors, stdout_logs=len(held) - errors)
        return response

    async def AppFetchLogs(self, request: pb.AppFetchLogsRequest, caller: Caller) -> pb.AppFetchLogsResponse:
        """Answer the newest entries of a time, oldest first."""
        begin, end = _span(request)
        held = list(self._within(request, begin, end))
        return pb.AppFetchLogsResponse(batches=[_batch(item) for item in held[-request.limit or None :]])

    async def AppGetLogs(self, request: pb.AppGetLogsRequest, caller: Caller) -> AsyncIterator[pb.TaskLogsBatch]:
        """Stream what is written from now on, or after the entry that the client saw last."""
        at = int(request.last_entry_id or len(self._entries))
        deadline = time.monotonic() + max(request.timeout, LEAST_WAIT)
        app = self._world.apps.get(request.app_id)
        while time.monotonic() < deadline:

            def fresh(known: int = at) -> list[Entry]:
                return self._entries[known:]

            for item in await self._world.written.until(fresh, deadline - time.monotonic()):
                at = item.number
                if _fits(request, item):
                    yield _batch(item)
            if app is not None and app.state == pb.APP_STATE_STOPPED:
                yield pb.TaskLogsBatch(app_done=True)
                return

    async def TaskGetInfo(self, request: pb.TaskGetInfoRequest, caller: Caller) -> pb.TaskGetInfoResponse:
        one = found(self._world.containers, request.task_id, "Container")
        info = pb.TaskInfo(id=request.task_id, enqueued_at=one.enqueued_at, started_at=one.ready_at, finished_at=one.finished_at)
        return pb.TaskGetInfoResponse(app_id=one.function.app.id, info=info)

    def _within(self, request: Wanted, begin: float, end: float) -> Iterable[Entry]:
        return (item for item in self._entries if begin <= item.at / 1e9 < end and _fits(request, item))


def _span(request: pb.AppFetchLogsRequest | pb.AppCountLogsRequest) -> tuple[float, float]:
    """The time that is asked for, in seconds since 1970."""
    begin, end = (item.seconds + item.nanos / 1e9 for item in (request.since, request.until))
    if end - begin > LONGEST:
        raise GRPCError(Status.INVALID_ARGUMENT, "the time range is too long")
    return begin, end


def _fits(request: Wanted, item: Entry) -> bool:
    """Whether an entry passes every filter of a question."""
    function = item.function
    names = {function.id, function.base.id if function is not None and function.base else ""} if function is not None else set()
    checks: list[tuple[str, Callable[[str], bool]]] = [
        (request.app_id, lambda wanted: item.app == wanted),
        (request.task_id, lambda wanted: item.task == wanted),
        (request.function_id, lambda wanted: wanted in names),
        (request.function_call_id, lambda wanted: item.call == wanted),
        (request.search_text, lambda wanted: wanted in item.text),
    ]
    return all(check(wanted) for wanted, check in checks if wanted)


def _batch(item: Entry) -> pb.TaskLogsBatch:
    batch = pb.TaskLogsBatch(
        task_id=item.task, entry_id=str(item.number), function_id=item.function.id if item.function else "", input_id=item.input
    )
    batch.items.add(
        data=item.text,
        timestamp=item.at / 1e9,
        timestamp_ns=item.at,
        file_descriptor=pb.FILE_DESCRIPTOR_STDERR if item.error else pb.FILE_DESCRIPTOR_STDOUT,
        function_call_id=item.call,
        input_id=item.input,
        container_id=item.task,
    )
    return batch
