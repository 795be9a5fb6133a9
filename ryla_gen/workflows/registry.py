"""Find workflows by name: built-in ones, those of installed plug-ins, locked graphs. Loads a class only when it is asked for."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING

from ..errors import InternalError, InvalidInputError
from ..support.shell_words import path_word

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import Workflow

BUILT_IN = {
    "z_image": "z_image:ZImage",
    "qwen_image": "qwen:QwenImage",
    "qwen_image_edit": "qwen:QwenImageEdit",
    "flux": "flux:Flux",
    "flux_dev": "flux:FluxDev",
    "flux_lora": "flux:FluxLora",
    "flux_kontext": "flux_edits:FluxKontext",
    "flux_fill": "flux_edits:FluxFill",
    "flux2_klein": "flux2:Flux2Klein",
    "sdxl": "sdxl:SDXL",
    "instantid": "faces:InstantID",
    "flux_instantid": "faces:FluxInstantID",
    "flux_pulid": "faces:FluxPulid",
    "wan22": "wan22:Wan22",
    "wan2": "wan2:Wan2",
    "seedvr2": "seedvr2:SeedVR2",
    "workflow": "custom:CustomWorkflow",
}
"""Name of each built-in workflow → module and class."""

LOCK_SUFFIX = ".lock"
"""What the name of a lock's file ends with: a name with it is always a path."""
LOCKS_VARIABLE = "RYLA_LOCKS"
"""Folder with the locks that are known by name. Inside a container it is set; elsewhere they are in the home folder."""

PLUGIN_GROUP = "ryla_gen.workflows"
"""Entry-point group under which other packages offer workflows."""


MOST_OTHERS = 3
"""Most workflows that an error names which have a field."""


def workflow_names() -> tuple[str, ...]:
    """Return every workflow's name: built-in ones, plug-ins, locked graphs."""
    plugins = [name for name in _plugins() if name not in BUILT_IN]
    return (*BUILT_IN, *plugins, *(name for name in _lock_files() if name not in BUILT_IN and name not in plugins))


def workflow_class(name: str) -> type[Workflow]:
    """Return a workflow's class by its name, or by the path of a lock; ``flux-dev`` and ``flux_dev`` are the same.

    Raises:
        InvalidInputError: no workflow has that name, or the file is no lock.
        HashMismatchError, StorageFailedError: the lock cannot be used.

    """
    return _locked(str(Path(name).expanduser())) if name.endswith(LOCK_SUFFIX) else named_class(name)


def named_class(name: str) -> type[Workflow]:
    """Return a workflow's class by its name alone: what others write into pictures and requests is never a path.

    Raises:
        InvalidInputError: no workflow has that name.
        HashMismatchError, StorageFailedError: its lock cannot be used.

    """
    key = name.replace("-", "_").lower()
    if key in BUILT_IN:
        module, _, attribute = BUILT_IN[key].partition(":")
        found: type[Workflow] = getattr(import_module(f"{__package__}.{module}"), attribute)
        return found
    plugin = _plugins().get(key)
    if plugin is None and key in (locks := _lock_files()):
        return _kept(locks[key], key)
    if plugin is None:
        from difflib import get_close_matches

        close = get_close_matches(key, workflow_names(), n=1)
        meant = f"Did you mean {close[0].replace('_', '-')}? " if close else ""
        if key.endswith((".json", ".png")):
            meant = f"A file with a graph runs with: ryla-gen graph run {path_word(name)}. "
        raise InvalidInputError(f"There is no workflow {name!r}.", f"{meant}See them all: ryla-gen workflows list")
    from .base import Workflow  # pydantic, which naming workflows (shell completion) does not need

    loaded = _load(plugin)
    if not (isinstance(loaded, type) and issubclass(loaded, Workflow)):
        raise InvalidInputError(
            f"The plug-in {plugin.value} offers {name!r}, which is not a Workflow class.", "Update or remove the plug-in."
        )
    return loaded


def built_in_classes() -> tuple[type[Workflow], ...]:
    """Load every built-in workflow's class."""
    return tuple(workflow_class(name) for name in BUILT_IN)


def prepared_names() -> tuple[str, ...]:
    """Return the built-in workflows that bring their graph, so that nodes and weights are known before a request is there."""
    return tuple(cls.name for cls in built_in_classes() if not cls.own_graph)


