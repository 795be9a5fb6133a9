"""Read one websocket for many prompts: hand each frame to its prompt's stream, and ask the server about silent prompts.

Must not know HTTP or a graph (the client gives it three functions), and must not submit anything. A stream that is read slowly, or
not at all, does not stop the reading: a client that stops reading blocks ComfyUI's publishing for everyone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..errors import InternalError, RylaGenError
from .connection import Connection, as_typed
from .follower import PromptStream, StreamCallbacks
from .messages import (
    ExecutionStart,
    Features,
    Idle,
    Message,
    NodeExecuting,
    PromptEnd,
    QueueStatus,
    Whereabouts,
    clean,
    is_expected,
    is_expected_binary,
    parse,
    parse_binary,
    read_text,
)

log = logging.getLogger("ryla_gen.comfy")

QUEUE_PAUSE = 0.2
"""Seconds from a change of the queue to the question for positions; a prompt that starts at once never asks."""
QUIET = 2
"""A prompt whose connection held is asked about after so many times the silence that is allowed after a reconnect."""
LOOK_SECONDS = 30.0
"""How long the server may take to say where prompts are, until the question is given up for now."""
KINDS = 100
"""Kinds of broken frames that are counted apart: a server may make up any number."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The functions that the websocket needs from the client."""

    connect: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]]
    locate: Callable[[Sequence[str]], Awaitable[Mapping[str, Whereabouts]]]
    interrupt: Callable[[str], Awaitable[None]]


