"""Read from Modal what containers and builds of images wrote, also after they are gone. Decides nothing; knows no job.

Modal's own commands do the same (``modal app logs``, ``modal container logs``, ``modal image logs``: ``modal/cli`` of 1.6.4). Its
Python API has the logs of a call, a function, an app and an image, but not those of a container, and not when a container started:
this uses the client inside those commands, as ``modal_apps`` does. How long logs are kept, the workspace's plan says.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import modal
from modal._logs import LogsFilters
from modal._logs_manager import _LogsManager
from modal._supports_logs import _LogQueryData
from modal._utils.async_utils import synchronizer
from modal.client import _Client
from modal.types import LogEntry
from modal_proto import api_pb2 as pb

from .modal_apps import send

LONGEST_SECONDS = 34 * 86_400.0
"""Seconds that one question may span: Modal refuses 35 days and more (``modal._logs._MAX_FETCH_RANGE``)."""
KINDS = {"fc": "call", "ta": "container"}
"""Beginning of an id that Modal names beside an entry → field of :class:`Entry`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of output; it may be part of a line, or several lines."""

    at: float
    """When it was written: seconds since 1970, by Modal's clock."""
    text: str
    """What was written."""
    container: str = ""
    """Id of the container that wrote it."""
    call: str = ""
    """Id of the call for which it was written, where Modal knows that."""
    channel: str = ""
    """``stdout``, ``stderr`` or ``system``: each has lines of its own."""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A function call, as Modal remembers it."""

    app_id: str
    function_id: str
    created_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """A container's life; 0 is a moment that has not come."""

    enqueued_at: float
    started_at: float
    """When it was ready for requests."""
    finished_at: float


@dataclass(frozen=True, slots=True)
class Where:
    """Whose logs are wanted; empty is not asked for."""

    app_id: str
    function_id: str = ""
    call_id: str = ""
    container_id: str = ""

    def filters(self) -> LogsFilters:
        """Return it as Modal's client writes it."""
        return LogsFilters(function_id=self.function_id, function_call_id=self.call_id, task_id=self.container_id)


@dataclass(frozen=True, slots=True)
class _Source:
    """What Modal's reader of logs asks for where to read."""

    client: Any
    where: Where

    async def _get_log_query_data(self) -> _LogQueryData:
        return _LogQueryData(self.client, self.where.app_id, self.where.filters(), self.where.app_id)


async def find_call(call_id: str) -> CallFacts:
    """Look up a call: its app, its function, and when it was made."""
    found: pb.FunctionCallFromIdResponse = await send("FunctionCallFromId", pb.FunctionCallFromIdRequest(function_call_id=call_id))
    about = found.metadata
    request = pb.FunctionCallGetInfoRequest(function_id=about.function_id, function_call_id=call_id)
    info: pb.FunctionCallGetInfoResponse = await send("FunctionCallGetInfo", request)
    return CallFacts(about.app_id, about.function_id, info.info.created_at)


async def containers_of(call_id: str) -> set[str]:
    """Return the containers that were given a call; Modal does not promise that it knows them."""
    graph: pb.FunctionGetCallGraphResponse = await send(
        "FunctionGetCallGraph", pb.FunctionGetCallGraphRequest(function_call_id=call_id)
    )
    return {item.task_id for item in graph.inputs if item.task_id and item.function_call_id == call_id}


async def find_container(container_id: str) -> ContainerFacts:
    """Look up when a container began and ended."""
    found: pb.TaskGetInfoResponse = await send("TaskGetInfo", pb.TaskGetInfoRequest(task_id=container_id))
    info = found.info
    return ContainerFacts(info.enqueued_at, info.started_at, info.finished_at)


async def find_function(app_id: str, cls: str) -> str:
    """Return the id of the function behind a class of an app; empty where the app has no such class."""
    found: pb.AppGetLayoutResponse = await send("AppGetLayout", pb.AppGetLayoutRequest(app_id=app_id))
    return str(found.app_layout.function_ids.get(f"{cls}.*", ""))


async def fetch(where: Where, since: float, until: float | None = None) -> list[Entry]:
    """Return what was written in a time, in the order of time; ``until`` is now where it is None."""
    until = min(until or time.time(), time.time()) + 1.0
    since = max(since, until - LONGEST_SECONDS)
    if since >= until:
        return []
    return [item async for item in _read.aio(where, "fetch", {"since": _moment(since), "until": _moment(until)})]


async def newest(where: Where, count: int) -> list[Entry]:
    """Return the newest entries, of the last 30 days, in the order of time."""
    return [item async for item in _read.aio(where, "tail", {"entries": count})]


async def stream(where: Where) -> AsyncGenerator[Entry, None]:
    """Yield what is written from now on, until the app is stopped. Connections that break are made again."""
    async with contextlib.aclosing(_read.aio(where, "stream", {})) as entries:
        async for item in entries:
            yield item


async def image_entries(image_id: str) -> list[Entry]:
    """Return what the build of an image wrote, all its layers, the lowest first."""
    image = modal.Image.from_id(image_id)
    return [_entry(item) async for item in image.logs.fetch.aio(layers=None)]


async def _entries(where: Where, verb: str, arguments: dict[str, Any]) -> AsyncGenerator[Entry, None]:
    client = await _Client.from_env()
    manager: Any = _LogsManager(_Source(client, where))
    async with contextlib.aclosing(getattr(manager, verb)(**arguments)) as entries:
        async for item in entries:
            entry = _entry(item)
            yield replace(entry, container=entry.container or where.container_id, call=entry.call or where.call_id)


_read: Any = synchronizer.create_blocking(_entries)
"""Modal's client lives on an event loop of its own, in a thread of its own."""


def _entry(item: LogEntry) -> Entry:
    named = {KINDS[known[:2]]: known for known in item.context_ids if known[:2] in KINDS}
    return Entry(item.timestamp.timestamp(), item.message, **named, channel=item.source)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
