"""Keep the messages of one prompt until they are read. Must not know the websocket, which hands it what concerns its prompt."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ..errors import RylaGenError, ServerUnhealthyError
from .messages import (
    ExecutionInterrupted,
    ExecutionStart,
    Idle,
    Message,
    NodeExecuted,
    PreviewImage,
    PromptEnd,
    QueuePosition,
    Whereabouts,
    messages_from_history,
)


@dataclass(frozen=True, slots=True)
class StreamCallbacks:
    """The functions that a stream needs from its websocket."""

    open: Callable[[], Awaitable[None]]
    """Be connected; raises when that fails."""
    forget: Callable[[PromptStream], None]
    """Stop handing it messages."""


class PromptStream(AsyncIterator[Message]):
    """The messages of one prompt, to its end: ``async for message in stream``.

    Ends after an ``PromptEnd`` message; raises ServerUnhealthyError when the server is gone or has lost the prompt.
    """

    def __init__(self, prompt_id: str, callbacks: StreamCallbacks) -> None:
        self.prompt_id = prompt_id
        self.gap = False
        """Messages may be missing, and pictures sent as frames with them: the connection was lost, or the socket went deaf."""
        self.submitted = False
        self.started = False
        self.cancelled = False
        self.ended = False
        self.idle = False
        self.position = -1
        self.ahead: tuple[str, ...] | None = None
        """Prompts before it while it waits, the running one first; None until the server has been asked."""
        self.moved = False
        """Whether those before it became fewer while it waited, or others."""
        self.quiet_since = time.monotonic()
        """When it last received a message, or the server was last asked about it."""
        self.suspect = False
        """The server did not know it at the last look; its end may still be on the way."""
        self._callbacks = callbacks
        self._attached = False
        self._items: deque[Message] = deque()
        self._preview: PreviewImage | None = None
        self._executed: set[str] = set()
        self._held_end: PromptEnd | None = None
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
                self._attached = True  # later drops are repaired, or reported, by the websocket
                await self._callbacks.open()
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

    def receive(self, message: Message) -> None:
        """Receive one message of the websocket."""
        if self.ended or (isinstance(message, ExecutionStart) and self.started):
            return
        self.quiet_since, self.suspect = time.monotonic(), False
        match message:
            case PreviewImage():
                self._preview = message
            # Not an end by itself: the websocket now has the end read from the history, where the server has written it.
            case Idle():
                self.idle = True
            case PromptEnd() if self.gap:
                self._held_end = message  # what was missed is in the history, which is complete once the server is idle
            case _:
                self._append(message)
        self._wake.set()

    def apply_whereabouts(self, where: Whereabouts, *, quiet: bool) -> None:
        """Apply what the server's queue and history say about the prompt.

        Args:
            where: where the prompt is.
            quiet: whether nothing was received for so long that messages on their way would have come.
        """
        self.quiet_since = time.monotonic()
        match where.place:
            # A position is always news. The cases below count only if the websocket's own message must have been missed.
            case "pending":
                self._update_position(where)
            case "running" if self.gap or quiet:
                self.receive(ExecutionStart(self.prompt_id, at=0.0))  # the message came while there was no connection
            case "finished" if self.gap or self.idle or quiet:
                self.gap = self.gap or not self.idle  # the message of its end was sent, and missed
                self._finish_from_history(messages_from_history(self.prompt_id, where.entry))
            case "absent":
                self._handle_absent()

    def _update_position(self, where: Whereabouts) -> None:
        self.moved = self.moved or (self.ahead is not None and self.ahead != where.ahead)
        self.ahead = where.ahead
        if where.position != self.position:
            self.position = where.position
            self.receive(QueuePosition(self.prompt_id, where.position))

    def _handle_absent(self) -> None:
        """Handle a prompt that the server does not know: one answer is suspicious, a second one means that it is lost."""
        if self.cancelled or (not self.gap and not self.started):
            self._finish_from_history([ExecutionInterrupted(self.prompt_id)])  # deleting a pending prompt sends no message
        # Started, yet unknown to the server: the message of its end may still be on the way, so only a second look decides.
        elif self.gap or self.suspect:
            message = f"The server lost the prompt {self.prompt_id}: it is neither in its queue nor in its history."
            hint = "ComfyUI was probably restarted. The request was not the cause and can be sent again."
            self.fail(ServerUnhealthyError(message, hint, {"sent": True, "lost": True}))
        else:
            self.suspect = True

    def _finish_from_history(self, recalled: Sequence[Message]) -> None:
        """End with what the history says, leaving out what was received already."""
        for message in recalled:
            known = isinstance(message, NodeExecuted) and message.node in self._executed
            if not known and not (isinstance(message, ExecutionStart) and self.started):
                # The websocket's own end is the original; the history repeats it only as far as it keeps it.
                self._append(self._held_end if isinstance(message, PromptEnd) and self._held_end is not None else message)

    def _append(self, message: Message) -> None:
        if self.ended:
            return
        self._items.append(message)
        match message:
            case ExecutionStart():
                self.started = True
            case NodeExecuted():
                self._executed.add(message.node)
            case PromptEnd():
                self._finish()
        self._wake.set()

    def _finish(self) -> None:
        self.ended = True
        self._preview = None
        self._callbacks.forget(self)
        self._wake.set()
