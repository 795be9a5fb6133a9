"""Show what the containers of a job or an app wrote, and the builds of their images, also when they are gone. Starts nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import modal
from grpclib.exceptions import StreamTerminatedError

from ...errors import JobExpiredError, JobNotFoundError, NotDeployedError
from ...remote import modal_apps, modal_logs
from ...remote.build_logs import IMAGE_LINE, read_build
from ...remote.modal_errors import from_modal_error
from ...remote.modal_logs import CallFacts, Entry, Where
from ...settings import Settings
from ...support.log_text import LogText
from ..logs import LogLine, LogRequest, until
from .calls import REACH_SECONDS

BEFORE_SECONDS, AFTER_SECONDS = 5.0, 10.0
"""How much before the start and after the end of a job counts as its own: its times are of other clocks than the log's."""
NEWEST = 1000
"""Entries shown of an app, for which no job says when its log begins."""
ASK_SECONDS = 1.0
"""How often Modal is asked which container has a job, while it says so by nothing else."""
IMAGE_NAMED = re.compile(re.escape(IMAGE_LINE) + r"(im-[A-Za-z0-9]{1,40})\b")
KEPT_HINT = "Modal keeps logs for as long as the plan of the workspace says. What went wrong with it: ryla-gen jobs show ID"


@dataclass(slots=True)
class _Shown:
    """What was shown, so that nothing is shown twice: the newest lines are read and streamed, and read again."""

    counts: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    """Entry, its time to the millisecond → how often it was shown."""
    passed: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    """The same, of this reading."""
    texts: dict[tuple[str, str], LogText] = field(default_factory=dict)
    """The lines that have no end yet, by container and channel."""

    def read_again(self) -> None:
        """Begin another reading: what it has in common with earlier ones is passed over."""
        self.passed.clear()

    def add(self, entry: Entry) -> Iterator[LogLine]:
        """Yield the lines that an entry ends, unless it was shown before."""
        key = int(entry.at * 1000), entry.container, entry.text
        self.passed[key] += 1
        if self.passed[key] > self.counts[key]:
            self.counts[key] = self.passed[key]
            text = self.texts.setdefault((entry.container, entry.channel), LogText())
            yield from (_line(line, entry.container, entry.at) for line in text.add(entry.text))

    def add_all(self, entries: Iterable[Entry], *, end: bool) -> Iterator[LogLine]:
        """Yield the lines of another reading, and with ``end`` those that have no end."""
        self.read_again()
        for entry in entries:
            yield from self.add(entry)
        for (container, _), text in self.texts.items() if end else ():
            yield from (_line(line, container) for line in text.end())


def _line(text: str, container: str, at: float | None = None) -> LogLine:
    return LogLine(text, "comfyui", f"container {container}" if container else "Modal", None if at is None else _moment(at))


async def job_lines(settings: Settings, wanted: LogRequest) -> AsyncGenerator[LogLine, None]:
    """Yield what the build of a job's image wrote, then the start of its container, then what was written while the job ran.

    Args:
        settings: the Modal environment, and where builds are kept.
        wanted: the job.

    Raises:
        JobNotFoundError: it has no call at Modal.
        JobExpiredError: Modal no longer knows its call.
        BackendError: Modal cannot be asked.
    """
    backend, _, call_id = (wanted.handle or "").partition(":")
    if backend != "modal":
        raise JobNotFoundError(f"The job {wanted.job} has no call at Modal: it may never have arrived there.")
    with _typed("Reading the log"):
        call = await _find(call_id, wanted.job)
        history, shown = await _history(call_id, call, wanted), _Shown()
        for line in await _build_lines(replace(settings, modal_app=wanted.app), history):
            yield line
        for line in shown.add_all(history, end=wanted.ended is None):
            yield line
        if wanted.ended is None:
            return
        shown.read_again()
        async with contextlib.aclosing(_follow(call_id, call, wanted)) as entries:
            async for entry in entries:
                for line in shown.add(entry):
                    yield line
        # What was on its way when the job ended, and the start of a container that was not known to be the job's own.
        late = await _history(call_id, call, replace(wanted, ended_at=time.time()))
        for line in shown.add_all(late, end=True):
            yield line


async def app_lines(settings: Settings, cls: str, *, follow: bool) -> AsyncGenerator[LogLine, None]:
    """Yield what the build of an app's image wrote, then the newest output of the containers of one of its classes.

    Args:
        settings: which app, and where.
        cls: the class; empty is the whole app.
        follow: whether what is written from now on is awaited, without an end.

    Raises:
        NotDeployedError: there is no such app, and nothing is kept of a deploy.
        BackendError: Modal cannot be asked.
    """
    kept = read_build(settings)
    if kept is not None:
        for line in await _build_lines(settings, ()):
            yield line
    with _typed(f"Reading the log of {settings.modal_app}"):
        try:
            where = await _app(settings, cls)
        except NotDeployedError:
            if kept is None:
                raise
            return  # its first build failed: what that said is all there is
        history, shown = await modal_logs.newest(where, NEWEST), _Shown()
        if kept is None:
            for line in await _build_lines(settings, history):
                yield line
        for line in shown.add_all(history, end=not follow):
            yield line
        if follow:
            async with contextlib.aclosing(_stream_app(where, shown)) as lines:
                async for line in lines:
                    yield line


