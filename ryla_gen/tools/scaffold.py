"""Write a Python package with a typed workflow class made from a graph, its test, and its entry point.

What a graph says (titles, texts, names) reaches code only as escaped literals; the graph itself stays a data file.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import media
from ..errors import InvalidInputError, OutputExistsError, StorageFailedError
from ..graphs.fields import FoundField, fields_of_graph
from ..locks.graph_lock import GraphLock, LockedInput, lock_text
from ..version import __version__
from ..workflows.custom import CustomWorkflow
from ..workflows.registry import BUILT_IN
from .scaffold_templates import CLASS, LOCKED, PYPROJECT, README, TEST

NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
LONGEST_NAME = 50
TAKEN = frozenset({
    *BUILT_IN, "ryla_gen", "ryla_gen_cli", "modal", "pydantic", "numpy", "aiohttp", "typer", "rich", "av", "pil", "comfy",
    "filelock", "huggingface_hub", "tests", "graph", "files", "field", "seed", "any", "path", "class_var", "image_input",
    "video_input",
})  # fmt: skip
"""Names of modules and classes that the written code, or a container, uses already."""


@dataclass(frozen=True, slots=True)
class Made:
    """A package that was written."""

    folder: Path
    files: tuple[Path, ...]
    class_name: str
    fields: tuple[FoundField, ...]


def checked_name(text: str) -> str:
    """Return a workflow's name with underscores.

    Raises:
        InvalidInputError: it cannot name a module, or is taken.

    """
    name = text.replace("-", "_")
    hint = "Use lower case letters, digits and dashes, such as my-portrait."
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise InvalidInputError(f"{text[:80]!r} cannot name a workflow.", hint)
    if name in TAKEN or name in sys.stdlib_module_names or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise InvalidInputError(f"The name {text!r} is taken.", f"Choose another, such as my-{text}.")
    return name


def write_package(
    name: str,
    graph: Mapping[str, Any],
    folder: Path | None = None,
    *,
    schemas: Mapping[str, Mapping[str, Any]] | None = None,
    force: bool = False,
) -> Made:
    """Write the package.

    Args:
        name: the workflow's name, such as ``my-portrait``.
        graph: the graph in the API format.
        folder: the folder to make; one of the workflow's name in the current folder when absent.
        schemas: node schemas, which tell the fields' ranges; the packaged ones when absent.
        force: whether files that are there may be replaced.

    Raises:
        InvalidInputError: the name or the graph does not fit.
        OutputExistsError: the folder is there, and holds something.
        StorageFailedError: it cannot be written; nothing half-written stays.

    """
    module = checked_name(name)
    api = CustomWorkflow(graph=dict(graph)).graph
    fields = tuple(fields_of_graph(api, schemas))
    target = (Path(module.replace("_", "-")) if folder is None else folder).expanduser()
    class_name = "".join(part.capitalize() for part in module.split("_"))
    texts = _texts(module, class_name, api, fields)
    _write(target, texts, force=force)
    return Made(target, tuple(target / file for file in texts), class_name, fields)


def write_locked_package(lock: GraphLock, requirements: str, folder: Path | None = None, *, force: bool = False) -> Made:
    """Write the package of a lock.

    Args:
        lock: the lock; the workflow has its name.
        requirements: the text of the file beside it.
        folder: the folder to make; one of the lock's name in the current folder when absent.
        force: whether files that are there may be replaced.

    Raises:
        InvalidInputError: the name is taken by a module.
        OutputExistsError: the folder is there, and holds something.
        StorageFailedError: it cannot be written; nothing half-written stays.

    """
    module = checked_name(lock.name)
    fields = tuple(_field_of(item) for item in lock.inputs)
    target = (Path(lock.name) if folder is None else folder).expanduser()
    class_name = "".join(part.capitalize() for part in module.split("_"))
    texts = _locked_texts(module, class_name, lock, fields)
    texts |= {f"{module}/{lock.name}.lock": lock_text(lock), f"{module}/{lock.image.python.file}": requirements}
    _write(target, texts, force=force)
    return Made(target, tuple(target / file for file in texts), class_name, fields)


def _field_of(item: LockedInput) -> FoundField:
    places = tuple((place.rpartition(".")[0], place.rpartition(".")[2]) for place in item.places)
    bounds = (item.minimum, item.maximum, item.multiple_of)
    words = " ".join(re.sub(r"[^A-Za-z0-9 _.,:()/-]+", " ", item.help).split())  # a lock may come from a stranger
    return FoundField(item.name, item.type, places, item.default, words, *bounds, item.choices)


def _locked_texts(module: str, class_name: str, lock: GraphLock, fields: tuple[FoundField, ...]) -> dict[str, str]:
    kinds = {_annotation(field) for field in fields}
    media_inputs = sorted(kinds & {"ImageInput", "VideoInput"})
    words = {"MODULE": module, "DASHED": lock.name, "CLASS": class_name, "VERSION": __version__, "LOCK": f"{lock.name}.lock"}
    words |= _class_words(lock.graph, fields) | _test_words(lock.graph, fields) | {"RUN": _command(lock.name, fields)}
    words["GRAPH"] = f"`{module}/{lock.name}.lock` the graph, `{module}/{lock.image.python.file}` the Python packages it needs"
    words |= {
        "LITERAL": ", Literal" if any(kind.startswith("Literal[") for kind in kinds) else "",
        "SEED": "from ryla_gen.workflows.base import Seed\n" if "Seed" in kinds else "",
        "MEDIA": f"from ryla_gen.workflows.fields import {', '.join(media_inputs)}\n" if media_inputs else "",
    }
    return {
        "pyproject.toml": _fill(PYPROJECT, words),
        "README.md": _fill(README, words),
        f"{module}/__init__.py": _fill(LOCKED, words),
        f"{module}/py.typed": "",
        f"tests/test_{module}.py": _fill(TEST, words),
    }


def _annotation(field: FoundField) -> str:
    """Write the type of a field."""
    if field.kind != "choice":
        return field.annotation
    line = f"Literal[{', '.join(map(literal, field.choices))}]"
    if len(f"    {field.name}: {line} = Field(default={literal(str(field.default))})") <= WIDEST:
        return line
    return "Literal[\n" + "".join(f"        {literal(item)},\n" for item in field.choices) + "    ]"


def _texts(module: str, class_name: str, graph: Mapping[str, Any], fields: tuple[FoundField, ...]) -> dict[str, str]:
    """Fill the templates: file name to content."""
    words = {"MODULE": module, "DASHED": module.replace("_", "-"), "CLASS": class_name, "VERSION": __version__}
    words |= _class_words(graph, fields) | _test_words(graph, fields)
    words |= {"RUN": _command(words["DASHED"], fields), "GRAPH": f"`{module}/graph.json` the graph"}
    return {
        "pyproject.toml": _fill(PYPROJECT, words),
        "README.md": _fill(README, words),
        f"{module}/__init__.py": _fill(CLASS, words),
        f"{module}/graph.json": json.dumps(graph, indent=2) + "\n",
        f"{module}/py.typed": "",
        f"tests/test_{module}.py": _fill(TEST, words),
    }


def _fill(template: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@@([A-Z]+)@@", lambda found: words[found[1]], template)


def _class_words(graph: Mapping[str, Any], fields: tuple[FoundField, ...]) -> dict[str, str]:
    kinds = {_annotation(field) for field in fields}
    inputs = sorted(kinds & {"ImageInput", "VideoInput"})
    outputs = [
        (node_id, "filename_prefix") for node_id, node in graph.items() if isinstance(node["inputs"].get("filename_prefix"), str)
    ]
    places = [_assignment(f"    {literal(field.name)}:", _pairs(field.places, 4)) + ",\n" for field in fields]
    return {
        "BASES": ", ".join(["Files", *(["Seed"] if "Seed" in kinds else [])]),
        "MEDIA": f"from ryla_gen.workflows.fields import {', '.join(inputs)}\n" if inputs else "",
        "FIELD": "from pydantic import Field\n" if any(_default(field) for field in fields) else "",
        "FIELDS": "".join(f'\n    {field.name}: {_annotation(field)}{_default(field)}\n    """{field.doc}"""' for field in fields),
        "PLACES": "{\n" + "".join(places) + "}" if places else "{}",
        "OUTPUTS": _assignment(OUTPUTS, _pairs(tuple(outputs), 0) if outputs else ("()", "()")),
    }


OUTPUTS = "OUTPUTS: tuple[tuple[str, str], ...] ="
WIDEST = 132
"""Columns of a line of written code, as its pyproject.toml says."""


def _assignment(start: str, forms: tuple[str, str]) -> str:
    """Write code on one line where it fits, else on several."""
    return f"{start} {forms[0]}" if len(start) + len(forms[0]) + 2 <= WIDEST else f"{start} {forms[1]}"


def _pairs(places: tuple[tuple[str, str], ...], indent: int) -> tuple[str, str]:
    """Write a tuple of places, on one line and on several."""
    pairs = [f"({literal(node)}, {literal(name)})" for node, name in places]
    room = " " * indent
    lines = "".join(f"{room}    {pair},\n" for pair in pairs)
    return f"({', '.join(pairs)}{',' * (len(pairs) == 1)})", f"(\n{lines}{room})"


def _default(field: FoundField) -> str:
    """Write what follows a field's type."""
    arguments = _arguments(field)
    if not arguments:
        return ""
    line = f" = Field({', '.join(arguments)})"
    if len(f"    {field.name}: {_annotation(field)}{line}".rpartition("\n")[2]) <= WIDEST:
        return line
    return " = Field(\n" + "".join(f"        {argument},\n" for argument in arguments) + "    )"


