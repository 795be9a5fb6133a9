"""Packages with hooks on outputs, installed as pip installs packages: a module, and the files that make it known."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ryla_gen.engine.output_hooks import installed_hooks

RULE = '''
from ryla_gen.errors import RefusedError

def check(output, workflow):
    """Refuse what was asked for with a word of the list."""
    if "forbidden" in workflow.prompt:
        raise RefusedError("It shows what it may not show.", details={"score": 0.9})
'''
"""A hook that refuses by the prompt."""


def install(site: Path, name: str, source: str, hook: str | None = None, requires: Sequence[str] = ()) -> Path:
    """Install a package with one hook into a folder of packages; return its module."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    module = site / f"{name}.py"
    module.write_text(source, encoding="utf-8")
    wanted = "".join(f"Requires-Dist: {text}\n" for text in requires)
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{wanted}",
        "entry_points.txt": f"[ryla_gen.on_output]\n{hook or name} = {name}:check\n",
    }
    for file, text in files.items():
        (info / file).write_text(text, encoding="utf-8")
    record = [module.name, *(f"{info.name}/{file}" for file in (*files, "RECORD"))]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in record), encoding="utf-8")
    return module


@contextmanager
def known_here(site: Path | None, *modules: str) -> Iterator[None]:
    """Let this process know the packages of a folder, as if it had been started with them.

    Args:
        site: the folder; None where it is known already.
        modules: what has changed since it was loaded.
    """
    with pytest.MonkeyPatch.context() as patch:
        if site is not None:
            patch.syspath_prepend(site)
        for module in modules:
            patch.delitem(sys.modules, module)
        importlib.invalidate_caches()
        installed_hooks.cache_clear()
        yield
    installed_hooks.cache_clear()
