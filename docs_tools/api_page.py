"""The API reference: every public name with its line, readable as it is, and unfolded by mkdocstrings on the site."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

from ryla_gen.workflows.registry import BUILT_IN

from .workflow_pages import MARK

ROOT = Path(__file__).resolve().parent.parent

GROUPS: dict[str, tuple[str, ...]] = {
    "Clients": ("Client", "AsyncClient"),
    "Jobs": ("Job", "AsyncJob"),
    "Results": ("Generation", "Output", "Timings", "Cost", "load"),
    "Events": ("Event", "Queued", "Started", "Progress", "Preview", "Finished"),
    "Workflows": ("Workflow", *(place.partition(":")[2] for place in BUILT_IN.values()), "Lora"),
    "Settings": ("Settings",),
    "Errors": ("RylaGenError",),
}
"""What ``import ryla_gen`` offers; the rest of ``__all__`` goes under "More"."""
NO_PAGE = ("__version__", "errors")
MODULES: dict[str, str] = {
    "ryla_gen.characters": "Base images, face swaps and character sheets",
    "ryla_gen.graphs": "Graphs of your own: convert, draw",
    "ryla_gen.faces": "Measures how similar two faces are",
    "ryla_gen.costs.work": "What an estimate says",
    "ryla_gen.errors": "The whole tree of errors",
    "ryla_gen.emulator.server": "The emulator inside a process",
}

HEAD = f"""{MARK}
# API reference

Everything below is imported from `ryla_gen` itself unless it says otherwise; importing the package loads nothing until it is used.
On a code host this page lists the names; the built site unfolds each one.

"""


def api_page() -> str:
    """Return the page."""
    import ryla_gen

    known = {name for names in GROUPS.values() for name in names}
    more = tuple(name for name in ryla_gen.__all__ if name not in known and name not in NO_PAGE)
    parts = [_group(title, names) for title, names in {**GROUPS, **({"More": more} if more else {})}.items()]
    lines = [f"| `{name}` | {_line(import_module(name))} |" for name in MODULES]
    parts.append("## Modules\n\n| module | what it is for |\n|---|---|\n" + "\n".join(lines))
    parts += [f"### {title}\n\n::: {name}\n    options:\n      heading_level: 4" for name, title in MODULES.items()]
    return HEAD + "\n\n".join(parts) + "\n"


def _group(title: str, names: tuple[str, ...]) -> str:
    import ryla_gen

    found = {name: getattr(ryla_gen, name) for name in names}
    rows = [f"| `{name}` | {_line(value)} | {_source(value)} |" for name, value in found.items()]
    body = "\n\n".join(f"::: {value.__module__}.{name}" for name, value in found.items() if hasattr(value, "__qualname__"))
    return f"## {title}\n\n| name | what it is | source |\n|---|---|---|\n" + "\n".join(rows) + f"\n\n{body}"


def _line(value: Any) -> str:
    text = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")
    return text.replace("``", "`").replace("|", "\\|")


def _source(value: Any) -> str:
    path = Path(inspect.getfile(value)).resolve().relative_to(ROOT)
    return f"[`{path.as_posix()}`](../{path.as_posix()})"
