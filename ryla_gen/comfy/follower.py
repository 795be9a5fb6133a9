"""Keep the messages of one prompt until they are read. Must not use a socket: the feed passes its prompt's messages in."""

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
    End,
    ExecutionInterrupted,
    ExecutionStart,
    Idle,
    Message,
    NodeExecuted,
    PreviewImage,
    QueuePosition,
    Whereabouts,
    messages_from_history,
)


@dataclass(frozen=True, slots=True)
class Ties:
    """What a follower needs from its feed."""

    open: Callable[[], Awaitable[None]]
    """Be connected; raises when that fails."""
    forget: Callable[[Follower], None]
    """Stop handing it messages."""


class Follower(AsyncIterator[Message]):
    """The messages of one prompt, to its end: ``async for message in follower``.

    Ends after an ``End`` message; raises ServerUnhealthyError when the server is gone or has lost the prompt.
    """

    def __init__(self, prompt_id: str, ties: Ties) -> None:
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
        """When its last message came, or the server was last asked about it."""
        self.suspect = False
        """The server did not know it at the last look; its end may still be on the way."""
        self._ties = ties
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
                self._attached = True  # later drops are for the feed to reconnect or to report
                await self._ties.open()
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
        self.quiet_since, self.suspect = time.monotonic(), False
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

    def learn(self, where: Whereabouts, *, quiet: bool) -> None:
        """Take what the server's queue and history say about the prompt.

        Args:
            where: where the prompt is.
            quiet: whether nothing came for so long that messages on their way would have arrived.
        """
        self.quiet_since = time.monotonic()
        match where.place:
            case "pending":
                self._wait(where)
            case "running" if self.gap or quiet:
                self.hear(ExecutionStart(self.prompt_id, at=0.0))  # it was sent while the connection was down
            case "finished" if self.gap or self.idle or quiet:
                self.gap = self.gap or not self.idle  # its end was sent, and did not arrive
                self._settle(messages_from_history(self.prompt_id, where.entry))
            case "absent":
                self._miss()

    def _wait(self, where: Whereabouts) -> None:
        self.moved = self.moved or (self.ahead is not None and self.ahead != where.ahead)
        self.ahead = where.ahead
        if where.position != self.position:
            self.position = where.position
            self.hear(QueuePosition(self.prompt_id, where.position))

    def _miss(self) -> None:
        """Note that the server does not know the prompt."""
        if self.cancelled or (not self.gap and not self.started):
            self._settle([ExecutionInterrupted(self.prompt_id)])  # deleting a pending prompt sends no message
        elif self.gap or self.suspect:
            message = f"The server lost the prompt {self.prompt_id}: it is neither in its queue nor in its history."
            hint = "ComfyUI was probably restarted. The request was not the cause and can be sent again."
            self.fail(ServerUnhealthyError(message, hint, {"sent": True, "lost": True}))
        else:
            self.suspect = True

    def _settle(self, recalled: Sequence[Message]) -> None:
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
        self._wake.set()

    def _finish(self) -> None:
        self.ended = True
        self._preview = None
        self._ties.forget(self)
        self._wake.set()
