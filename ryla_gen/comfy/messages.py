"""Parse what a ComfyUI server sends about a prompt into a closed set of dataclasses, made for ``match``.

Pure: bytes and text in, messages out. Knows no socket and no error class. Everything the server says is untrusted:
what does not fit is dropped (None), text is cleaned of control characters and bounded in length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..support.control_characters import CLASS
from ..support.numbers import is_number

PlainData = dict[str, Any]

TEXT_LIMIT = 2_000
"""Longest server text we keep; a ComfyUI message with its tips has about 300 characters."""
TRACEBACK_LINES = 40
"""A traceback of a node has 5 to 15 entries; custom nodes with wrappers some more."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
"""ANSI sequences: colours and cursor moves (CSI), titles and links (OSC), two-character ones."""
_CONTROLS = re.compile(f"[\t{CLASS}\ud800-\udfff]")
"""Control characters but the line feed, those that turn the direction of text around, and surrogates, which no file takes."""
LARGEST_STEP = 2**53
"""Largest count of steps that is believed: beyond it a double, in JavaScript too, no longer holds every whole number."""


def clean(text: object, limit: int = TEXT_LIMIT) -> str:
    """Make server text safe for a terminal and a log: no escapes, no control characters, at most ``limit`` characters."""
    raw = str(text)[: limit * 4]  # cut before the substitutions: the input may be megabytes
    tidy = _CONTROLS.sub(" ", _ESCAPES.sub("", raw.replace("\r\n", "\n"))).strip()
    return tidy if len(tidy) <= limit else tidy[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the server has a prompt."""

    place: Literal["pending", "running", "finished", "absent"]
    ahead: tuple[str, ...] = ()
    """The prompts before it while it is pending, the running one first."""
    entry: Mapping[str, Any] = field(default_factory=dict)
    """Its history entry, once finished."""

    @property
    def position(self) -> int:
        """How many prompts are before it, while it is pending."""
        return len(self.ahead)


@dataclass(frozen=True, slots=True)
class Message:
    """Base class of all messages."""

    prompt_id: str
    """The prompt it is about."""


@dataclass(frozen=True, slots=True)
class QueuePosition(Message):
    """The prompt waits; made by the client from ``/queue`` when the server says that its queue changed."""

    position: int
    """How many prompts are before it, the running one included."""


@dataclass(frozen=True, slots=True)
class ExecutionStart(Message):
    """The prompt began to run."""

    at: float = 0.0
    """Server clock, Unix seconds; 0 when the server did not say."""


@dataclass(frozen=True, slots=True)
class ExecutionCached(Message):
    """These nodes will not run: their results are cached."""

    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeExecuting(Message):
    """A node began to run."""

    node: str
    """Id of the node in the submitted graph (for a node that another one expanded into: the id of that other one)."""


@dataclass(frozen=True, slots=True)
class NodeProgress(Message):
    """A node made progress."""

    node: str
    value: float
    maximum: float


@dataclass(frozen=True, slots=True)
class PreviewImage(Message):
    """A small picture of an unfinished result; older ones are dropped when they are not read in time."""

    node: str
    """Empty when the server speaks the old dialect and it is not known which node runs."""
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageFrame(Message):
    """A whole result picture sent over the websocket (SaveImageWebsocket); never dropped."""

    node: str
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeExecuted(Message):
    """An output node finished, and this is what it saved."""

    node: str
    output: PlainData = field(default_factory=dict)
    """Such as ``{"images": [{"filename", "subfolder", "type"}], "animated": [true]}``; videos come under ``images`` too."""
    display_node: str = ""
    """The node of the submitted graph that it belongs to; differs from ``node`` only for expanded nodes."""


@dataclass(frozen=True, slots=True)
class PromptEnd(Message):
    """The last message of a prompt; one of the three classes below."""

    at: float = 0.0
    """Server clock, Unix seconds; 0 when the server did not say."""


@dataclass(frozen=True, slots=True)
class ExecutionSuccess(PromptEnd):
    """All nodes ran."""


@dataclass(frozen=True, slots=True)
class ExecutionInterrupted(PromptEnd):
    """The prompt was stopped, or taken out of the queue (then without a node)."""

    node_id: str = ""
    node_type: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionError(PromptEnd):
    """A node raised; ``errors_map.node_error`` makes a typed error of it."""

    node_id: str = ""
    node_type: str = ""
    exception_type: str = ""
    exception_message: str = ""
    """May be empty: some exceptions have no text."""
    traceback: tuple[str, ...] = field(default=(), repr=False)
    current_inputs: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The node's inputs as shortened text; tensors are not carried around."""


@dataclass(frozen=True, slots=True)
class Idle(Message):
    """``executing`` with node null: the server is done with the prompt and its history entry exists. Not given to readers."""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The server's queue changed."""

    queue_remaining: int
    """Running and pending prompts together."""


@dataclass(frozen=True, slots=True)
class Features:
    """The optional features that the server announces."""

    flags: Mapping[str, Any]


def read_text(text: str) -> tuple[str, PlainData] | None:
    """Read a text frame as its type and its data; None when it is no message at all."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str) or not isinstance(frame.get("data"), dict):
        return None
    return frame["type"], frame["data"]


def parse_text(text: str) -> Message | QueueStatus | Features | None:
    """Read a text frame; None for what is unknown, broken, or about no prompt."""
    read = read_text(text)
    return parse(*read) if read is not None else None


def is_expected(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether a message of this type and about this prompt is one that we read, so that it is broken when ``parse`` gives None."""
    return kind == "status" or (kind in _READERS and isinstance(data.get("prompt_id"), str))


def parse(kind: str, data: Mapping[str, Any]) -> Message | QueueStatus | Features | None:
    """Read the type and the data of a message, from the websocket or from a history entry."""
    if kind == "status":
        return _read_status(data)
    if kind == "feature_flags":
        return Features(dict(data))
    reader = _READERS.get(kind)
    prompt_id = data.get("prompt_id")
    # Without a prompt id (the server repeats its current node so to a socket that comes back) it says nothing we need.
    if reader is None or not isinstance(prompt_id, str) or not prompt_id:
        return None
    try:
        return reader(prompt_id, data)
    except _ShapeError:
        return None


class _ShapeError(Exception):
    """A message does not have the shape of its type."""


def _read_status(data: Mapping[str, Any]) -> QueueStatus | None:
    match data:
        case {"status": {"exec_info": {"queue_remaining": int(count)}}} if not isinstance(count, bool):
            return QueueStatus(min(max(count, 0), LARGEST_STEP))
    return None


def _bound(value: object, largest: float) -> float:
    """Clamp a number to 0..``largest``. Raises ``_ShapeError`` for NaN and for anything that is not a number."""
    if not is_number(value) or value != value:  # NaN is the number that is not itself
        raise _ShapeError
    return float(min(max(value, 0), largest))


def _at(data: Mapping[str, Any]) -> float:
    stamp = data.get("timestamp")  # milliseconds
    return stamp / 1000 if isinstance(stamp, int | float) and 0 < stamp < LARGEST_STEP else 0.0


def _node(value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _ShapeError
    return clean(value, 200)


def _display_node(data: Mapping[str, Any]) -> str:
    return _node(data.get("display_node") or data.get("node"))


def _text(data: Mapping[str, Any], key: str, limit: int = 200) -> str:
    return clean(data.get(key) or "", limit)


def _read_cached(prompt_id: str, data: Mapping[str, Any]) -> Message:
    nodes = data.get("nodes") or []
    if not isinstance(nodes, list):
        raise _ShapeError
    return ExecutionCached(prompt_id, tuple(_node(node) for node in nodes))


def _read_executing(prompt_id: str, data: Mapping[str, Any]) -> Message:
    return Idle(prompt_id) if data.get("node") is None else NodeExecuting(prompt_id, _display_node(data))


def _read_progress(prompt_id: str, data: Mapping[str, Any]) -> Message:
    most = data.get("max")
    if isinstance(most, int | float) and most > LARGEST_STEP:  # refuses infinity too
        raise _ShapeError
    maximum = _bound(most, LARGEST_STEP)
    return NodeProgress(prompt_id, _node(data.get("node")), _bound(data.get("value"), maximum), maximum)


def _read_executed(prompt_id: str, data: Mapping[str, Any]) -> Message:
    output = data.get("output")  # None for an output node without anything to show
    return NodeExecuted(prompt_id, _node(data.get("node")), output if isinstance(output, dict) else {}, _display_node(data))


def _read_interrupted(prompt_id: str, data: Mapping[str, Any]) -> Message:
    return ExecutionInterrupted(prompt_id, _at(data), _text(data, "node_id"), _text(data, "node_type"))


def _error(prompt_id: str, data: Mapping[str, Any]) -> Message:
    traceback, inputs = data.get("traceback"), data.get("current_inputs")
    return ExecutionError(
        prompt_id,
        _at(data),
        _text(data, "node_id"),
        _text(data, "node_type"),
        _text(data, "exception_type"),
        _text(data, "exception_message", TEXT_LIMIT),
        tuple(clean(line, 500) for line in traceback[-TRACEBACK_LINES:]) if isinstance(traceback, list) else (),
        {clean(k, 200): clean(v, 200) for k, v in list(inputs.items())[:100]} if isinstance(inputs, dict) else {},
    )


_READERS: dict[str, Callable[[str, Mapping[str, Any]], Message]] = {
    "execution_start": lambda prompt_id, data: ExecutionStart(prompt_id, _at(data)),
    "execution_cached": _read_cached,
    "executing": _read_executing,
    "progress": _read_progress,
    "executed": _read_executed,
    "execution_success": lambda prompt_id, data: ExecutionSuccess(prompt_id, _at(data)),
    "execution_interrupted": _read_interrupted,
    "execution_error": _error,
}


_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
"""First four bytes of a binary frame, big-endian (observed on 0.3.64)."""
_FORMATS = {1: "image/jpeg", 2: "image/png"}
"""Second four bytes of an old-dialect frame."""
_IMAGE_TYPE = re.compile(r"image/[a-z0-9.+-]{1,40}")
"""Media types of pictures; events and results carry them on to pages."""


def parse_binary(frame: bytes, prompt_id: str, node: str) -> PreviewImage | ImageFrame | None:
    """Read a binary frame of either dialect; ``prompt_id`` and ``node`` are what runs now, for the dialect that does not say."""
    if len(frame) < 8:
        return None
    kind, second = int.from_bytes(frame[:4], "big"), int.from_bytes(frame[4:8], "big")
    if kind == _PREVIEW and second in _FORMATS and prompt_id:
        return _picture(prompt_id, node, _FORMATS[second], frame[8:])
    if kind == _PREVIEW_WITH_METADATA and second <= len(frame) - 8:
        return _read_described(frame[8 : 8 + second], frame[8 + second :])
    return None


def is_expected_binary(frame: bytes) -> bool:
    """Whether a binary frame is of a kind that we read, so that it is broken when ``parse_binary`` gives None."""
    return int.from_bytes(frame[:4], "big") in (_PREVIEW, _PREVIEW_WITH_METADATA)


def _read_described(head: bytes, data: bytes) -> PreviewImage | ImageFrame | None:
    """Parse a picture that follows a JSON document naming its prompt."""
    try:
        about = json.loads(head)
    except (ValueError, RecursionError):
        return None
    owner, media_type = (about.get("prompt_id"), about.get("image_type") or "image/jpeg") if isinstance(about, dict) else ("", "")
    if not isinstance(owner, str) or not isinstance(media_type, str) or not owner:
        return None
    try:
        return _picture(owner, _node(about.get("display_node_id") or about.get("node_id")), media_type, data)
    except _ShapeError:
        return None


def _picture(prompt_id: str, node: str, media_type: str, data: bytes) -> PreviewImage | ImageFrame | None:
    if not _IMAGE_TYPE.fullmatch(media_type):
        return None
    # Nothing else tells a result from a preview: samplers preview in JPEG, SaveImageWebsocket sends PNG, under both dialects.
    made = ImageFrame if media_type == "image/png" else PreviewImage
    return made(prompt_id, node, media_type, data) if data else None


def messages_from_history(prompt_id: str, entry: Mapping[str, Any]) -> list[Message]:
    """Rebuild the websocket's messages from ``/history/{id}``: start, ``executed`` per output node, the end."""
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, dict) else None
    said = [_read_recalled(prompt_id, item) for item in messages] if isinstance(messages, list) else []
    start = [message for message in said if isinstance(message, ExecutionStart)][:1]
    ends = [message for message in said if isinstance(message, PromptEnd)][-1:]
    completed = not isinstance(status, dict) or bool(status.get("completed", True))
    default: PromptEnd = ExecutionSuccess(prompt_id) if completed else ExecutionError(prompt_id)
    return [*start, *_recalled_outputs(prompt_id, entry), *(ends or [default])]


def _read_recalled(prompt_id: str, item: object) -> Message | QueueStatus | Features | None:
    match item:
        case [str(kind), dict(data)]:
            return parse(kind, {**data, "prompt_id": prompt_id})
    return None


def _recalled_outputs(prompt_id: str, entry: Mapping[str, Any]) -> list[Message]:
    outputs, meta = entry.get("outputs"), entry.get("meta")
    if not isinstance(outputs, dict):
        return []
    known = meta if isinstance(meta, dict) else {}
    shown = {node: known[node].get("display_node") for node in outputs if isinstance(known.get(node), dict)}
    return [
        NodeExecuted(prompt_id, clean(node, 200), output, clean(shown.get(node) or node, 200))
        for node, output in outputs.items()
        if isinstance(output, dict)
    ]
