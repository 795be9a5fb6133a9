"""Emulate nodes that hold or join plain values."""

from __future__ import annotations

from typing import Any

from ..base import Context, NodeResult, node


def _value(context: Context, value: Any) -> NodeResult:
    """Return the value itself."""
    return NodeResult((value,))


for _primitive in ("PrimitiveBoolean", "PrimitiveFloat", "PrimitiveInt", "PrimitiveString", "PrimitiveStringMultiline"):
    node(_primitive)(_value)


@node("StringConcatenate")
def string_concatenate(context: Context, string_a: str, string_b: str, delimiter: str) -> NodeResult:
    """Join two texts with a delimiter between them."""
    return NodeResult((delimiter.join((string_a, string_b)),))


@node("StringReplace")
def string_replace(context: Context, string: str, find: str, replace: str) -> NodeResult:
    """Replace a part of a text."""
    return NodeResult((string.replace(find, replace),))


@node("StringTrim")
def string_trim(context: Context, string: str, mode: str) -> NodeResult:
    """Remove white space at the ends of a text."""
    return NodeResult(({"Left": string.lstrip(), "Right": string.rstrip()}.get(mode, string.strip()),))


@node("StringLength")
def string_length(context: Context, string: str) -> NodeResult:
    """Return the number of characters."""
    return NodeResult((len(string),))


@node("PreviewAny")
def preview_any(context: Context, source: Any = None) -> NodeResult:
    """Show a value as text."""
    text = source if isinstance(source, str) else str(source)
    return NodeResult((text,), {"text": [text]})
