"""Take the Python packages of locks by their hashes, where they were locked for this machine. Runs nothing."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...locks import PythonLock, pins, sha256_of
from ...locks.base import entries
from ...locks.families import FOLDER
from ...locks.graph_lock import DIGEST_LENGTH
from ...locks.lock_reading import check_requirements, read_requirements
from ...remote.pins import BUILD, INSTALLERS, LAST
from ...workflows.base import Workflow
from ...workflows.locked import LockedWorkflow
from .command_runner import Step
from .folder import Folder

HERE = "here pip chooses the versions, and compares no hashes."
BY_HASH = ("--require-hashes", "--no-build-isolation")
"""As in the images: what has no wheel is built by other packages of the lock."""


@dataclass(frozen=True, slots=True)
class LockedPackages:
    """What locks say of the Python packages."""

    text: str = ""
    """Every package with its hashes; empty where pip resolves them on this machine."""
    reason: str = ""
    """Why it does, although there is a lock."""

    def files(self, folder: Folder) -> Mapping[Path, str]:
        """Return the lists that pip reads, and their texts: what builds others, everything, what must be installed last."""
        tools = [item.partition("==")[0] for item in (*INSTALLERS, *BUILD)]
        found = entries(self.text)
        last = [other for name, other in LAST.items() if {name, other} <= set(found)]
        chosen = {"tools": [name for name in tools if name in found], "packages": list(found), "last": last}
        mark = sha256_of(self.text)[:DIGEST_LENGTH]  # another list is another command, and is not taken for done
        return {folder.state / f"{part}-{mark}.txt": "".join(found[name] for name in names) for part, names in chosen.items()}

    def steps(self, folder: Folder, pip: Sequence[str], title: str) -> Iterator[Step]:
        """Yield the steps that install every package by its hash, in the order of the images.

        Args:
            folder: where.
            pip: the beginning of the commands.
            title: what the main step is called.
        """
        files = self.files(folder)
        tools, packages, last = files
        if files[tools]:
            yield Step(f"build tools for the {title}", (*pip, *BY_HASH, "-r", str(tools)), produces=folder.python)
        yield Step(title, (*pip, *BY_HASH, "-r", str(packages)), produces=folder.python)
        if files[last]:
            again = (*pip, *BY_HASH, "--no-deps", "--force-reinstall", "-r", str(last))
            yield Step(f"last of the {title}", again, produces=folder.python)


def locked_packages(classes: Sequence[type[Workflow]]) -> LockedPackages:
    """Put the packages of these workflows together; without a lock among them there is nothing to say.

    Raises:
        HashMismatchError, InvalidInputError, StorageFailedError: a lock's file of packages is not the one that it names.

    """
    if not any(issubclass(cls, LockedWorkflow) for cls in classes):
        return LockedPackages()
    found: dict[str, tuple[str, str, str]] = {}
    for cls in classes:
        python, name = cls.image_lock().python, label_of(cls)
        if not _is_for_this_machine(python):
            machine = f"Python {python.version} on {python.platform[:40]!r}"
            return LockedPackages(reason=f"The packages of {name} were locked for {machine}; {HERE}")
        text = _text_of(cls)
        versions = pins(text)
        for package, entry in entries(text).items():
            other, version, _ = found.setdefault(package, (name, versions[package], entry))
            if version != versions[package]:
                two = f"{other} was locked with {package} {version}, and {name} with {versions[package]}"
                return LockedPackages(reason=f"{two}; {HERE}")
    return LockedPackages("".join(entry for _, _, entry in found.values()))


def label_of(cls: type[Workflow]) -> str:
    """Return what messages call a workflow: the file of its lock, or its name."""
    return cls.lock_file() or cls.name


def _text_of(cls: type[Workflow]) -> str:
    if not issubclass(cls, LockedWorkflow):
        return (FOLDER / cls.image_lock().python.file).read_text(encoding="utf-8")
    text = read_requirements(cls.packages_file(), cls.lock)
    check_requirements(text, cls.lock)
    return text


def _is_for_this_machine(python: PythonLock) -> bool:
    here = sys.platform == "linux" and platform.machine() == "x86_64" and python.platform.startswith("x86_64-manylinux")
    return here and python.version.split(".")[:2] == [str(part) for part in sys.version_info[:2]]
