"""One websocket, many prompts: drains the socket, hands each message to the follower of its prompt, comes back after a drop.

Knows no HTTP and no graph: the client gives it four functions. It never submits anything. A follower that reads slowly, or not
at all, does not stop the draining: a client that stops reading blocks ComfyUI's publishing for everyone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from ..errors import BackendUnreachableError, InternalError, RylaGenError, ServerUnhealthyError
from .messages import (
    End,
    ExecutionInterrupted,
    ExecutionStart,
    Features,
    Idle,
    Message,
    NodeExecuted,
    NodeExecuting,
    PreviewImage,
    QueuePosition,
    Status,
    Whereabouts,
    clean,
    messages_from_history,
    parse_binary,
    parse_text,
)

log = logging.getLogger("ryla_gen.comfy")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between attempts to reconnect. Not zero at first: ComfyUI tidies up the old socket by its client id, and the new one
goes deaf when that happens after it came."""
PATIENCE = 6
"""A server that accepts and says nothing may be loading a model with Python's lock held: it gets so many times the limit."""
STABLE = 1.0
"""A connection that lived for fewer seconds does not end an outage."""
QUEUE_PAUSE = 0.2
"""Seconds from a change of the queue to the question for positions; a prompt that starts at once never asks."""


@dataclass(frozen=True, slots=True)
class Links:
    """What the feed needs from the client."""

    connect: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]]
    locate: Callable[[Sequence[str]], Awaitable[Mapping[str, Whereabouts]]]
    interrupt: Callable[[str], Awaitable[None]]


