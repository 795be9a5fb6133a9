"""The parts of Python sources that name every workflow: the package's exports, the client's methods, the Modal app's methods.

They are written out, not made at import, so that editors complete them and type checkers see them.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import BUILT_IN, built_in_classes

from .regions import with_parts

PACKAGE, METHODS, APP = "ryla_gen/__init__.py", "ryla_gen/client/methods.py", "ryla_gen/remote/app.py"


def python_sources(root: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of every source with generated parts."""
    for name, parts in ((PACKAGE, _exports()), (METHODS, _methods()), (APP, _modal_classes())):
        yield name, _format(with_parts((root / name).read_text(encoding="utf-8"), parts), name)


def first_sentence(cls: type[Workflow]) -> str:
    """Return what a workflow makes, in the first sentence of its docstring."""
    return " ".join((inspect.getdoc(cls) or "").split()).partition(". ")[0].rstrip(".")


def modules() -> dict[str, list[str]]:
    """Return module of the workflows' folder → classes of the built-in workflows in it."""
    found: dict[str, list[str]] = {}
    for place in BUILT_IN.values():
        module, _, name = place.partition(":")
        found.setdefault(module, []).append(name)
    return {module: sorted(names) for module, names in sorted(found.items())}


def _exports() -> Mapping[str, str]:
    import ryla_gen

    places: dict[str, set[str]] = {module: set(names) for module, names in ryla_gen._PLACES.items()}
    for module, names in modules().items():
        places.setdefault(f"workflows.{module}", set()).update(names)
    imports = [f"    from .{module} import {', '.join(sorted(names))}" for module, names in places.items()]
    every = sorted({"__version__", "errors", *(name for names in places.values() for name in names)})
    rows = [f'    "workflows.{module}": {tuple(names)!r},' for module, names in modules().items()]
    return {
        "imports": "\n".join(["    from . import errors", *imports]),
        "workflows": "\n".join(["_WORKFLOWS = {", *rows, "}"]),
        "names": "\n".join(["__all__ = [", *(f'    "{name}",' for name in every), "]"]),
    }


def _methods() -> Mapping[str, str]:
    imports = [f"from ..workflows.{module} import {', '.join(names)}" for module, names in modules().items()]
    lines = [f"    {cls.name} = method({cls.__name__})" for cls in built_in_classes()]
    return {"imports": "\n".join(["from ..workflows.base import Workflow", *imports]), "methods": "\n".join(lines)}


def _modal_classes() -> Mapping[str, str]:
    return {family: "\n".join(_of_family(family)) for family in CLASS_OF_FAMILY}


def _of_family(family: str) -> Iterator[str]:
    for cls in built_in_classes():
        if cls.family == family:
            yield f"""
    @modal.method()
    async def {cls.name}(self, request: dict[str, Any]) -> dict[str, Any]:
        \"\"\"{first_sentence(cls)}.\"\"\"
        return await self.worker.run("{cls.name}", request)
"""


def _format(text: str, name: str) -> str:
    """As the linter orders imports and breaks lines, so that it has nothing to say."""
    for command in (["check", "--select", "I,RUF022", "--fix", "--quiet"], ["format", "--quiet"]):
        call = [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"]
        done = subprocess.run(call, input=text, capture_output=True, text=True, encoding="utf-8", check=True)  # noqa: S603
        text = done.stdout
    return text
