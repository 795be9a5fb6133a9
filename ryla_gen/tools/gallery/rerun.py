"""Write the command and the Python that make a file again, from a note that anyone may have written. Runs nothing.

Only values that the workflow's own class accepts are spelled out, each quoted; whatever else there is is read from the
file itself when the command runs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RylaGenError
from ...support.control_characters import CLASS
from ...support.shell_words import no_option
from ...workflows.base import Workflow
from ...workflows.registry import BUILT_IN, named_class

STANDING_IN = {"image": "photo.png", "video": "video.mp4", "reference_image": "face.png"}
"""Names that stand for the pictures which must be given again."""
MOST_PICTURES = 10
"""Pictures of one field that are spelled out: a note of a stranger's may tell of any number."""
LONGEST_LINE = 84
"""Columns of a Python call on one line."""
SAVE = '    generation.save("{workflow}-{job}-{index}")\n'
"""A name that no other run has: the snippet may be run twice."""
_CONTROL = re.compile(f"[\n\t{CLASS}\udc80-\udcff]")
"""Control characters, and the bytes of a file name that are no UTF-8 (as Python holds them)."""


@dataclass(frozen=True, slots=True)
class RerunSnippet:
    """The command and the Python that make a file again."""

    command: str
    python: str
    needs: tuple[str, ...] = ()
    """Fields whose picture must be given again."""


def again(name: str, inputs: Mapping[str, Any], seed: int | None, path: Path) -> RerunSnippet:
    """Spell out how to make a file again.

    Args:
        name: of its workflow.
        inputs: the fields that its note tells.
        seed: the one that was used.
        path: the file, which ``rerun`` and ``load`` read.

    """
    cls = _class_of(name)
    if cls is None:
        return _rerun(path, {})
    # Whatever a note holds there: only a hash is ours, and a path or an address of a stranger's is not spelled out.
    needs = tuple(field for field in cls.media_fields() if inputs.get(field) not in (None, {}, []))
    fields = _fields(cls, {**inputs, "seed": seed}, needs) if name in BUILT_IN and not cls.own_graph else None
    options = _options(fields) if fields is not None else None
    if fields is None or options is None:
        return _rerun(path, {field: inputs[field] for field in needs})
    line = " ".join(["ryla-gen run", name.replace("_", "-"), *options])
    return RerunSnippet(line, _call(name, fields), needs)


def _class_of(name: str) -> type[Workflow] | None:
    try:
        return named_class(name)
    except RylaGenError:
        return None  # the workflow of a plug-in that is not installed here


def _fields(cls: type[Workflow], inputs: Mapping[str, Any], needs: tuple[str, ...]) -> dict[str, Any] | None:
    """Choose the fields to write: those that differ from their defaults, unless a default depends on one of them."""
    pictures = {name: _standing_in(name, inputs[name]) for name in needs}
    full = {name: value for name, value in inputs.items() if name in cls.model_fields and value is not None} | pictures
    kept = {
        name: value
        for name, value in full.items()
        if (info := cls.model_fields[name]).is_required() or value != _jsonlike(info.get_default(call_default_factory=True))
    }
    try:
        wanted = cls.from_plain(full, trusted=True)
        return kept if cls.from_plain(kept, trusted=True) == wanted else full
    except RylaGenError:
        return None  # a note of another version, or of no known one: the file itself is read when it is run again


def _jsonlike(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _options(fields: Mapping[str, Any]) -> list[str] | None:
    """Write fields as options of ``ryla-gen run``; None when one cannot be written so."""
    words: list[str] = []
    for name, value in fields.items():
        option = f"--{name.replace('_', '-')}"
        if name == "prompt" and isinstance(value, str):
            if value == "-":
                return None  # would read standard input
            words.insert(0, quote(f"--prompt={value}") if value.startswith("-") else quote(value))
        elif isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, int | float):
            words += [option, str(value)]
        elif isinstance(value, str):
            words += [quote(f"{option}={value}")] if value.startswith("-") or not value else [option, quote(value)]
        elif name == "loras":
            words += [part for lora in value for part in ("--lora", quote(f"{lora['id']}:{lora['strength']}"))]
        elif name == "images":
            words += [part for file in value for part in ("--image", quote(file))]
        else:
            return None
    return words


def _call(name: str, fields: Mapping[str, Any]) -> str:
    texts = [f"{key}={_python(key, value)}" for key, value in fields.items()]
    first = f"from ryla_gen import {'Client, Lora' if 'loras' in fields else 'Client'}\n\nwith Client() as client:\n"
    call = f"    generation = client.{name}({', '.join(texts)})"
    if len(call) > LONGEST_LINE:
        call = f"    generation = client.{name}(\n{''.join(f'        {text},{chr(10)}' for text in texts)}    )"
    return f"{first}{call}\n{SAVE}"


def _python(name: str, value: Any) -> str:
    if name == "loras":
        loras = (f"Lora({lora['id']!r}, {lora['strength']!r})" for lora in value)
        return f"[{', '.join(loras)}]"
    return repr(value)


def _rerun(path: Path, pictures: Mapping[str, Any]) -> RerunSnippet:
    options = ""
    given: dict[str, Any] = {}
    for name, held in pictures.items():
        if name == "images" and isinstance(held, list):
            given[name] = _standing_in(name, held)
            options += " --image photo.png" * len(given[name])
        elif name == "images":  # a graph of one's own: each of its pictures by name
            named = [str(key) for key in held] if isinstance(held, Mapping) else ["NAME"]
            given[name] = dict.fromkeys(named, "photo.png")
            options += "".join(f" --image {quote(f'{key}=photo.png')}" for key in named)
        else:
            given[name] = _standing_in(name, held)
            options += f" {_rerun_option(name)}{given[name]}"
    arguments = "".join(f", {name}={value!r}" for name, value in given.items())
    call = f"    generation = client.run(load({str(path)!r}{arguments}))\n"
    python = f"from ryla_gen import Client, load\n\nwith Client() as client:\n{call}{SAVE}"
    return RerunSnippet(f"ryla-gen rerun {quote(no_option(path))}{options}", python, tuple(given))


def _rerun_option(name: str) -> str:
    """Return how ``ryla-gen rerun`` takes a picture or a video; it has options of its own for few of them."""
    return f"--{name.replace('_', '-')} " if name in STANDING_IN else f"--set {name}="


def _standing_in(name: str, held: Any) -> Any:
    """Return the file, or files, that stand for what a field held."""
    file = STANDING_IN.get(name, "photo.png")
    return [file] * min(len(held), MOST_PICTURES) if isinstance(held, list) else file


def quote(text: str) -> str:
    """Quote a word for bash and zsh; control characters are spelled out: pasted raw, they would reach the terminal."""
    if _CONTROL.search(text) is None:
        return shlex.quote(text)
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda found: {"\n": "\\n", "\t": "\\t"}.get(found[0], _escape(found[0])), plain) + "'"


def _escape(sign: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "surrogateescape"))
