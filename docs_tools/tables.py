"""The parts of hand-written pages that name every workflow, or every room of the house. Holds no fact of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from ryla_gen.locks.families import packs_for
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.remote.variants import variants
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import built_in_classes, prepared_names

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
        allowed = commercial(data("workflows", "show", hyphenate(cls.name))["commercial_use"])
        lines.append(f"| `{hyphenate(cls.name)}` | `{cls.__name__}` | {cell(first_sentence(cls))} | {own} | {allowed} |")
    return "\n".join(lines)


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
