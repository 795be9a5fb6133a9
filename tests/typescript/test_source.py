"""The TypeScript sources by themselves: types against the Python fields, names, a lock file that names no host."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from ryla_gen.characters.base import ANGLES, MOST_PICTURES
from ryla_gen.characters.recipes import BASE_RECIPES, SHEET_RECIPES
from ryla_gen.characters.requests import EDIT_PROMPT, SHEET_PROMPT
from ryla_gen.names import APP, CLASS_OF_FAMILY, EVENTS_QUEUE
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import BUILT_IN, workflow_class

from .conftest import SOURCES, execute

HELPERS = """
import type { OptionsOf } from "./ryla.js";
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Number_<T> = [T] extends [number] ? number : [T] extends [number | bigint] ? 'whole' : object;
type Kind<T> = [T] extends [string] ? T : Number_<T>;
type Shape<T> = { [K in keyof T]-?: undefined extends T[K] ? [Kind<Exclude<T[K], undefined>>] : Kind<T[K]> };
"""


def test_the_options_are_exactly_the_fields_of_the_workflows(sources: Path, compiled: Path) -> None:
    right, wrong = sources / "src" / "right.ts", sources / "src" / "wrong.ts"
    right.write_text(conformance())
    wrong.write_text(conformance().replace("triggerWord:", "triggerWords:"))
    try:
        told = execute("node", "node_modules/typescript/bin/tsc", "--noEmit", cwd=sources).stdout
    finally:
        right.unlink()
        wrong.unlink()
    assert told.startswith("src/wrong.ts"), "a field of another name is noticed"
    assert len(told.splitlines()) == 1, told


def conformance() -> str:
    """TypeScript that compiles only if every workflow's options have the names, choices and necessity of the Python fields."""
    lines = [HELPERS]
    for name in BUILT_IN:
        cls = workflow_class(name)
        fields = " ".join(f"{camel(field)}: {kind(cls, field)};" for field in cls.model_fields)
        lines.append(f"export const {name}: Same<Shape<OptionsOf['{name}']>, {{ {fields} }}> = true;")
    lines.append(f"export const names: Same<keyof OptionsOf, {' | '.join(repr(name) for name in BUILT_IN)}> = true;")
    return "\n".join(lines)


def camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def kind(cls: type[Workflow], name: str) -> str:
    """The TypeScript type of a field, in brackets when it may be left out."""
    info = cls.model_fields[name]
    simple = "object" if name in cls.media_fields() else _simple(info.annotation, name)
    return simple if info.is_required() else f"[{simple}]"


def _simple(annotation: Any, name: str) -> str:
    choices = [part for part in get_args(annotation) if get_origin(part) is Literal]
    if choices:  # or None
        return _simple(choices[0], name)
    if get_origin(annotation) is Literal:
        return " | ".join(json.dumps(choice) for choice in get_args(annotation))
    text = str(annotation)
    if name == "seed":
        return "'whole'"
    if "str" in text and "dict" not in text:
        return "string"
    return "number" if "int" in text or "float" in text else "object"


def test_names_are_those_of_the_python_side() -> None:
    module, calls = (SOURCES / "src" / "ryla.ts").read_text(), (SOURCES / "src" / "calls.ts").read_text()
    table = dict(re.findall(r'^  (\w+): "(\w+)",$', module.partition("CLASS_OF = ")[2].partition("}")[0], re.MULTILINE))
    assert table == {name: CLASS_OF_FAMILY[workflow_class(name).family] for name in BUILT_IN}
    assert f'"{APP}"' in module
    assert f'EVENTS_QUEUE = "{EVENTS_QUEUE}"' in calls


def test_the_angles_and_what_they_ask_for_are_those_of_the_python_side() -> None:
    text = (SOURCES / "src" / "characters.ts").read_text()
    row = r'^  "([\w-]+)": \{\s+label: "([^"]+)",\s+prompt: "([^"]+)",\s+instruction: "([^"]+)",\s+\},$'
    rows = re.findall(row, text, re.MULTILINE)
    assert rows == [(angle.name, angle.label, angle.prompt, angle.instruction) for angle in ANGLES.values()]
    assert f'"{SHEET_PROMPT}"' in text
    assert "".join(re.findall(r'"([^"]*)"', text.partition("const EDIT_PROMPT =")[2].partition(";\n")[0])) == EDIT_PROMPT
    for table, recipes in (("BASE_RECIPES", BASE_RECIPES), ("SHEET_RECIPES", SHEET_RECIPES)):
        block = text.partition(f"const {table} = {{")[2].partition("}")[0]
        assert re.findall(r'(\w+): "(\w+)"', block) == [(item.name, item.workflow) for item in recipes.values()]
    assert f"const MOST_PICTURES = {MOST_PICTURES};" in text


def test_modal_is_pinned_and_the_lock_file_names_no_host() -> None:
    package = json.loads((SOURCES / "package.json").read_text())
    lock = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    assert package["dependencies"] == {"modal": "0.11.1"}, "the latest tag of that name is an unrelated package"
    assert lock["node_modules/modal"]["version"] == "0.11.1"
    assert not [name for name, entry in lock.items() if "resolved" in entry]
    assert all("integrity" in entry for name, entry in lock.items() if name)


def test_no_any_and_examples_of_at_most_forty_lines() -> None:
    for path in [*SOURCES.glob("src/**/*.ts"), *SOURCES.glob("test/*.ts")]:
        code = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"(:|<|\bas)\s*any\b|@ts-ignore", code), path.name
        assert path.parent.name != "examples" or len(path.read_text().splitlines()) <= 40, path.name
