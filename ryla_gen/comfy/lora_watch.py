"""Whether the LoRAs of a finished prompt had an effect, read from the server's log. Speaks with no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import RylaGenError
from ..safetensors import read_header
from ..workflows.base import Notice
from .log import ServerLog, keys_not_loaded, lora_files

CODE = "lora_keys_not_loaded"
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
        self._known: dict[str, tuple[int, int]] = {}
        """File → (left out, of how many): ComfyUI says it once, and is silent when it has the node's result already."""

    def mark(self) -> int:
        """Where the log is now; to be asked before the prompt is handed in."""
        return self._log.mark()

    async def notices(self, graph: Mapping[str, Any], mark: int) -> tuple[Notice, ...]:
        """Say which LoRAs of a finished prompt had tensors that the model did not take.

        Args:
            graph: what ran, in API format.
            mark: where the log was before.
        """
        names = tuple(dict.fromkeys(lora_files(graph)))
        if not names:
            return ()
        missing = set(keys_not_loaded(await self._log.finished(mark, within=LAG_SECONDS)))
        if missing:
            self._learn(names, missing)
        return tuple(_notice(name, *self._known[name]) for name in names if name in self._known)

    def _learn(self, names: Sequence[str], missing: set[str]) -> None:
        """Whose tensors they are, the files tell: prompts of others share the log."""
        for name in names:
            keys = self._keys(name)
            left_out = len(keys & missing)
            if left_out:
                self._known[name] = (left_out, len(keys))

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


def _notice(name: str, left_out: int, total: int) -> Notice:
    lora_id = name.partition("/")[0].removesuffix(".safetensors")
    effect = "and it had no effect" if left_out == total else "and it had only a part of its effect"
    text = (
        f"ComfyUI left out {left_out} of the {total} tensors of the LoRA {lora_id}: the model has no place for them, {effect}. "
        "It was probably made for another base model, or by a tool whose names ComfyUI does not read."
    )
    return Notice(CODE, text)
