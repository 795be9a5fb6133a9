"""Find out from a server's log whether the LoRAs of a finished prompt had an effect. Must not start or stop anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..comfy.log import EXECUTED, ServerLog, keys_not_loaded, lora_files
from ..comfy.messages import clean
from ..errors import RylaGenError
from ..models.safetensors import read_header
from ..workflows.base import Notice

CODE = "lora_keys_not_loaded"
LOOK_SECONDS = 0.1
"""Seconds between two looks at a server's log for the end of a prompt."""
LAG_SECONDS = 2.0
"""How long the last lines of a prompt may be on their way; they are usually there before its result."""


class LoraWatch:
    """Compares what the log says with the LoRAs' own tensors.

    Args:
        log: the server's.
        folders: where the server's LoRAs lie, the first one that has a name counts.
    """

    def __init__(self, log: ServerLog, folders: Sequence[Path]) -> None:
        self._log = log
        self._folders = folders
        self._known: dict[str, Notice] = {}
        """By file: ComfyUI says it once, and is silent when it has the node's result already."""

    def mark(self) -> int:
        """Return the log's current position; take it before the prompt is submitted."""
        return self._log.mark()

    async def notices(self, graph: Mapping[str, Any], mark: int) -> tuple[Notice, ...]:
        """Describe which LoRAs of a finished prompt had tensors that the model did not use.

        Args:
            graph: what ran, in API format.
            mark: where the log was before.
        """
        names = tuple(dict.fromkeys(lora_files(graph)))
        if not names:
            return ()
        return self.judge(names, await self._log.finished(mark, within=LAG_SECONDS))

    def judge(self, names: Sequence[str], lines: list[str], *, whole: bool = True) -> tuple[Notice, ...]:
        """Describe which of these LoRAs had tensors that the model did not use.

        Args:
            names: the LoRAs' files, as the graph names them.
            lines: the log while the prompt ran.
            whole: whether the log was seen whole; a server shows only its newest lines.
        """
        missing = set(keys_not_loaded(lines))
        unknown = []
        for name in dict.fromkeys(names) if missing else ():
            # The log is shared with other clients' prompts, so the files decide whose tensors these are.
            keys = self._keys(name)
            if not keys:
                unknown.append(name)
            elif left_out := len(keys & missing):
                self._known[name] = _notice([name], left_out, len(keys), whole=whole)
            missing -= keys
        for name in unknown if missing else ():
            self._known[name] = _notice(unknown, len(missing), 0, whole=whole)
        return tuple(dict.fromkeys(self._known[name] for name in names if name in self._known))

    def _keys(self, name: str) -> set[str]:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            return set()
        for folder in self._folders:
            if (folder / path).is_file():
                try:
                    return set(read_header(folder / path).tensors)
                except RylaGenError:
                    return set()
        return set()


def _notice(names: Sequence[str], left_out: int, total: int, *, whole: bool) -> Notice:
    loras = " or ".join(name.replace("\\", "/").partition("/")[0].removesuffix(".safetensors") for name in names)
    count = f"{'' if whole else 'at least '}{left_out}{f' of the {total}' if total else ''} tensors"
    effect = "it had no effect" if left_out == total else "it had only part of its effect, or none"
    text = (
        f"ComfyUI ignored {count} of the LoRA {loras}: the model has no place for them, so {effect}. "
        "It was probably made for another base model, or by a tool whose names ComfyUI does not read."
    )
    return Notice(CODE, text)


Piece = tuple[str, str]
"""When the server wrote something, and what."""


class PromptLog:
    """A server's log while one prompt runs; read when the prompt starts and when it has ended.

    Args:
        read: asks for the newest pieces of the log.
    """

    def __init__(self, read: Callable[[], Awaitable[Sequence[Piece]]]) -> None:
        self._read = read
        self._first: asyncio.Task[Sequence[Piece]] | None = None

    def begin(self) -> None:
        """Mark the start of the prompt: what was logged until the end of the previous one is not its own."""
        self._first = self._first or asyncio.ensure_future(self._pieces())

    async def lines(self) -> list[str]:
        """Return what was logged for the prompt, as far as the server still shows it."""
        first = await self._first if self._first is not None else ()
        end = next((piece for piece in reversed(first) if EXECUTED.search(piece[1])), None)
        own: list[str] = []
        try:
            async with asyncio.timeout(LAG_SECONDS):
                while True:
                    own = _pieces_between(await self._pieces(), end)
                    if not own or EXECUTED.search(own[-1]):
                        break
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            pass
        return [line for text in own for line in clean(text).splitlines()]

    def close(self) -> None:
        """Stop reading the log."""
        if self._first is not None:
            self._first.cancel()

    async def _pieces(self) -> Sequence[Piece]:
        try:
            return await self._read()
        except RylaGenError:  # some proxies hide the log; then there are no notices
            return ()


def _pieces_between(pieces: Sequence[Piece], end: Piece | None) -> list[str]:
    """Return the pieces after the end of the previous prompt, up to the end of the next one."""
    place = next((place for place in reversed(range(len(pieces))) if pieces[place] == end), -1)
    own = [text for _, text in pieces[place + 1 :]]
    last = next((place for place, text in enumerate(own) if EXECUTED.search(text)), len(own))
    return own[: last + 1]