class MessageSocket:
    """The one websocket of a client.

    What it does for each prompt, by what the prompt's stream knows (``gap``: messages may be missing; ``suspect``: the server did
    not know the prompt when last asked):

    =====================================  ===================================================  ================================
    event                                  what happens                                         the stream then
    =====================================  ===================================================  ================================
    ``follow``                             nothing; with ``resume`` the server is asked         waiting; ``gap`` with ``resume``
    ``submitted``                          its position is asked for, silence is watched        waiting, can be lost
    the queue changed                      positions are asked for, after ``QUEUE_PAUSE``       as it was, with its position
    ``ExecutionStart``                     handed on; if canceled meanwhile: interrupted again  running
    ``PromptEnd``                                handed on                                            ended
    … with ``gap``                         kept until the history is complete                   as it was
    ``Idle`` and not ended                 the server is asked                                  as the answer says
    silence for too long                   the server is asked                                  as the answer says
    answer: pending                        position handed on                                   waiting
    answer: running, ``gap`` or silence    a start is handed on, if none was                    running
    answer: finished                       its end is read from the history                     ended
    answer: absent, not started            it was deleted from the queue                        ended, interrupted
    answer: absent, ``gap`` or twice       it was lost                                          ended with an error
    answer: absent, for the first time     nothing yet: its end may be on the way               ``suspect``
    the connection drops                   reconnect, then the server is asked                  ``gap``
    no connection within ``gone_after``    every stream fails                                   ended with an error
    =====================================  ===================================================  ================================

    Asking is always ``look``; the rows of its answers are ``PromptStream.apply_whereabouts``.
    """

    def __init__(self, callbacks: Callbacks, *, gone_after: float, silence: float) -> None:
        self.features: Mapping[str, Any] = {}
        self.dropped_frames: Counter[str] = Counter()
        """Frames of a kind that we read whose shape was another, by kind."""
        self._callbacks = callbacks
        self._silence = silence
        self._connection = Connection(callbacks.connect, self, gone_after)
        self._streams: dict[str, PromptStream] = {}
        self._current = ("", "")
        self._queue_changed = False
        self._asking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._unseen = False
        self._looking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, prompt_id: str, *, resume: bool) -> PromptStream:
        """Begin to follow a prompt; see ``ComfyClient.follow``."""
        if prompt_id in self._streams:
            raise InternalError(f"Prompt {prompt_id} is already being followed.")
        stream = self._streams[prompt_id] = PromptStream(prompt_id, StreamCallbacks(self.open, self._forget))
        stream.gap = stream.submitted = resume
        self._unseen = self._unseen or resume
        return stream

    def find(self, prompt_id: str) -> PromptStream | None:
        """Return the stream of a prompt."""
        return self._streams.get(prompt_id)

    def _forget(self, stream: PromptStream) -> None:
        """Drop a stream that has ended; when it was the last one, nothing is asked any more."""
        if self._streams.get(stream.prompt_id) is stream:
            del self._streams[stream.prompt_id]
        for task in (self._watching, self._asking) if not self._streams else ():
            if task is not None:
                task.cancel()
                self._tasks.discard(task)

    async def open(self) -> None:
        """Connect. Raises when the first attempt fails, or when the server is gone for good."""
        await self._connection.open()
        self._watch_prompts()

    async def close(self) -> None:
        """End every task and stream."""
        for task in (tasks := [task for task in self._tasks if not task.done()]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.close()

    def spawn(self, work: Coroutine[Any, Any, None], *, fails: Callable[[RylaGenError], None] | None = None) -> asyncio.Task[None]:
        """Run something in the background, until the client closes.

        Args:
            work: what to run.
            fails: called with the error when that ends by one; without it the error is logged.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled() or (error := task.exception()) is None:
                return
            typed = as_typed(error, "Watching the server failed")
            log.debug("a background task failed: %s", typed.message)
            if fails is not None:
                fails(typed)

        task.add_done_callback(over)
        return task

    # What the connection tells

    @property
    def wanted(self) -> bool:
        """Whether any prompt is followed."""
        return bool(self._streams)

    def on_connect(self) -> None:
        """Handle an open websocket: after a drop, ask the server what was missed."""
        self._watch_prompts()

    def on_disconnect(self) -> None:
        """Handle a closed websocket."""
        for stream in self._streams.values():
            stream.gap, self._unseen = True, True

    def give_up(self, error: RylaGenError) -> None:
        """End every stream."""
        for stream in list(self._streams.values()):
            stream.fail(error)

    def receive(self, frame: aiohttp.WSMessage) -> None:
        """Read a frame and hand it on; what cannot be read is dropped."""
        message: Message | QueueStatus | Features | None = None
        broken = ""
        match frame.type:
            case aiohttp.WSMsgType.TEXT:
                read = read_text(frame.data)
                message = parse(*read) if read is not None else None
                broken = "text" if read is None else clean(read[0], 40) if is_expected(*read) else ""
            case aiohttp.WSMsgType.BINARY:
                message = parse_binary(frame.data, *self._current)
                broken = "picture" if is_expected_binary(frame.data) and any(self._current) else ""
        match message:
            case Message():
                self._dispatch(message)
            case QueueStatus():
                self._ask_positions()
            case Features():
                self.features = message.flags
            case None:
                self._drop(broken, frame)

    def _drop(self, broken: str, frame: aiohttp.WSMessage) -> None:
        shown = clean(frame.data[:200] if isinstance(frame.data, str | bytes) else frame.type, 200)
        log.debug("ignored a frame: %s", shown)
        if not broken or (broken not in self.dropped_frames and len(self.dropped_frames) >= KINDS):
            return
        if broken not in self.dropped_frames:
            log.warning("the server sends messages that cannot be read (%s); they are ignored, the first was: %s", broken, shown)
        self.dropped_frames[broken] += 1

    def _dispatch(self, message: Message) -> None:
        match message:
            # Older servers send previews without a prompt id: they belong to the prompt whose node runs.
            case NodeExecuting() | ExecutionStart():
                self._current = (message.prompt_id, getattr(message, "node", ""))
            case PromptEnd() | Idle():
                self._current = ("", "")
        stream = self._streams.get(message.prompt_id)
        if stream is None:
            return
        stream.receive(message)
        if stream.cancelled and isinstance(message, ExecutionStart):
            # ComfyUI forgets an interrupt that arrives between taking a prompt from the queue and starting it.
            self.spawn(self._interrupt(stream.prompt_id), fails=stream.fail)
        if isinstance(message, Idle) and not stream.ended:
            self.spawn(self.look(), fails=self.give_up)

    async def _interrupt(self, prompt_id: str) -> None:
        try:
            await self._callbacks.interrupt(prompt_id)
        except RylaGenError as error:
            log.debug("could not interrupt again: %s", error.message)

    # What the server is asked

    def submitted(self, prompt_id: str) -> None:
        """Record that the server has the prompt: only from then on can it be lost."""
        stream = self._streams.get(prompt_id)
        if stream is not None:
            stream.submitted = True
            self._ask_positions()  # the queue's change may be announced before the submit is answered
            self._watch_prompts()

    async def look(self) -> None:
        """Ask the server once where the followed prompts are, and tell their streams."""
        # One look at a time: two answers in flight could be applied in the wrong order.
        async with self._looking:
            live = self._live()
            if not live:
                return
            quiet = {stream.prompt_id for stream in live if self._quiet(stream)}
            found = await self._locate([stream.prompt_id for stream in live])
            for stream in live:
                if where := found.get(stream.prompt_id):
                    stream.apply_whereabouts(where, quiet=stream.prompt_id in quiet)

    async def _locate(self, prompt_ids: Sequence[str]) -> Mapping[str, Whereabouts]:
        """Ask the server where these prompts are; incomplete when it does not answer."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._callbacks.locate(prompt_ids)
        except (RylaGenError, TimeoutError) as error:
            log.debug("could not look at the queue: %s", clean(error, 200))
        if len(prompt_ids) < 2:
            return {}
        # One history entry that cannot be read hides nothing of the others.
        return {key: where for prompt_id in prompt_ids for key, where in (await self._locate([prompt_id])).items()}

    def _live(self) -> list[PromptStream]:
        return [stream for stream in self._streams.values() if stream.submitted]

    def _quiet(self, stream: PromptStream) -> bool:
        """Whether nothing was received of a prompt for so long that the server is asked about it."""
        # A suspect prompt is asked about at the next look; after a gap messages may never come, so the limit is shorter.
        allowed = 0.0 if stream.suspect else self._silence * (1 if stream.gap else QUIET)
        return time.monotonic() - stream.quiet_since >= allowed

    def _watch_prompts(self) -> None:
        """Start the task that notices when the server is silent about a prompt."""
        if self._watching is None or self._watching.done():
            self._watching = self.spawn(self._watch(), fails=self.give_up) if self._live() else None
        elif self._unseen:  # a resumed prompt, or one whose messages were lost, while others are being watched
            self.spawn(self.look(), fails=self.give_up)
        self._unseen = False

    async def _watch(self) -> None:
        """Learn what became of prompts: after a gap now, later whenever it is suspiciously silent about one of them."""
        if any(stream.gap for stream in self._live()):
            await self.look()
        while live := self._live():
            # The socket may be broken, the prompt lost, or the thread that runs prompts dead while the server still answers.
            await asyncio.sleep(self._silence)
            if any(self._quiet(stream) for stream in live):
                await self.look()

    def _waiting(self) -> bool:
        return any(stream.gap or not stream.started for stream in self._live())

    def _ask_positions(self) -> None:
        self._queue_changed = self._waiting()
        if self._queue_changed and (self._asking is None or self._asking.done()):
            self._asking = self.spawn(self._positions(), fails=self.give_up)

    async def _positions(self) -> None:
        while self._queue_changed:
            self._queue_changed = False
            await asyncio.sleep(QUEUE_PAUSE)
            if self._waiting():
                await self.look()
