"""Convert a workflow's fields to command-line options, and their values back to what the class takes.

Reads no file but the JSON that a dictionary field asks for, and standard input for the prompt ``-``. Runs nothing.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ryla_gen.errors import InvalidInputError
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.fields import bounds
from ryla_gen.workflows.loras import Lora

from .screen import shorten

LONGEST_CHOICE = 40
"""Characters of choices that fit into the left column of the help; longer lists go into the text."""

SPOKEN_FOR = frozenset({"output", "overwrite", "backend", "url", "timeout", "tag", "max_usd", "preview", "json", "quiet", "help"})
"""Options of ``run`` itself; a plug-in's field of that name is ``--field-NAME``."""

LARGE = 10**6
"""Bounds beyond this (seeds) are told in words by the docstrings."""

PREFIX = "field_"
"""Before a field's name as a parameter: a field may be called like a parameter of ours."""

Kind = Literal["int", "float", "bool", "choice", "text", "media", "media-map", "media-list", "loras", "list", "parts", "json"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field as an option."""

    name: str
    kind: Kind
    info: FieldInfo
    choices: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def option(self) -> str:
        """Name of the option: hyphens, and the singular where it may be given several times."""
        plain = self.name.removesuffix("s") if self.kind in ("loras", "media-map", "media-list") else self.name
        return f"--{'field-' if plain in SPOKEN_FOR else ''}{plain.replace('_', '-')}"

    @property
    def doc(self) -> str:
        """The field's docstring, in one paragraph without code marks."""
        return " ".join((self.info.description or "").replace("``", "").split())

    @property
    def range(self) -> str:
        """The bounds of a number, for people, where its docstring does not say them."""
        low, high, grid = bounds(self.info)
        spoken = f"{low:g} to {high:g}" if low is not None and high is not None and high < LARGE else ""
        if not spoken or spoken in self.doc:
            return ""
        return f" {spoken}{f', multiples of {grid}' if grid else ''}."

    @property
    def default(self) -> str:
        """The default, for people; empty when there is none."""
        value = self.info.get_default(call_default_factory=True) if not self.info.is_required() else None
        return "" if value is None or value == "" or value == () or value == {} else str(value)

    def read(self, text: Any) -> Any:
        """Turn what was given on the command line into what the class takes.

        Raises:
            InvalidInputError: it has another form.

        """
        match self.kind:
            case "int" | "float":
                return _number(self, text)
            case "bool":
                return text if isinstance(text, bool) else _truth(self, text)
            case "loras":
                return tuple(lora(item) for item in _several(text))
            case "media-map":
                return dict(_pair(self, item) for item in _several(text))
            case "list" | "media-list":
                return list(_several(text))
            case "parts":
                return _parts(self, text)
            case "json":
                return _json(self, text)
            case _:
                return text


def fields_of(cls: type[Workflow]) -> dict[str, Field]:
    """Describe every field of a workflow class as an option."""
    media = cls.media_fields()
    return {name: _field(name, info, name in media) for name, info in cls.model_fields.items()}


def _field(name: str, info: FieldInfo, is_media: bool) -> Field:
    kind = _bare(info.annotation)
    origin, inner = get_origin(kind), get_args(kind)
    if is_media:
        several: dict[Any, Kind] = {dict: "media-map", tuple: "media-list"}
        return Field(name, several.get(origin, "media"), info, repeated=origin in several)
    if origin is Literal:
        if all(isinstance(item, str) for item in inner):
            return Field(name, "choice", info, choices=tuple(inner))
        return Field(name, "json", info)
    if origin in (tuple, list, Sequence) and inner and _bare(inner[0]) is Lora:
        return Field(name, "loras", info, repeated=True)
    if origin in (tuple, list, Sequence) and inner and _bare(inner[0]) is str:
        return Field(name, "list", info, repeated=True)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return Field(name, "parts", info, repeated=True)
    plain: dict[Any, Kind] = {int: "int", float: "float", bool: "bool", str: "text"}
    return Field(name, plain.get(kind, "json"), info)


def _bare(annotation: Any) -> Any:
    """Return the type without ``| None`` and without pydantic's marks."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            rest = [part for part in get_args(annotation) if part is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation


def parameters(cls: type[Workflow], common: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """Build the parameters of a workflow's command, as typer reads them: prompt, fields, then the common ones."""
    found = fields_of(cls)
    wanted: list[inspect.Parameter] = []
    if _takes_prompt(found):
        text = f"{found['prompt'].doc} - reads it from standard input."
        wanted.append(_parameter("prompt_argument", str | None, typer.Argument(metavar="PROMPT", help=text, show_default=False)))
    wanted += [_option(item) for item in found.values()]
    return wanted + list(common)


def _takes_prompt(found: Mapping[str, Field]) -> bool:
    return "prompt" in found and found["prompt"].kind == "text"


def _option(item: Field) -> inspect.Parameter:
    if item.name == "prompt" and item.kind == "text":
        return _parameter(
            PREFIX + item.name, str | None, typer.Option("--prompt", help="The prompt, instead of PROMPT.", metavar="TEXT")
        )
    # Leave unset fields out entirely: some defaults are computed from other fields (speed=turbo).
    required = item.info.is_required()
    shown = f"  [default: {shorten(item.default)}]" if item.default else ""
    listed = " ".join(item.choices) if item.kind == "choice" and len("|".join(item.choices)) > LONGEST_CHOICE else ""
    parts = f" In order: {','.join(_part_names(item))}. Or by name, once for each." if item.kind == "parts" else ""
    text = f"{item.doc}{item.range}{parts}{f' One of: {listed}.' if listed else ''}{shown}"
    name = f"{item.option}/--no-{item.option[2:]}" if item.kind == "bool" else item.option
    annotation: Any = {"int": int, "float": float, "bool": bool, "choice": Literal.__getitem__(item.choices or ("",))}.get(
        item.kind, str
    )
    annotation = list[annotation] if item.repeated else annotation
    info = typer.Option(name, help=text, metavar=_metavar(item, bool(listed)), show_default=False)
    return _parameter(PREFIX + item.name, annotation if required else annotation | None, info, required=required)


def _metavar(item: Field, listed: bool) -> str | None:
    if item.kind == "choice":
        return item.name.upper() if listed else "|".join(item.choices)
    words: dict[Kind, str | None] = {
        "int": "INTEGER",
        "float": "NUMBER",
        "bool": None,
        "text": "TEXT",
        "media": "FILE",
        "media-map": "NAME=FILE",
        "media-list": "FILE",
        "parts": "NAME=NUMBER",
        "loras": "ID[:STRENGTH]",
        "list": "TEXT",
        "json": "FILE.json",
    }
    return words[item.kind]


def _parameter(name: str, annotation: Any, info: Any, *, required: bool = False) -> inspect.Parameter:
    default = inspect.Parameter.empty if required else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, info])


