"""Define the field types of workflows, pictures and videos, and the errors of values that do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, core_schema

from ..errors import InvalidInputError
from ..media import has_transparency, is_data_url
from ..support.shell_words import command_word

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
    ImageInputs = Sequence[ImageInput]
else:
    ImageInput = Annotated[Any, Media("image")]
    """A picture: path, https:// URL, bytes, data URL, PIL image or open binary file."""
    VideoInput = Annotated[Any, Media("video")]
    """A video: path, https:// URL, bytes, data URL or open binary file."""
    ImageInputs = Annotated[tuple[ImageInput, ...], BeforeValidator(lambda value: _alone(value))]
    """Several pictures, in order; one may be given as it is. Held is a tuple, so that a request stays frozen."""


def _alone(value: Any) -> Any:
    """Return a single picture as a sequence of one."""
    alone = isinstance(value, str | bytes | bytearray | memoryview | PathLike) or hasattr(value, "read") or _is_picture(value)
    return (value,) if alone else value


CheckpointName = Annotated[str, Field(min_length=1, max_length=200)]
"""File name inside the server's checkpoints folder."""


def model_file(value: str) -> str:
    """Validate the name of a model file: relative, and inside its folder."""
    if value.startswith(("/", "\\", "~")) or ":" in value or ".." in value.replace("\\", "/").split("/"):
        raise PydanticCustomError("unsafe_file", "Must be a file name inside the server's model folder")
    return value


def four_n_plus_one(value: int) -> int:
    """Validate a number of frames: the video models work on 4n+1."""
    if (value - 1) % 4:
        nearest = max(1, round((value - 1) / 4) * 4 + 1)
        raise PydanticCustomError("four_n_plus_one", "Must be one more than a multiple of 4", {"nearest": nearest})
    return value


def held_media(field: str, value: Any) -> list[tuple[str, Any]]:
    """Return what a media field holds, by the place of each: ``image``, ``images[a.png]`` or ``images[0]``; nothing for None."""
    if isinstance(value, Mapping):
        return [(f"{field}[{key}]", item) for key, item in value.items()]
    if isinstance(value, tuple | list):
        return [(f"{field}[{index}]", item) for index, item in enumerate(value)]
    return [] if value is None else [(field, value)]


def with_media(value: Any, read: Mapping[str, Any], field: str) -> Any:
    """Return a media field's value with what it holds replaced, by the places of :func:`held_media`."""
    items = [read[place] for place, _ in held_media(field, value)]
    if isinstance(value, Mapping):
        return dict(zip(value, items, strict=True))
    return tuple(items) if isinstance(value, tuple | list) else items[0]


@cache
def media_kinds(cls: type[BaseModel]) -> dict[str, MediaKind]:
    """Find the media fields of a workflow class, dictionaries of them among these."""
    kinds: dict[str, MediaKind] = {}
    for name, info in cls.model_fields.items():
        for mark in (*info.metadata, *_marks(info.annotation)):
            if isinstance(mark, Media):
                kinds[name] = mark.kind
    return kinds


def transparent_places(request: BaseModel) -> list[str]:
    """Return the places of a request's pictures that were read and are transparent somewhere; bytes that are none have no part."""
    names = [name for name, kind in media_kinds(type(request)).items() if kind == "image"]
    held = [item for name in names for item in held_media(name, getattr(request, name))]
    return [place for place, picture in held if isinstance(picture, bytes) and picture and _shows_through(picture)]


def _shows_through(picture: bytes) -> bool:
    try:
        return has_transparency(picture)
    except InvalidInputError:  # it is refused where it is brought to the server
        return False


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


Elsewhere = Callable[[str], Sequence[str]]
"""Names the other workflows that have a field."""


