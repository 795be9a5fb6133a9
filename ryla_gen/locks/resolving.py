"""Run uv: resolve all requirements together, and check that a lock is closed. Installs nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import BackendNotConfiguredError, BackendUnreachableError, InvalidInputError, RylaGenError
from .base import Requirements, hashes, pins
from .contradictions import explain_contradiction
from .lists import packages, requirement_list

UV_SECONDS = 1800
"""How long uv may take: packages without wheels are unpacked, and some built, to learn what they need."""
NETWORK = ("error sending request", "failed to fetch", "dns error", "connection refused", "timed out")
"""What uv says when the index does not answer."""


def resolve(requirements: Requirements, folders: Mapping[str, Path] | None = None) -> str:
    """Resolve everything together and return the lock's text.

    Args:
        requirements: what it is made from.
        folders: by the name of a repository, a clone to read from in place of its address.

    Raises:
        InvalidInputError: the requirements contradict each other, with uv's explanation, or one of them cannot be read.
        BackendUnreachableError: a repository or the package index does not answer.
        BackendNotConfiguredError: uv or git is not installed.
    """
    uv, folders = _uv(), folders or {}
    replaced = dict(requirements.replaced)
    with tempfile.TemporaryDirectory(prefix="ryla-gen-lock-") as name:
        place = Path(name)
        files = [_write(place / "ours.txt", "\n".join(requirements.own))]
        lists = {"this package": "\n".join(requirements.own)}
        for item in requirements.repositories:
            text = packages(requirement_list(item, folders.get(item.name)), item, replaced)
            lists[item.name] = text
            files.append(_write(place / f"{re.sub(r'[^A-Za-z0-9._-]', '_', item.name)}.txt", text))
        words = ["pip", "compile", "--generate-hashes", "--no-header", "--exclude-newer", requirements.until]
        if requirements.constraints:
            words += ["-c", _write(place / "constraints.txt", "\n".join(requirements.constraints))]
        return requirements.header() + _run([uv, *words, *_target(requirements), *files], place, lists, requirements.until)


def check_closed(lock: str, requirements: Requirements) -> None:
    """Check that a lock names everything its packages need, at versions that fit together, with hashes the index knows.

    Raises:
        InvalidInputError: it does not, with uv's explanation.
        BackendUnreachableError: the package index does not answer.
        BackendNotConfiguredError: uv is not installed.
    """
    uv = _uv()
    with tempfile.TemporaryDirectory(prefix="ryla-gen-lock-") as name:
        place = Path(name)
        words = ["pip", "install", "--dry-run", "--require-hashes", "--target", "nothing", "-r", _write(place / "lock.txt", lock)]
        _run([uv, *words, *_target(requirements)], place)
        # A dry run fetches nothing, so no file's hash is compared; compare the index's hashes of these versions instead.
        plain = _write(place / "plain.txt", "\n".join(f"{name}=={version}" for name, version in pins(lock).items()))
        words = ["pip", "compile", "--no-header", "--generate-hashes", plain]
        known, held = hashes(_run([uv, *words, *_target(requirements)], place)), hashes(lock)
    wrong = sorted(name for name in held if not held[name] or not held[name] <= known.get(name, frozenset()))
    if wrong:
        raise InvalidInputError(f"The package index has other hashes for {', '.join(wrong)}.", "Resolve the requirements again.")


def _target(requirements: Requirements) -> list[str]:
    # Settings of the person who runs this must not change what an image contains.
    return ["--no-config", "--python-version", requirements.python, "--python-platform", requirements.platform]


def _write(path: Path, text: str) -> str:
    path.write_text(text + "\n", encoding="utf-8")
    return path.name


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise BackendNotConfiguredError("Resolving requirements needs uv, which is not installed.", "Install it: pip install uv")
    return found


def _run(command: Sequence[str], folder: Path, lists: Mapping[str, str] | None = None, until: str = "") -> str:
    try:
        done = subprocess.run(  # noqa: S603 - uv, with arguments of ours
            command, cwd=folder, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False, timeout=UV_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise BackendUnreachableError(f"uv took more than {UV_SECONDS} s.", "Check the network, then try again.") from error
    if done.returncode:
        raise _failure(done.stderr.strip(), lists or {}, until)
    return done.stdout


def _failure(words: str, lists: Mapping[str, str], until: str) -> RylaGenError:
    if any(sign in words.lower() for sign in NETWORK):
        return BackendUnreachableError(f"The package index does not answer:\n{words}", "Check the network, then try again.")
    if "no solution found" in words.lower():
        return explain_contradiction(words, lists, until)
    return InvalidInputError(f"uv could not resolve the requirements:\n{words}", "Change the requirement that it names.")