def _arguments(field: FoundField) -> list[str]:
    match field.kind:
        case "prompt":
            return ["min_length=1", "max_length=20_000"]
        case "text":
            return [f"default={literal(field.default)}", "max_length=20_000"]
        case "texts":
            return ["default=None", "max_length=20_000"]
        case "seed":
            return ["default=None"]
        case "image" | "video":
            return []
        case "choice":
            return [f"default={literal(field.default)}"]
        case "bool":
            return [f"default={field.default!r}"]
    limits = {"ge": field.minimum, "le": field.maximum, "multiple_of": field.grid}
    return [f"default={field.default!r}", *(f"{name}={limit!r}" for name, limit in limits.items() if limit is not None)]


def _test_words(graph: Mapping[str, Any], fields: tuple[FoundField, ...]) -> dict[str, str]:
    given, checks = [], []
    for field in fields:
        value = _sample(field)
        given.append(f"        {field.name}={value},\n")
        wanted = literal(f"{field.name}.png") if field.kind in ("image", "video") else value
        for node, name in field.places:
            checks.append(f'    assert graph[{literal(node)}]["inputs"][{literal(name)}] == {wanted}\n')
    call = "\n" + "".join(given) + "    " if given else ""
    return {"GIVEN": call, "CHECKS": "".join(checks) or "    assert graph\n"}


