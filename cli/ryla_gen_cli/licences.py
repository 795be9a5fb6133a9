"""Describe what the licences of weights allow when they are listed, shown or downloaded. Must not decide: the tables do."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ryla_gen.models.licences import Term, conditions, terms, together
from ryla_gen.models.weights_table import Weights
from ryla_gen.remote.variants import default_of
from ryla_gen.support.state_files import read_state, write_state
from ryla_gen.workflows.registry import prepared_names, workflow_class

from .screen import Screen

TOLD = "licences-told.json"
"""In the home folder: licences that were said once."""
READ = "Read a licence before you rely on it; a LoRA has a licence of its own."

Licences = Annotated[bool, typer.Option("--licences", help="Show what the licences allow, even if it was shown before.")]


def restricting(rows: Iterable[Weights]) -> list[Term]:
    """List the licences that do not allow commercial use, or may not, or only on a condition."""
    return [term for term in terms(rows) if not term.commercial_use or term.condition]


def free_workflows() -> str:
    """Name the built-in workflows whose default weights all may be used commercially, as they are typed: free ones first."""
    needed = {name.replace("_", "-"): default_of(workflow_class(name)).required_weights() for name in prepared_names()}
    allowed = {name: bool(conditions(rows)) for name, rows in needed.items() if together(rows)}
    free, bound = ([name for name, has_condition in allowed.items() if has_condition is wanted] for wanted in (False, True))
    return "; on conditions: ".join(", ".join(names) for names in (free, bound) if names)


def summary(rows: Iterable[Weights]) -> str:
    """Summarise what to know before making money with these files; empty when everything is allowed."""
    found = restricting(rows)
    lines = [term.text for term in found if term.commercial_use is not None]
    unknown = [file for term in found if term.commercial_use is None for file in term.files]
    lines += [f"Licence not verified at its maker's, so it is unknown: {', '.join(unknown)}."] if unknown else []
    if not lines:
        return ""
    return "\n".join([*lines, f"Free for commercial use with their defaults: {free_workflows()}. {READ}"])


def plain(rows: Iterable[Weights]) -> list[dict[str, Any]]:
    """List each licence for ``--json``."""
    return [{**asdict(term), "files": list(term.files)} for term in terms(rows)]


def notice(screen: Screen, rows: Iterable[Weights], home: Path, *, again: bool) -> None:
    """Print once what the licences forbid or ask for, and remember that it was printed.

    Args:
        screen: where; nothing is remembered that a quiet one did not say.
        rows: the files that are about to be downloaded.
        home: the folder that remembers.
        again: whether to say it although it was said.

    """
    rows = list(rows)
    names = {term.licence for term in restricting(rows)}
    told = _read_told(home)
    if screen.quiet or (names <= told and not again):
        return
    for line in summary(rows).splitlines():
        screen.note(f"licence: {line}")
    _remember(home, told | names)


def _read_told(home: Path) -> set[str]:
    held = read_state(home / TOLD)
    return {str(name) for name in held} if isinstance(held, list) else set()


def _remember(home: Path, names: set[str]) -> None:
    with suppress(OSError):  # if that fails, the notice is shown again the next time
        write_state(home / TOLD, sorted(names))
