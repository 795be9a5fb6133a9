"""The parts of hand-written pages that name every workflow, or every room of the house. Holds no fact of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ryla_gen.characters.recipes import BASE_RECIPES, SHEET_RECIPES, Recipe
from ryla_gen.characters.requests import picture_field
from ryla_gen.locks.families import packs_for
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.remote.variants import variants
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import built_in_classes, prepared_names, workflow_class

from .asking import data
from .example_calls import hyphenate, shell_line, stored_loras
from .python_parts import first_sentence
from .regions import with_parts
from .typescript_parts import FOLDER, method_name
from .workflow_pages import cell, commercial

COMMON = (
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "steps",
    "cfg",
    "seed",
    "sampler",
    "scheduler",
    "batch_size",
    "output_format",
)
"""Fields that the table of the README does not repeat."""

WORDS = (
    "words that everybody may use",
    "keys, pictures, models, graphs, the protocol",
    "requests; results",
    "what crosses a process, the journal, costs; one workflow on one server; the emulator",
    "where engines live; the Modal side",
    "what a caller holds; work made of several jobs",
    "what only the command line uses",
)
"""What a floor is for, from the ground up; a floor without words shows its rooms alone."""


def hand_written_pages(root: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of every page, and of the site's configuration, with generated parts."""
    parts: dict[str, Mapping[str, str]] = {
        "README.md": {"workflows": _readme()},
        "docs/characters.md": {"recipes": _recipes()},
        "docs/deployment.md": {"classes": _classes(), "tries": _tries()},
        "docs/architecture.md": {"house": _house(root)},
        f"{FOLDER}/README.md": {"methods": _typescript()},
        "mkdocs.yml": {"workflows": _navigation()},
    }
    for name, found in parts.items():
        yield name, with_parts((root / name).read_text(encoding="utf-8"), found)


def _readme() -> str:
    lines = [f"| name | class | what it makes | beyond {', '.join(COMMON)} | commercial use |", "|---|---|---|---|---|"]
    for cls in built_in_classes():
        own = ", ".join(f"`{name}`" for name in cls.model_fields if name not in COMMON) or "–"
        allowed = commercial(data("workflows", "show", hyphenate(cls.name)))
        lines.append(f"| `{hyphenate(cls.name)}` | `{cls.__name__}` | {cell(first_sentence(cls))} | {own} | {allowed} |")
    return "\n".join(lines)


def _recipes() -> str:
    """The recipes of character jobs side by side: licences from the table of weights, seconds from the workflow's class."""
    lines = ["| makes | `recipe` | workflow | commercial use | licences of the default files | seconds a picture | from |"]
    lines.append("|---" * 7 + "|")
    for what, recipes in (("base images", BASE_RECIPES), ("sheets", SHEET_RECIPES)):
        for recipe in recipes.values():
            cls = workflow_class(recipe.workflow)
            for word in ("", *_faster(cls)):
                given = {"speed": word} if word else {}
                name = f"`{recipe.name}`" + (f", `speed={word}`" if word else "")
                lines.append(f"| {what} | {name} | {_recipe_cells(recipe, cls, given)} |")
    return "\n".join(lines)


def _faster(cls: type[Workflow]) -> list[str]:
    """The speeds beside the default that a workflow has an expected duration for."""
    usual = cls.model_fields["speed"].default if "speed" in cls.model_fields else ""
    return [word for word in cls.durations if word not in ("", usual)]


def _recipe_cells(recipe: Recipe, cls: type[Workflow], given: Mapping[str, Any]) -> str:
    shown = data("workflows", "show", hyphenate(cls.name))
    used = [row for row in shown["weights"] if row["only_with"] in ({}, given)]
    licences = cell("; ".join(sorted({row["licence"] or "not known" for row in used})))
    link = f"[{hyphenate(cls.name)}](workflows/{hyphenate(cls.name)}.md)"
    seconds, source = _recipe_seconds(recipe, cls, given)
    return f"{link} | {commercial(shown)} | {licences} | {seconds} | {cell(source)}"


def _recipe_seconds(recipe: Recipe, cls: type[Workflow], given: Mapping[str, Any]) -> tuple[str, str]:
    """What a picture is expected to take on an L40S, and who says so."""
    fields = {"prompt": "a person", **picture_field(recipe.workflow, b"")}
    usual, asked = (cls(**fields, **more) for more in ({}, given))
    work = asked.work(asked.described())
    share = work.amount / usual.work(usual.described()).amount
    expected = next(cls.durations[word] for word in (*reversed(work.variant), "") if word in cls.durations)
    low, likely, high = (f"{seconds * share:.0f}" for seconds in (expected.low, expected.likely, expected.high))
    return f"{low}–{high}, likely {likely}", expected.source if expected.known else f"not measured: {expected.source}"


def _classes() -> str:
    lines = ["| class | methods | node packs in its image |", "|---|---|---|"]
    for family, name in CLASS_OF_FAMILY.items():
        served = [cls for cls in built_in_classes() if cls.family == family]
        methods = ", ".join(f"`{cls.name}`" for cls in served)
        if family == "custom":
            lines.append(f"| `{name}` | {methods}, `generate` (workflows of plug-ins) | all of them |")
            continue
        lines.append(f"| `{name}` | {methods} | {_packs(served)} |")
    return "\n".join([*lines, "| `Weights` | `sync`, `verify`, `status` | none, no GPU |"])


def _packs(served: list[type[Workflow]]) -> str:
    nodes = frozenset[str]().union(*(request.required_nodes() for cls in served for request in variants(cls)))
    return ", ".join(pack.name for pack in packs_for(nodes)) or "none"


def _tries() -> str:
    """Each workflow's weights and its example, on Modal."""
    lines = ["<!-- not run: it needs an account, and spends money -->", "```sh"]
    for name in prepared_names():
        lines += [f"ryla-gen weights sync {hyphenate(name)}"]
        lines += [f"{line} --backend modal" for line in (*stored_loras(name), shell_line(name))]
    return "\n".join([*lines, "```"])


def _typescript() -> str:
    rows = [f"| `{method_name(cls)}` | {cell(first_sentence(cls))} |" for cls in built_in_classes()]
    return "\n".join(["| method | what it makes |", "|---|---|", *rows])


def _navigation() -> str:
    return "\n".join(f"      - {hyphenate(cls.name)}: workflows/{hyphenate(cls.name)}.md" for cls in built_in_classes())


def _house(root: Path) -> str:
    """The floors as Mermaid text, the command line on top; an arrow is an import."""
    rows = [(number, " · ".join(rooms)) for number, rooms in enumerate(_floors(root))]
    lines = ["```mermaid", "flowchart TD", '  cli["<b>ryla_gen_cli</b><br/>the command line"]']
    for number, rooms in reversed(rows):
        words = f"<br/>{WORDS[number]}" if number < len(WORDS) else ""
        lines.append(f'  f{number}["<b>{rooms}</b>{words}"]')
    order = ["cli", *(f"f{number}" for number, _ in reversed(rows))]
    return "\n".join([*lines, f"  {' --> '.join(order)}", "```"])


def _floors(root: Path) -> list[tuple[str, ...]]:
    """The floors that the test of the house holds, from the ground up."""
    tree = ast.parse((root / "tests" / "test_house.py").read_text(encoding="utf-8"))
    found = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "FLOORS" and node.value
    )
    return [tuple(floor) for floor in ast.literal_eval(found)]