def explain(cls: type[BaseModel], error: ValidationError, elsewhere: Elsewhere = lambda name: ()) -> InvalidInputError:
    """Turn pydantic's errors into ours: every field that does not fit, and the nearest value that would.

    Args:
        cls: the workflow, or a part of a request.
        error: pydantic's.
        elsewhere: which other workflows have a field that this one has not.

    """
    name = getattr(cls, "name", None)
    found = error.errors(include_url=False)
    inner = {item["loc"][:depth] for item in found for depth in range(len(item["loc"]))}
    # Pydantic counts only the items that fit: where one does not, the list is not too short besides.
    told = [item for item in found if item["type"] != "too_short" or item["loc"] not in inner]
    problems = [_problem(cls, item, elsewhere) for item in told]
    text = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else str(item["message"]) for item in problems)
    near = [item for item in problems if item.get("nearest") is not None]
    nearest = [f"{item['field']}={item['nearest']}" if item["field"] else item["nearest"] for item in near]
    command = f"ryla-gen workflows show {command_word(cls)}" if name else f"help({cls.__name__})"
    hint = f"Nearest valid: {', '.join(nearest)}. All fields: {command}" if nearest else f"All fields and their ranges: {command}"
    about = {"workflow": name} if name else {}
    return InvalidInputError(f"{name or cls.__name__} does not accept this: {text}", hint, {**about, "errors": problems})


def _problem(cls: type[BaseModel], item: Any, elsewhere: Elsewhere) -> dict[str, Any]:
    place = ".".join(str(part) for part in item["loc"])
    context = item.get("ctx") or {}
    owner, name = _owner(cls, item["loc"])
    problem = {
        "field": place,
        "type": item["type"],
        "message": _worded(item["type"], item["msg"]),
        "input": _short_value(item["input"]),
    }
    nearest = context.get("nearest")
    if nearest is None and name is not None:
        nearest = _nearest(owner, name, item["input"])
    if isinstance(problem["input"], int | float) and not isinstance(problem["input"], bool):
        problem["message"] += f" (got {problem['input']})"
    if item["type"] == "extra_forbidden":
        others = elsewhere(str(name)) if owner is cls else ()
        nearest, problem["message"] = None, f"no such field{_close(owner, str(name), others)}"
    return {**problem, "nearest": nearest}


def _owner(cls: type[BaseModel], place: tuple[str | int, ...]) -> tuple[type[BaseModel], str | None]:
    """Return the class whose field is at a place, and the field: a part of what another field holds has a class of its own."""
    owner, name = cls, None
    for step in place:
        if isinstance(step, int):  # which of several
            continue
        if name is not None:
            held = [part for part in _parts(owner.model_fields[name].annotation) if issubclass(part, BaseModel)]
            if len(held) != 1:
                return owner, None
            owner = held[0]
        name = step
        if name not in owner.model_fields:
            return owner, name
    return owner, name if place and isinstance(place[-1], str) else None


def _parts(annotation: Any) -> list[type]:
    """Return the classes that an annotation is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [found for part in get_args(annotation) for found in _parts(part)]


def _worded(kind: str, message: str) -> str:
    """Return pydantic's message as the end of a sentence that begins with the field's name, in words of JSON."""
    if kind in ("tuple_type", "list_type"):
        return "must be a list"
    if kind in ("model_type", "dict_type"):
        return "must be a dictionary"
    message = message.replace("Input should be", "must be").replace("String should have", "must have")
    return message.replace("Tuple should have", "must have").replace(" after validation", "")


def _short_value(value: Any) -> Any:
    """Repeat a refused value, short, and never a picture."""
    if isinstance(value, bool | int | None):
        return value if not isinstance(value, int) or abs(value) < 2**64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return value if len(value) <= MAX_NOTED_INPUT else f"{value[:MAX_NOTED_INPUT]}… ({len(value)} characters)"
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return f"<{type(value).__name__}>"


def _close(cls: type[BaseModel], name: str, others: Sequence[str]) -> str:
    """Say where a field is that a class has not: under its name for one or several, in other workflows, or under a like name."""
    from difflib import get_close_matches

    several = [field for field in spellings(name)[1:] if field in cls.model_fields]
    close = several or ([] if others else get_close_matches(name, list(cls.model_fields), n=1))
    if close:
        return f"; did you mean {close[0]}?"
    return f"; it is in {', '.join(others[:-1])}{' and ' if others[1:] else ''}{others[-1]}" if others else ""


def spellings(name: str) -> tuple[str, str]:
    """Return a field's name as it is asked for, and the same for one of several or for several: ``image`` and ``images``."""
    return name, name.removesuffix("s") if name.endswith("s") else f"{name}s"


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