async def _stream_app(where: Where, shown: _Shown) -> AsyncGenerator[LogLine, None]:
    """Yield what an app writes from now on, and first what it wrote between the reading before and the start of the stream."""
    began = False
    async with contextlib.aclosing(modal_logs.stream(where)) as entries:
        async for entry in entries:
            if not began:
                for line in shown.add_all(await modal_logs.newest(where, NEWEST), end=False):
                    yield line
                shown.read_again()
                began = True
            for line in shown.add(entry):
                yield line


async def _find(call_id: str, job: str) -> CallFacts:
    try:
        async with asyncio.timeout(REACH_SECONDS):
            return await modal_logs.find_call(call_id)
    except modal.exception.NotFoundError:
        raise JobExpiredError(f"Modal no longer knows the call of the job {job}.", KEPT_HINT, {"job": job}) from None


async def _history(call_id: str, call: CallFacts, wanted: LogRequest) -> list[Entry]:
    """Return everything so far: the start of each container that had the job, and what it wrote while the job ran."""
    begin = max(wanted.begun_at or 0.0, call.created_at) - BEFORE_SECONDS
    end = wanted.ended_at + AFTER_SECONDS if wanted.ended_at is not None else time.time()
    own = await modal_logs.fetch(Where(call.app_id, call_id=call_id), call.created_at, end)
    containers = await modal_logs.containers_of(call_id) | {item.container for item in own if item.container}
    if not containers:  # none was ready to take it: why, the containers say that were started for it
        return await modal_logs.fetch(Where(call.app_id, call.function_id), call.created_at, end)
    found = [await _container(call.app_id, item, begin, end) for item in containers]
    return [item for entries in sorted(found, key=lambda entries: entries[0].at if entries else 0.0) for item in entries]


async def _container(app_id: str, container: str, begin: float, end: float) -> list[Entry]:
    where = Where(app_id, container_id=container)
    try:
        facts = await modal_logs.find_container(container)
    except modal.exception.NotFoundError:
        return await modal_logs.fetch(where, begin, end)
    ready = facts.started_at or end
    if ready + AFTER_SECONDS >= begin:
        return await modal_logs.fetch(where, facts.enqueued_at or begin, end)
    start = await modal_logs.fetch(where, facts.enqueued_at or begin, ready + BEFORE_SECONDS)
    return [*start, *(item for item in await modal_logs.fetch(where, begin, end) if item not in set(start))]


async def _follow(call_id: str, call: CallFacts, wanted: LogRequest) -> AsyncGenerator[Entry, None]:
    """Yield what is written until the job has ended: by its container, and before that is known by all that its class has."""
    own, met, asked = await modal_logs.containers_of(call_id), set[str](), time.monotonic()
    where = Where(call.app_id, call.function_id)
    async with contextlib.aclosing(modal_logs.stream(where)) as stream, contextlib.aclosing(until(stream, wanted.ended)) as entries:
        async for entry in entries:
            if entry.call == call_id:
                own.add(entry.container)
            if entry.container not in met or (not own and time.monotonic() - asked > ASK_SECONDS):
                own, asked = own | await modal_logs.containers_of(call_id), time.monotonic()
                met.add(entry.container)
            if not own or entry.container in own:
                yield entry


async def _app(settings: Settings, cls: str) -> Where:
    """Find an app by its name, also one that was stopped.

    Raises:
        NotDeployedError: there never was one, or it has no such class.
    """
    async with asyncio.timeout(REACH_SECONDS):
        found = await modal_apps.find_app(settings.modal_app, settings.modal_environment)
        app_id = found.app_id or found.previous_app_id
        if not app_id:
            raise NotDeployedError(f"The app {settings.modal_app} is not deployed, and no deploy of it is kept on this machine.")
        try:
            function = await modal_logs.find_function(app_id, cls) if cls else ""
        except modal.exception.NotFoundError:  # a stopped app may have no classes any more
            return Where(app_id)
    if cls and not function:
        raise NotDeployedError(f"The app {settings.modal_app} has no class {cls}.")
    return Where(app_id, function)


async def _build_lines(settings: Settings, entries: Iterable[Entry]) -> list[LogLine]:
    """Return the log of the image's build: Modal's own, where a container named its image, else what the last deploy said."""
    images = dict.fromkeys(named[1] for item in entries if (named := IMAGE_NAMED.search(item.text)))
    lines = list[LogLine]()
    for image_id in images:
        text = LogText()
        told = [line for entry in await _image_entries(image_id) for line in text.add(entry.text)]
        lines += [LogLine(line, "build", f"build of the image {image_id}") for line in (*told, *text.end())]
    kept = None if lines else read_build(settings)
    if kept is not None:
        lines = [LogLine(line, "build", f"deploy of {settings.modal_app} at {kept.at}, kept in {kept.path}") for line in kept.lines]
    return lines


async def _image_entries(image_id: str) -> list[Entry]:
    try:
        return await modal_logs.image_entries(image_id)
    except modal.exception.Error:  # an old image; what the last deploy said is kept
        return []


@contextlib.contextmanager
def _typed(what: str) -> Iterator[None]:
    """Turn what Modal's client raises into our errors."""
    try:
        yield
    except (modal.exception.Error, OSError, StreamTerminatedError) as error:  # the builtin TimeoutError is an OSError
        raise from_modal_error(error, what) from None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