class Follower(AsyncIterator[Message]):
    """The messages of one prompt, to its end: ``async for message in follower``.

    Ends after an ``End`` message; raises ServerUnhealthyError when the server is gone or has lost the prompt.
    """

    def __init__(self, prompt_id: str, feed: Feed) -> None:
        self.prompt_id = prompt_id
        self.gap = False
        """The connection was lost while the prompt lived: progress, and pictures sent as frames, may be missing."""
        self.submitted = False
        self.started = False
        self.cancelled = False
        self.ended = False
        self.idle = False
        self.position = -1
        self._feed = feed
        self._attached = False
        self._items: deque[Message] = deque()
        self._preview: PreviewImage | None = None
        self._executed: set[str] = set()
        self._held: End | None = None
        self._error: RylaGenError | None = None
        self._wake = asyncio.Event()

    async def __anext__(self) -> Message:
        while True:
            if self._items:
                return self._items.popleft()
            if self._preview is not None and not self.ended:
                preview, self._preview = self._preview, None
                return preview
            if self.ended:
                error, self._error = self._error, None
                raise error or StopAsyncIteration
            if not self._attached:
                self._attached = True  # later drops are the feed's to mend, or to tell
                await self._feed.open()
                continue
            self._wake.clear()
            await self._wake.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop following; the prompt goes on."""
        self._finish()

    def fail(self, error: RylaGenError) -> None:
        """End with an error, after what is still unread."""
        if not self.ended:
            self._error = error
            self._finish()

    def hear(self, message: Message) -> None:
        """Take one message of the websocket."""
        if self.ended or (isinstance(message, ExecutionStart) and self.started):
            return
        match message:
            case PreviewImage():
                self._preview = message
            case Idle():
                self.idle = True
            case End() if self.gap:
                self._held = message  # what was missed is in the history, which is complete once the server is idle
            case _:
                self._take(message)
        self._wake.set()

    def settle(self, recalled: Sequence[Message]) -> None:
        """End with what the history says, leaving out what was heard already."""
        for message in recalled:
            known = isinstance(message, NodeExecuted) and message.node in self._executed
            if not known and not (isinstance(message, ExecutionStart) and self.started):
                self._take(self._held if isinstance(message, End) and self._held is not None else message)

    def _take(self, message: Message) -> None:
        if self.ended:
            return
        self._items.append(message)
        match message:
            case ExecutionStart():
                self.started = True
            case NodeExecuted():
                self._executed.add(message.node)
            case End():
                self._finish()

    def _finish(self) -> None:
        self.ended = True
        self._preview = None
        self._feed.forget(self)
        self._wake.set()


class Feed:
    """The one websocket of a client."""

    def __init__(self, links: Links, *, gone_after: float, silence: float) -> None:
        self.features: Mapping[str, Any] = {}
        self._links = links
        self._gone_after = gone_after
        self._silence = silence
        self._followers: dict[str, Follower] = {}
        self._current = ("", "")
        self._heard = 0
        self._queue_changed = False
        self._run: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._unseen = False
        self._looking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, prompt_id: str, *, resume: bool) -> Follower:
        """Begin to follow a prompt; see ``ComfyClient.follow``."""
        if prompt_id in self._followers:
            raise InternalError(f"Prompt {prompt_id} is followed already.")
        follower = self._followers[prompt_id] = Follower(prompt_id, self)
        follower.gap = follower.submitted = resume
        self._unseen = self._unseen or resume
        return follower

    def find(self, prompt_id: str) -> Follower | None:
        """The follower of a prompt."""
        return self._followers.get(prompt_id)

    def forget(self, follower: Follower) -> None:
        """Drop a follower that has ended."""
        if self._followers.get(follower.prompt_id) is follower:
            del self._followers[follower.prompt_id]

    async def open(self) -> None:
        """Be connected. Raises when the first attempt fails, or when the server is gone for good."""
        if self._run is None or self._run.done():
            self._opened = asyncio.get_running_loop().create_future()
            self._run = asyncio.create_task(self._keep(), name="comfy-websocket")
        assert self._opened is not None
        await asyncio.shield(self._opened)
        self._watch_gaps()

    async def close(self) -> None:
        """End every task and follower."""
        running = (self._run, self._asking, self._watching, *self._tasks)
        for task in (tasks := [task for task in running if task is not None and not task.done()]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._give_up(BackendUnreachableError("This client was closed.", "", {"sent": True}))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background, until the client closes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def look(self) -> None:
        """Ask the server once where the followed prompts are, and tell their followers."""
        async with self._looking:
            live = [follower for follower in self._followers.values() if follower.submitted]
            if not live:
                return
            try:
                found = await self._links.locate([follower.prompt_id for follower in live])
            except RylaGenError as error:
                log.debug("could not look at the queue: %s", error.message)
                return
            for follower in live:
                self._tell(follower, found[follower.prompt_id])

    def _tell(self, follower: Follower, where: Whereabouts) -> None:
        match where.place:
            case "pending" if where.position != follower.position:
                follower.position = where.position
                follower.hear(QueuePosition(follower.prompt_id, where.position))
            case "running" if follower.gap:
                follower.hear(ExecutionStart(follower.prompt_id, at=0.0))  # told while nobody was connected
            case "finished" if follower.gap or follower.idle:
                follower.settle(messages_from_history(follower.prompt_id, where.entry))
            case "absent" if follower.gap and not follower.cancelled:
                message = f"The server lost the prompt {follower.prompt_id}: it is neither in its queue nor in its history."
                hint = "ComfyUI was probably restarted; the request was not the cause and may be sent again."
                follower.fail(ServerUnhealthyError(message, hint, {"sent": True, "lost": True}))
            case "absent":
                follower.settle([ExecutionInterrupted(follower.prompt_id)])  # deleting a pending prompt sends no message

    async def _keep(self) -> None:
        """Connect, drain, and connect again while some prompt lives."""
        outage, pause, first = 0.0, FIRST_PAUSE, True
        while True:
            try:
                socket = await self._links.connect()
            except RylaGenError as error:
                patience = PATIENCE if error.details.get("silent") else 1
                waited = time.monotonic() - outage
                if first or not isinstance(error, BackendUnreachableError) or waited > self._gone_after * patience:
                    self._give_up(error if first else _gone(error, waited))
                    return
            else:
                since = time.monotonic()
                await self._drain(socket)
                now = time.monotonic()
                if first or now - since > STABLE:
                    outage, pause = now, FIRST_PAUSE
                elif now - outage > self._gone_after:
                    self._give_up(_gone(None, now - outage))
                    return
                first = False
            if not self._followers:
                self._give_up(BackendUnreachableError("The connection was lost, and nobody waits for it.", "", {"sent": False}))
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _drain(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        assert self._opened is not None
        if not self._opened.done():
            self._opened.set_result(None)
        self._watch_gaps()
        try:
            async for frame in socket:
                self._heard += 1
                self._hear(frame)
        finally:
            await socket.close()
        log.debug("the websocket closed (%s)", socket.close_code)
        for follower in self._followers.values():
            follower.gap = True
        self._opened = asyncio.get_running_loop().create_future()

    def _watch_gaps(self) -> None:
        if not self._gaps():
            return
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        elif self._unseen:  # a prompt taken up again while another one is being watched
            self.spawn(self.look())
        self._unseen = False

    def _gaps(self) -> bool:
        return any(follower.gap for follower in self._followers.values())

    async def _watch(self) -> None:
        """After a gap: learn what became of the prompts, now and whenever the socket is suspiciously silent."""
        await self.look()
        while self._gaps():
            heard = self._heard
            await asyncio.sleep(self._silence)
            if heard == self._heard:
                await self.look()

    def _hear(self, frame: aiohttp.WSMessage) -> None:
        match frame.type:
            case aiohttp.WSMsgType.TEXT:
                message = parse_text(frame.data)
            case aiohttp.WSMsgType.BINARY:
                message = parse_binary(frame.data, *self._current)
            case _:
                message = None
        match message:
            case Message():
                self._route(message)
            case Status():
                self._ask_positions()
            case Features():
                self.features = message.flags
            case None:
                shown = frame.data[:200] if isinstance(frame.data, str | bytes) else frame.type
                log.debug("ignored a frame: %s", clean(shown, 200))

    def _route(self, message: Message) -> None:
        match message:
            case NodeExecuting() | ExecutionStart():
                self._current = (message.prompt_id, getattr(message, "node", ""))
            case End() | Idle():
                self._current = ("", "")
        follower = self._followers.get(message.prompt_id)
        if follower is None:
            return
        follower.hear(message)
        if follower.cancelled and isinstance(message, ExecutionStart):
            # ComfyUI forgets an interrupt that arrives between taking a prompt from the queue and starting it.
            self.spawn(self._interrupt(follower.prompt_id))
        if isinstance(message, Idle) and not follower.ended:
            self.spawn(self.look())

    async def _interrupt(self, prompt_id: str) -> None:
        try:
            await self._links.interrupt(prompt_id)
        except RylaGenError as error:
            log.debug("could not interrupt again: %s", error.message)

    def submitted(self, prompt_id: str) -> None:
        """The server has the prompt, so that from now on it can be lost."""
        follower = self._followers.get(prompt_id)
        if follower is not None:
            follower.submitted = True
            self._ask_positions()  # the change of the queue was told before the answer to the submit

    def _waiting(self) -> bool:
        return any(follower.submitted and (follower.gap or not follower.started) for follower in self._followers.values())

    def _ask_positions(self) -> None:
        self._queue_changed = self._waiting()
        if self._queue_changed and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._positions())

    async def _positions(self) -> None:
        while self._queue_changed:
            self._queue_changed = False
            await asyncio.sleep(QUEUE_PAUSE)
            if self._waiting():
                await self.look()

    def _give_up(self, error: RylaGenError) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # nobody may be waiting for it
        for follower in list(self._followers.values()):
            follower.fail(error)


def _gone(error: RylaGenError | None, waited: float) -> RylaGenError:
    if error is None or isinstance(error, BackendUnreachableError):
        why = error.message if error is not None else "It closes every new connection."
        return ServerUnhealthyError(f"The ComfyUI server is gone since {waited:.0f} s. {why}", "", {"sent": True})
    return error