def values(cls: type[Workflow], given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the options of a command line into fields; what was not given is left out.

    Raises:
        InvalidInputError: an option has the wrong form, or the prompt is missing or given twice.

    """
    found = fields_of(cls)
    fields = {
        name: item.read(given[PREFIX + name]) for name, item in found.items() if given.get(PREFIX + name) not in (None, [], ())
    }
    if _takes_prompt(found):
        text = prompt(given.get("prompt_argument"), given.get(f"{PREFIX}prompt"))
        if text is None and found["prompt"].info.is_required():
            path = getattr(given.get("context"), "command_path", f"ryla-gen run {cls.name.replace('_', '-')}")
            raise InvalidInputError("The prompt is missing.", f'Describe what to show: {path} "a lighthouse at dusk"')
        fields.pop("prompt", None)
        fields |= {"prompt": text} if text is not None else {}
    return fields


def prompt(argument: str | None, option: str | None) -> str | None:
    """Choose the prompt; ``-`` reads it from standard input.

    Raises:
        InvalidInputError: it is given twice, or standard input is no text.

    """
    if argument is not None and option is not None:
        raise InvalidInputError("The prompt is given twice: as PROMPT and as --prompt.", "Use one of them.")
    text = argument if option is None else option
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError:
        raise InvalidInputError("The prompt on standard input is not UTF-8 text.", "Give text.") from None


def lora(text: str) -> Lora:
    """Read ``id`` or ``id:strength``.

    Raises:
        InvalidInputError: the id or the strength does not fit.

    """
    name, colon, strength = text.partition(":")
    try:
        return Lora(name, float(strength)) if colon else Lora(name)
    except ValueError as error:  # the strength is no number, or a part does not fit
        hint = "Write it as --lora my-style:0.8: an id of a-z 0-9 . _ - and a strength from -2 to 2."
        raise InvalidInputError(f"{text!r} does not name a LoRA: {_first(error)}", hint) from None


def _first(error: ValueError) -> str:
    if isinstance(error, InvalidInputError):
        problem = error.details["errors"][0]
        return f"{problem['field']}: {problem['message']}."
    return f"{error}."


def _several(given: Any) -> list[Any]:
    return [part.strip() for part in given.split(",")] if isinstance(given, str) else list(given)


def _pair(item: Field, text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (equals and name and file):
        raise InvalidInputError(
            f"{item.option} {text!r} is not NAME=FILE.", f"Write it as {item.option} portrait.png=/path/to/face.png"
        )
    return name, file


def _part_names(item: Field) -> list[str]:
    return list(_bare(item.info.annotation).model_fields)


def _parts(item: Field, given: Any) -> dict[str, int | float]:
    """Read the parts of a field with several: all of them as numbers in their order, or each as ``NAME=NUMBER``."""
    names = _part_names(item)
    texts = [text.strip() for part in _several(given) for text in part.split(",")]
    if len(texts) == len(names) and not any("=" in text for text in texts):
        texts = [f"{name}={text}" for name, text in zip(names, texts, strict=True)]
    return dict(_part(item, text) for text in texts)


def _part(item: Field, text: str) -> tuple[str, int | float]:
    """Read ``NAME=NUMBER``, one part of a field with several."""
    names = _part_names(item)
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not equals or name not in names or number != number:
        order = ",".join(names)
        numbers = ",".join(str(64 * (at + 1)) for at in range(len(names)))
        one_by_one = " ".join(f"{item.option} {name}={64 * (at + 1)}" for at, name in enumerate(names[:2]))
        hint = f"Write it as {item.option} {numbers} ({order}), or once for each part: {one_by_one} …"
        raise InvalidInputError(f"{item.option} {text!r} is not NAME=NUMBER.", hint)
    return name, int(number) if number.is_integer() else number


def _number(item: Field, given: Any) -> int | float:
    if not isinstance(given, str):
        return given  # type: ignore[no-any-return]  # typer made it a number
    try:
        return int(given) if item.kind == "int" else float(given)
    except ValueError:
        wanted, sample = ("a whole number", "30") if item.kind == "int" else ("a number", "3.5")
        raise InvalidInputError(f"{item.name}={given}: must be {wanted}.", f"Give one, such as {sample}.") from None


def _truth(item: Field, text: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in known:
        raise InvalidInputError(f"{item.name}={text}: must be true or false.", f"Write it as {item.name}=true.")
    return known[text.lower()]


def _json(item: Field, text: Any) -> Any:
    """Read a JSON file; a text that is JSON itself is taken as it is."""
    if not isinstance(text, str):
        return text
    try:
        if text.lstrip()[:1] in ("{", "["):
            return json.loads(text)
        path = Path(text).expanduser()
        return json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else _scalar(text)
    except OSError as error:
        raise InvalidInputError(
            f"{item.option}: cannot read {text}: {error.strerror or error}.", "Give the path of an existing JSON file."
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{item.option}: {text[:80]} is not JSON: {error}", "Give JSON, or a file that contains it."
        ) from None


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