def _sample(field: FoundField) -> str:
    """Write a valid value other than the default."""
    if field.kind in ("prompt", "text", "texts"):
        return literal(f"another {field.name.replace('_', ' ')}")
    if field.kind in ("image", "video"):
        return 'b""'
    if field.kind == "seed":
        return "12345"
    if field.kind == "choice":
        return literal(field.choices[-1])
    if field.kind == "bool":
        return repr(not field.default)
    low = field.minimum if field.minimum is not None else field.default
    if field.grid and low % field.grid:
        low = field.default
    return repr(int(low)) if field.kind == "int" else repr(float(low))


def _command(dashed: str, fields: tuple[FoundField, ...]) -> str:
    prompt = ' "a lighthouse at dusk"' if any(field.kind == "prompt" for field in fields) else ""
    files = "".join(f" --{field.name.replace('_', '-')} FILE" for field in fields if field.kind in ("image", "video"))
    return f"ryla-gen run {dashed}{prompt}{files}"


def literal(text: str) -> str:
    """Write a text as a Python literal in double quotes, ASCII only: nothing in it can end the literal."""
    out = []
    for sign in text:
        number = ord(sign)
        if sign in ('"', "\\"):
            out.append(f"\\{sign}")
        elif sign == "\n":
            out.append("\\n")
        elif 32 <= number < 127:
            out.append(sign)
        else:
            out.append(f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}")
    return f'"{"".join(out)}"'


def _write(target: Path, texts: Mapping[str, str], *, force: bool) -> None:
    if os.path.lexists(target):
        there = target.is_dir() and not any(target.iterdir())
        if not (there or (force and target.is_dir())):
            raise OutputExistsError(f"{target} exists already.", "Choose another folder with -o DIR, or replace its files: --force")
        for file, text in texts.items():
            media.save_atomically(target / file, text.encode(), overwrite=force)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".ryla-", dir=target.parent))
        try:
            for file, text in texts.items():
                (made / file).parent.mkdir(parents=True, exist_ok=True)
                (made / file).write_bytes(text.encode())
            made.chmod(0o777 & ~_umask())
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except (OSError, ValueError) as error:
        raise StorageFailedError(f"{target} cannot be written: {getattr(error, 'strerror', None) or error}.") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
