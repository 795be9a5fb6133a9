"""Nodes that hold or join plain values."""

from __future__ import annotations

from typing import Any

from ..base import Context, NodeResult, node


def _value(context: Context, value: Any) -> NodeResult:
    """The value itself."""
    return NodeResult((value,))


for _primitive in ("PrimitiveBoolean", "PrimitiveFloat", "PrimitiveInt", "PrimitiveString", "PrimitiveStringMultiline"):
    node(_primitive)(_value)


@node("StringConcatenate")
def string_concatenate(context: Context, string_a: str, string_b: str, delimiter: str) -> NodeResult:
    """Two texts with something between them."""
    return NodeResult((delimiter.join((string_a, string_b)),))


@node("StringReplace")
def string_replace(context: Context, string: str, find: str, replace: str) -> NodeResult:
    """A text with a part exchanged."""
    return NodeResult((string.replace(find, replace),))


@node("StringTrim")
def string_trim(context: Context, string: str, mode: str) -> NodeResult:
    """A text without white space at its ends."""
    return NodeResult(({"Left": string.lstrip(), "Right": string.rstrip()}.get(mode, string.strip()),))


@node("StringLength")
def string_length(context: Context, string: str) -> NodeResult:
    """The number of characters."""
    return NodeResult((len(string),))


@node("PreviewAny")
def preview_any(context: Context, source: Any = None) -> NodeResult:
    """A value as text."""
    text = source if isinstance(source, str) else str(source)
    return NodeResult((text,), {"text": [text]})
