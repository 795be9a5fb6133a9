"""Define and register emulated nodes: plain functions of their inputs and a context. Knows no HTTP, no queue, no other node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


class NodeInterrupted(Exception):  # noqa: N818 - ComfyUI says it so
    """Raised inside a node, by ``Context.progress``, when its prompt was interrupted."""


def _discard_line(line: str) -> None:
    """Discard a line: this server's log is not read."""


def _discard_words(words: Collection[str]) -> None:
    """Discard words: nobody asks what is missing."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the emulated server keeps its files."""

    input: Path
    output: Path
    temp: Path
    models: Path


@dataclass(frozen=True, slots=True)
class Context:
    """The facts that a node may know about its run."""

    node_id: str
    folders: Folders
    prompt: Mapping[str, Any]
    """The whole graph, for PNG metadata."""
    extra_pnginfo: Mapping[str, Any]
    """Further PNG text chunks the caller asked for."""
    report: Callable[[int, int, Callable[[], Image] | None], None]
    """Takes (value, maximum, preview); the preview is drawn only for a connected client. Raises Interrupted."""
    send_image: Callable[[Image], None]
    """Sends one whole picture over the websocket (SaveImageWebsocket)."""
    log: Callable[[str], None] = _discard_line
    """Writes a line to the server's log."""
    note_unpainted: Callable[[Collection[str]], None] = _discard_words
    """Takes the words of the prompts that this node's pictures do not show."""

    def progress(self, value: int, maximum: int, preview: Callable[[], Image] | None = None) -> None:
        """Report how far this node is; raises :class:`NodeInterrupted` when it should stop."""
        self.report(value, maximum, preview)


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The result of a node: its output slots, and what ``executed`` reports for an output node."""

    outputs: tuple[Any, ...] = ()
    ui: Mapping[str, Any] = field(default_factory=dict)


NodeFunction = Callable[..., NodeResult]
"""``function(context, **inputs)``, inputs under the names of the node's schema, links resolved to values."""

Fingerprint = Callable[..., str]
"""``fingerprint(folders, **literal inputs)``: changes when a file the node reads changed (ComfyUI's IS_CHANGED)."""


Unneeded = Callable[[Mapping[str, Any], Collection[str]], Collection[str]]
"""``unneeded(known inputs, names of all given ones)``: which of them need not be computed, as far as is known (ComfyUI's lazy)."""


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One emulated node class."""

    run: NodeFunction
    fingerprint: Fingerprint | None = None
    unneeded: Unneeded | None = None


NODES: dict[str, NodeClass] = {}
"""Every emulated node class by its ComfyUI name; filled by the ``node`` decorator."""


def node(
    class_type: str, *, fingerprint: Fingerprint | None = None, unneeded: Unneeded | None = None
) -> Callable[[NodeFunction], NodeFunction]:
    """Register a function as the emulation of one ComfyUI node class."""

    def register(function: NodeFunction) -> NodeFunction:
        NODES[class_type] = NodeClass(function, fingerprint, unneeded)
        return function

    return register
