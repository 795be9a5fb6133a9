"""Import modules by the paths that they had in 0.1, with a deprecation warning. The table goes with 0.3.

Loads nothing by itself: a module is imported when an old path is asked for.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

ALIASES = {
    "budget": "costs.budget",
    "deploying": "remote.deploy",
    "downloads": "models.downloads",
    "durations": "costs.durations",
    "estimates": "costs.estimates",
    "evaluations": "tools.evaluations",
    "fallback": "client.fallback",
    "fleet": "remote.admin",
    "gallery": "tools.gallery",
    "grids": "results.grid",
    "hooks": "telemetry",
    "local": "tools.local",
    "loras": "models.loras",
    "methods": "client.methods",
    "outputs": "results.output_files",
    "portal": "support.loop_thread",
    "prices": "costs.prices",
    "running": "engine.progress",
    "safetensors": "models.safetensors",
    "workflows.graph": "graphs.graph",
    "workflows.graph_file": "graphs.graph_file",
    "workflows.licences": "models.licences",
    "workflows.schemas": "models.node_schemas",
    "workflows.slots": "graphs.inputs",
    "workflows.tables": "models.weights_table",
}
"""Old path → new path, both below the package. A package's modules follow it."""
GONE = "0.3.0"
"""Version in which the old paths stop working."""


class AliasFinder:
    """Finds a module by an old path: the very module that the new path names, never a second copy."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of an old path; None for every other name."""
        package, _, old = name.partition(".")
        if package != self._package:
            return None
        known = next((alias for alias in (old, old.rpartition(".")[0]) if alias in ALIASES), None)
        if known is None:
            return None
        new = f"{package}.{ALIASES[known]}{old.removeprefix(known)}"
        text = f"{name} is now {new}; the old path stops working in {package} {GONE}."
        warnings.warn(text, DeprecationWarning, stacklevel=2)  # the import system's own frames do not count
        return ModuleSpec(name, _AliasLoader(import_module(new)))  # type: ignore[arg-type]  # importlib.abc would cost 60 ms


class _AliasLoader:
    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that is there already."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the module's own name, which the import system has just replaced."""
        module.__spec__ = self._spec


def install(package: str) -> None:
    """Make the old paths of a package importable."""
    sys.meta_path.append(AliasFinder(package))