def with_field(field: str, cls: type[Workflow]) -> tuple[str, ...]:
    """Name up to three other built-in workflows that make the same and have a field that a class has not, the nearest first.

    The nearest are those that need nothing which the class does not need, and of these its own family. There the field for several
    counts in the place of that for one (``images`` for ``image``), or the other way round, and is named.
    """
    from .fields import spellings  # with pydantic, as below

    found: list[tuple[bool, bool, str]] = []
    for other in built_in_classes():
        near = other.family == cls.family
        has = next((name for name in spellings(field)[: 1 + near] if name in other.model_fields), None)
        if has is None or other.own_graph or other.output_kind != cls.output_kind or other.name == cls.name:
            continue
        shown = other.name if has == field else f"{other.name} ({has})"
        found.append((not _needed(other) - {has} <= _needed(cls), not near, shown))
    return tuple(name for _, _, name in sorted(found, key=lambda item: item[:2])[:MOST_OTHERS])


def _needed(cls: type[Workflow]) -> set[str]:
    return {name for name, info in cls.model_fields.items() if info.is_required()}


def plugin_behind(error: BaseException) -> str | None:
    """Name the package of workflows that an exception passed through; None when it was none."""
    packages = {point.module.partition(".")[0] for name, point in _plugins().items() if name not in BUILT_IN}
    names = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in walk_tb(error.__traceback__)]
    return next((name for name in reversed(names) if name in packages), None)


def locks_folder() -> Path:
    """Return the folder with the locks that are known by name."""
    from ..settings import home_folder

    given = os.environ.get(LOCKS_VARIABLE)
    return Path(given) if given else home_folder() / "locks"


def graph_names() -> tuple[str, ...]:
    """Return the names of the locked graphs, as they are in Python."""
    return tuple(name for name in _lock_files() if name not in BUILT_IN)


def check_graph_name(name: str) -> None:
    """Refuse the name of a locked graph, as it is in Python, that a built-in workflow has.

    Raises:
        InvalidInputError: one has it.

    """
    if name in BUILT_IN:
        text = f"{name.replace('_', '-')}.lock has the name of the workflow {name}."
        raise InvalidInputError(text, "Make it again with another: --name NAME")


def _lock_files() -> dict[str, Path]:
    """Return the locks that are known by name: Python's name → file."""
    try:
        files = sorted(locks_folder().glob(f"[a-z]*{LOCK_SUFFIX}"))
    except (OSError, InvalidInputError):  # a machine without a home folder has none
        return {}
    return {file.name.removesuffix(LOCK_SUFFIX).replace("-", "_"): file for file in files}


def _kept(path: Path, key: str) -> type[Workflow]:
    found = _locked(str(path))
    if found.name != key:
        hint = f"A lock is kept under its own name: {found.name.replace('_', '-')}{LOCK_SUFFIX}"
        raise InvalidInputError(f"{path} is the lock of another graph.", hint)
    return found


def _locked(path: str) -> type[Workflow]:
    """Return the class of a lock's file: the same one as long as the file is: requests of two classes are unequal."""
    try:
        mark = Path(path).stat()
    except OSError as error:
        hint = "Make one: ryla-gen graph lock GRAPH.json"
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.", hint) from None
    return _read_locked(path, (mark.st_mtime_ns, mark.st_size, mark.st_ino))


@cache
def _read_locked(path: str, mark: tuple[int, ...]) -> type[Workflow]:
    from .locked import read_workflow

    found = read_workflow(Path(path), kept=Path(path).parent == locks_folder())
    check_graph_name(found.name)
    return found


@cache
def _plugins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # 49 ms, so only when it is needed

    return {point.name: point for point in entry_points(group=PLUGIN_GROUP)}


def _load(plugin: EntryPoint) -> object:
    try:
        return plugin.load()
    except Exception as error:  # whatever another package does while it is imported; shown whole with RYLA_GEN_DEBUG=1
        text = f"{type(error).__name__}: {error} (while loading {plugin.value}, a plug-in)"
        raise InternalError(text, "Fix or uninstall the package that offers it; RYLA_GEN_DEBUG=1 shows where it failed.") from error
