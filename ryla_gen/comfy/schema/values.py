"""Judge the value of one input: types of links, conversion, range, options, and the checks of node classes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import ANYTHING, InputSpec, UploadCheck, convert, unwrap
from .releases import OwnCheck, Rules

LONGEST_LISTED_ENUM = 20
"""ComfyUI spells the options out in its message up to this many."""

Error = dict[str, Any]
"""ComfyUI's ``{type, message, details, extra_info}``."""


class CheckFailedError(Exception):
    """ComfyUI's own check would raise here, and report the input through which it reached the node."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind
        """Name of the Python exception."""


def error(kind: str, message: str, details: str, **extra: Any) -> Error:
    """Build an error in ComfyUI's format."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def entry(spec: InputSpec) -> list[Any]:
    """Return an input's entry in ``/object_info``."""
    return [spec.type, dict(spec.config)]


def types_fit(received: Any, wanted: Any) -> bool:
    """Whether an output of one type may be linked to an input of the other; both may list types with commas."""
    if received == wanted or ANYTHING in (received, wanted) or "COMFY_MATCHTYPE_V3" in (received, wanted):
        return True
    if isinstance(received, list) and wanted == "COMBO":
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    left, right = ({part.strip() for part in text.split(",")} for text in (received, wanted))
    return bool(left & right) or ANYTHING in left | right


def judge_literal(spec: InputSpec, value: Any, rules: Rules, *, covered: bool) -> tuple[Any, Error | None]:
    """Convert a literal and say what is wrong with it, if anything.

    Args:
        spec: the input.
        value: the graph's value.
        rules: those of the server's release.
        covered: whether a function of the node's class judges range and options in the server's place.

    Raises:
        CheckFailedError: ComfyUI's own check would raise.

    """
    value = unwrap(value)
    try:
        value = convert(value, spec.type)
    except (ValueError, TypeError, OverflowError) as problem:
        message = f"Failed to convert an input value to a {spec.type} value"
        extra = {**_about(spec, value), "exception_message": str(problem)}
        return value, error("invalid_input_type", message, f"{spec.name}, {value}, {problem}", **extra)
    except RecursionError:
        raise CheckFailedError(f"input '{spec.name}' is nested too deeply", "RecursionError") from None
    if covered:
        return value, None
    try:
        return value, _out_of_range(spec, value) or _not_an_option(spec, value, rules)
    except TypeError as problem:
        raise CheckFailedError(f"input '{spec.name}' cannot be compared: {problem}", "TypeError") from None


def _about(spec: InputSpec, value: Any) -> dict[str, Any]:
    return {"input_name": spec.name, "input_config": entry(spec), "received_value": value}


def _out_of_range(spec: InputSpec, value: Any) -> Error | None:
    low, high = spec.config.get("min"), spec.config.get("max")
    if "min" in spec.config and value < low:
        message = f"Value {value} smaller than min of {low}"
        return error("value_smaller_than_min", message, spec.name, **_about(spec, value))
    if "max" in spec.config and value > high:
        return error("value_bigger_than_max", f"Value {value} bigger than max of {high}", spec.name, **_about(spec, value))
    return None


def _not_an_option(spec: InputSpec, value: Any, rules: Rules) -> Error | None:
    options = spec.options
    if options is None or "remote" in spec.config:  # remote: the web page fetches the options
        return None
    if not (rules.checks_combo or isinstance(spec.type, list)):
        return None
    several = rules.checks_combo and isinstance(value, list) and spec.config.get("multiselect")
    strange = [item for item in (value if several else [value]) if item not in options]
    if not strange:
        return None
    said, listed, extra = f"'{value}'", str(list(options)), _about(spec, value)
    if rules.checks_combo:
        said = ", ".join(map(repr, strange))
    if len(options) > LONGEST_LISTED_ENUM:
        listed, extra["input_config"] = f"(list of length {len(options)})", None
    return error("value_not_in_list", "Value not in list", f"{spec.name}: {said} not in {listed}", **extra)


def judge_itself(own: OwnCheck, class_type: str, given: Mapping[str, Any], check: UploadCheck | None) -> str | None:
    """Return the error that the class's own function finds; None if there is none.

    Args:
        own: what it looks at.
        class_type: the class.
        given: the inputs that it gets; links are None.
        check: looks for an uploaded file.

    Raises:
        CheckFailedError: the function would raise.

    """
    if own.needed and own.input not in given:
        raise CheckFailedError(f"{class_type} needs its input '{own.input}' to check it", "TypeError")
    value = given.get(own.input)
    if not own.file or (own.rest and (not value or value == "none")):
        return None
    if not isinstance(value, str):
        what = "is linked" if value is None else f"is {value!r}"
        raise CheckFailedError(f"input '{own.input}' of {class_type} must be the name of a file and {what}", "AttributeError")
    if value in ("", "."):  # the name is the folder itself, which exists
        return None
    return check(class_type, own.input, value) if check else None
