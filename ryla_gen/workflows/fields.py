"""Define the field types of workflows, pictures and videos, and the errors of values that do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema

from ..errors import InvalidInputError
from ..media.files import is_data_url

if TYPE_CHECKING:
    from PIL.Image import Image

MediaKind = Literal["image", "video"]
"""What a media field holds."""

MAX_NOTED_INPUT = 120
"""Characters of a refused value that an error repeats: enough to recognise it."""


class Media:
    """Pydantic annotation of a field that holds a reference to a picture or video, unread."""

    def __init__(self, kind: MediaKind) -> None:
        self.kind: MediaKind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check the type only; reading happens later, in the caller's process."""
        return core_schema.with_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the field in JSON: a picture or video is a data URL, or a path or URL on the caller's side."""
        return {"type": "string", "format": "binary", "contentMediaType": f"{self.kind}/*"}

    def _check(self, value: Any, info: core_schema.ValidationInfo) -> Any:
        trusted = (info.context or {}).get("trusted", True)
        if isinstance(value, bytearray | memoryview):
            value = bytes(value)
        if isinstance(value, bytes) or (isinstance(value, str) and value.startswith("data:")):
            return value
        if not trusted:
            raise PydanticCustomError("untrusted_media", "Only bytes and data URLs are accepted here, never a path or a URL")
        if isinstance(value, str | PathLike) or hasattr(value, "read") or _is_picture(value):
            return value
        text = "Give a path, an https:// URL, bytes, a data URL, an open binary file or a PIL image, not {kind}"
        raise PydanticCustomError("media_type", text, {"kind": type(value).__name__})


def _is_picture(value: Any) -> bool:
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(value).__mro__)


if TYPE_CHECKING:
    ImageInput = str | PathLike[str] | bytes | BinaryIO | Image
    VideoInput = str | PathLike[str] | bytes | BinaryIO
else:
    ImageInput = Annotated[Any, Media("image")]
    """A picture: path, https:// URL, bytes, data URL, PIL image or open binary file."""
    VideoInput = Annotated[Any, Media("video")]
    """A video: path, https:// URL, bytes, data URL or open binary file."""


@cache
def media_kinds(cls: type[BaseModel]) -> dict[str, MediaKind]:
    """Find the media fields of a workflow class, dictionaries of them among these."""
    kinds: dict[str, MediaKind] = {}
    for name, info in cls.model_fields.items():
        for mark in (*info.metadata, *_marks(info.annotation)):
            if isinstance(mark, Media):
                kinds[name] = mark.kind
    return kinds


def _marks(annotation: Any) -> list[Any]:
    found = list(getattr(annotation, "__metadata__", ()))
    for part in get_args(annotation):
        found += _marks(part)
    return found


def summary(value: Any) -> Any:
    """Replace bytes by their hash and size, however deep, so that no picture is stored by us."""
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value)}
    if isinstance(value, str) and is_data_url(value):
        return summary(value.encode())
    if isinstance(value, Mapping):
        return {str(key): summary(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [summary(item) for item in value]
    if isinstance(value, str | int | float | bool | None):
        return value
    return str(value) if isinstance(value, PathLike) else f"<{type(value).__name__}>"


def explain(cls: type[BaseModel], error: ValidationError) -> InvalidInputError:
    """Turn pydantic's errors into ours: every field that does not fit, and the nearest value that would."""
    name = getattr(cls, "name", cls.__name__)
    problems = [_problem(cls, item) for item in error.errors(include_url=False)]
    text = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else str(item["message"]) for item in problems)
    near = [item for item in problems if item.get("nearest") is not None]
    nearest = [f"{item['field']}={item['nearest']}" if item["field"] else item["nearest"] for item in near]
    command = f"ryla-gen workflows show {name.replace('_', '-')}"
    hint = f"Nearest valid: {', '.join(nearest)}. All fields: {command}" if nearest else f"All fields and their ranges: {command}"
    return InvalidInputError(f"{name} does not accept this: {text}", hint, {"workflow": name, "errors": problems})


def _problem(cls: type[BaseModel], item: Any) -> dict[str, Any]:
    place = ".".join(str(part) for part in item["loc"])
    context = item.get("ctx") or {}
    problem = {
        "field": place,
        "type": item["type"],
        "message": item["msg"].replace("Input should be", "must be").replace("String should have", "must have"),
        "input": _short_value(item["input"]),
    }
    nearest = context.get("nearest")
    if nearest is None and len(item["loc"]) == 1:
        nearest = _nearest(cls, str(item["loc"][0]), item["input"])
    if isinstance(problem["input"], int | float) and not isinstance(problem["input"], bool):
        problem["message"] += f" (got {problem['input']})"
    if item["type"] == "extra_forbidden":
        nearest, problem["message"] = None, f"no such field{_close(cls, place)}"
    return {**problem, "nearest": nearest}


def _short_value(value: Any) -> Any:
    """Repeat a refused value, short, and never a picture."""
    if isinstance(value, bool | int | None):
        return value if not isinstance(value, int) or abs(value) < 2**64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return value if len(value) <= MAX_NOTED_INPUT else f"{value[:MAX_NOTED_INPUT]}… ({len(value)} characters)"
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return f"<{type(value).__name__}>"


def _close(cls: type[BaseModel], name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, list(cls.model_fields), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _nearest(cls: type[BaseModel], name: str, value: Any) -> int | float | None:
    """Return the nearest value to the given one that is inside the field's bounds and on its grid."""
    if name not in cls.model_fields or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high, grid = bounds(cls.model_fields[name])
    if value != value or abs(value) == float("inf") or (low is None and high is None):
        return None
    given = value
    value = max(-1e18, min(1e18, value))  # a whole number of hundreds of digits cannot be divided
    if grid:
        value = round(value / grid) * grid
    if low is not None:
        value = max(low, value)
    if high is not None:
        value = min(high, value)
    whole = cls.model_fields[name].annotation in (int, int | None)
    found = round(value) if whole else float(value)
    return found if found != given and _fits(cls.model_fields[name], found) else None


def _fits(info: FieldInfo, value: float) -> bool:
    """Whether the field's type and bounds take a value: of those above 0, for example, none is the least."""
    bounded: Any = Annotated[info.annotation, *info.metadata]
    try:
        TypeAdapter(bounded).validate_python(value)
    except ValidationError:
        return False
    return True


def bounds(info: FieldInfo) -> tuple[Any, Any, Any]:
    """Return the least and the greatest value of a field, and the number it must be a multiple of; None for what is free."""
    low = high = grid = None
    for mark in (*info.metadata, *_marks(info.annotation)):
        low = getattr(mark, "ge", low)
        high = getattr(mark, "le", high)
        grid = getattr(mark, "multiple_of", grid)
    return low, high, grid
