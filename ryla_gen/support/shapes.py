"""Build dataclasses from foreign data: take the keys that a class knows, and check the type of each value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .numbers import is_number

T = TypeVar("T")


class ShapeError(ValueError):
    """Data has the wrong shape; the message says where."""


def build(cls: type[T], data: object, what: str) -> T:
    """Build a dataclass from a mapping; keys that it does not know are ignored, since a newer side may send more.

    Args:
        cls: the dataclass.
        data: what arrived.
        what: what messages call it.

    Raises:
        ShapeError: it is no mapping, a key without a default is missing, or a value has another type.

    """
    if not isinstance(data, Mapping):
        raise ShapeError(f"{what} is {_type_name(data)}, not an object")
    any_class: Any = cls
    hints = _hints_of(any_class)
    found: dict[str, Any] = {}
    for item in fields(cls):  # type: ignore[arg-type]
        if item.name in data:
            found[item.name] = value_of(hints[item.name], data[item.name], f"{what}.{item.name}")
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ShapeError(f"{what} has no {item.name}")
    return cls(**found)


@cache
def _hints_of(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def value_of(hint: Any, value: object, what: str) -> Any:
    """Return a value as its type hint wants it: whole numbers may come as floats, as JavaScript sends them.

    Raises:
        ShapeError: it has another type. Hints that are not plain types, choices or mappings are not looked into.

    """
    if get_origin(hint) in (Union, UnionType):
        if value is None and NoneType in get_args(hint):
            return None
        return value_of(next(kind for kind in get_args(hint) if kind is not NoneType), value, what)
    if get_origin(hint) is Literal:
        if isinstance(value, str) and value in get_args(hint):
            return value
        raise ShapeError(f"{what} is not one of {', '.join(map(str, get_args(hint)))}")
    if hint is float or hint is int:
        return _as_number(hint, value, what)
    if is_dataclass(hint):
        return build(hint, value, what)  # type: ignore[arg-type]
    kind = get_origin(hint) or hint
    if isinstance(kind, type) and not isinstance(value, kind):
        raise ShapeError(f"{what} is {_type_name(value)}, not {kind.__name__}")
    return value


def _as_number(kind: type[int] | type[float], value: object, what: str) -> int | float:
    if not is_number(value):
        raise ShapeError(f"{what} is {_type_name(value)}, not a number")
    if not -(2**64) < value < 2**64 or not math.isfinite(value) or (kind is int and value != int(value)):
        raise ShapeError(f"{what} is not a {'whole ' if kind is int else ''}number of a usable size")
    return kind(value)


def _type_name(value: object) -> str:
    return type(value).__name__
