"""Answer a shell that asks what may come next: names, ids of jobs and LoRAs. Uses no network and loads no workflow class.

The scripts that shells read are Typer's (``ryla-gen --install-completion``), and so is the answer where options are asked for.
Names are answered here, because a key press must not wait: Typer has to load the command line and the workflows' classes first,
which takes 4 to 6 times the processor time (0.8 to 1.1 s against 0.2 s on a busy machine).

What is shown beside a name may come from a request (a prompt), and zsh runs what it is given: only harmless characters are let
through.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from ryla_gen.support.state_files import read_state, write_state

from . import COMPLETE

MOST = 50
"""Jobs offered: more would not be looked through."""
HELP = 60
"""Characters shown beside a name."""
CACHE = "lora-ids.json"
"""In the home folder: the LoRAs of each place as they were listed last, for places that a key press must not ask."""
SAFE_VALUE = re.compile(r"[\w][\w.-]*")
UNSAFE = re.compile(r"[^\w .,!?+=%@/…·-]+")
"""What has a meaning in some shell. ``-`` and letters of every language have none."""

FLAGS = frozenset(
    ("--json", "--quiet", "-q", "--yes", "-y", "--all-options", "--overwrite", "--deployed", "--generate", "--tools", "--workflows")
)
"""Options without a value, after which an argument may follow."""
JOBS = ("show", "watch", "result", "cancel", "logs")
ARGUMENTS: dict[tuple[str, ...], str] = {
    (): "noun",
    **{(noun,): "workflow" for noun in ("run", "submit", "estimate")},
    ("doctor",): "workflow*",
    **{("workflows", verb): "workflow" for verb in ("show", "schema")},
    **{("weights", verb): "workflow*" for verb in ("list", "sync", "verify")},
    **{("jobs", verb): "job" for verb in JOBS},
    **{("lora", verb): "lora" for verb in ("show", "pull", "remove")},
    ("lora", "verify"): "lora*",
    **{("config", verb): "setting" for verb in ("set", "unset")},
    ("config", "set", "backend"): "backend",
    **{("deploy", verb): "family" for verb in ("warm", "cool")},
}
"""Words of a command → what its argument names; a star where several may follow."""
OPTIONS = {"--backend": "backend", "--lora-id": "lora", "--lora": "lora", "--workflow": "workflow"}
"""Option → what its value names."""


class Completion(NamedTuple):
    """One thing that may come next."""

    value: str
    help: str = ""


def complete(env: Mapping[str, str]) -> int:
    """Write what may come next, in the shell's own form; return the exit code. Nothing but that is ever said."""
    shell = env[COMPLETE].removeprefix("complete_")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stderr = nowhere  # an error message would be typed into the line that is being edited
        found: list[Completion] | None = None
        if shell in SHELLS:
            with suppress(Exception):  # whatever is wrong, a key press must not show it
                found = items(*words(shell, env))
        if found is None:
            return _options()
    text = SHELLS[shell](found)
    if shell == "fish" and env.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return int(not found)
    sys.stdout.write(text)
    return 0


def _options() -> int:
    """Complete options with typer, which knows each command's options and their choices."""
    from .app import run

    return run([])


def words(shell: str, env: Mapping[str, str]) -> tuple[list[str], str]:
    """Split a command line into the complete words after the command's name, and the one that is being typed."""
    if shell == "bash":
        found, at = env["COMP_WORDS"].split("\n"), int(env["COMP_CWORD"])
        return found[1:at], found[at] if at < len(found) else ""
    line = env.get("_TYPER_COMPLETE_ARGS", "")
    try:
        found = shlex.split(line)[1:]
    except ValueError:  # a quote that is still open: a prompt is being typed
        found = [*line.split()[1:], "-"]
    if found and not line.endswith(" "):
        return found[:-1], found[-1]
    return found, ""


def items(before: Sequence[str], start: str) -> list[Completion] | None:
    """List everything that may stand where ``start`` begins; None where only the command's options are known.

    Args:
        before: the words before it.
        start: the beginning of the word.

    """
    kind = _kind(list(before)) if not start.startswith("-") else None
    if kind is None:
        return None
    given = before[before.index("--backend") + 1] if "--backend" in before[:-1] else None
    return [item for item in _all(kind, given) if item.value.startswith(start) and SAFE_VALUE.fullmatch(item.value)]


def _kind(before: list[str]) -> str | None:
    if before and before[-1] in OPTIONS:
        return OPTIONS[before[-1]]
    if before and before[-1].startswith("-") and before[-1] not in FLAGS:
        return None
    values = {at + 1 for at, word in enumerate(before) if word in OPTIONS}
    plain = tuple(word for at, word in enumerate(before) if at not in values and not word.startswith("-"))
    if plain in ARGUMENTS:
        return ARGUMENTS[plain].rstrip("*")
    # Behind the first of several: the longest beginning that takes them.
    starred = next((kind for end in (1, 2) if (kind := ARGUMENTS.get(plain[:end], "")).endswith("*")), None)
    return starred.rstrip("*") if starred else None


def _all(kind: str, backend: str | None) -> Iterator[Completion]:
    if kind == "noun":
        from .app import COMMANDS

        yield from (Completion(name, line) for name, (_, line) in COMMANDS.items())
    elif kind == "workflow":
        from ryla_gen.workflows.registry import workflow_names

        yield from (Completion(name.replace("_", "-")) for name in workflow_names())
    elif kind == "job":
        yield from _jobs()
    elif kind == "lora":
        yield from _loras(backend)
    elif kind == "family":
        from ryla_gen.names import CLASS_OF_FAMILY

        yield from map(Completion, CLASS_OF_FAMILY)
    else:
        from ryla_gen.settings.base import BACKENDS, KEYS

        yield from map(Completion, BACKENDS if kind == "backend" else KEYS)


def _jobs() -> Iterator[Completion]:
    from ryla_gen.history import History
    from ryla_gen.settings import Settings

    path = Settings.load().history_path
    if not path.exists():
        return
    with closing(History(path)) as history:
        for job in history.list(limit=MOST):
            prompt = str(job.inputs.get("prompt") or "")
            yield Completion(job.id[:8], f"{job.workflow.replace('_', '-')} {job.state} {prompt}".strip())


def _loras(backend: str | None) -> Iterator[Completion]:
    """Yield the LoRAs in the backend's folder, or those of the last listing."""
    from ryla_gen.settings import Settings

    settings = Settings.load()
    name = (backend or settings.backend_names[0]).partition(",")[0]
    folder = settings.home / "emulator" / "models" / "loras" if name == "emulator" else settings.comfyui_lora_folder
    found = set(_read_remembered(settings.home).get(name, ()))
    if name in ("emulator", "comfyui") and folder is not None and folder.is_dir():
        found = {path.stem for path in folder.glob("*.safetensors")} | {path.parent.name for path in folder.glob("*/lora.json")}
    yield from map(Completion, sorted(found))


def _read_remembered(home: Path) -> dict[str, list[str]]:
    held = read_state(home / CACHE)
    return {str(name): [str(one) for one in ids] for name, ids in held.items()} if isinstance(held, dict) else {}


def remember_loras(home: Path, backend: str, ids: Sequence[str]) -> None:
    """Keep which LoRAs a backend has, for the next key press. Where that cannot be written, nothing is lost."""
    held = _read_remembered(home) | {backend: sorted(ids)}
    with suppress(OSError):
        write_state(home / CACHE, held)


def _bash(found: Sequence[Completion]) -> str:
    return "\n".join(item.value for item in found)


def _fish(found: Sequence[Completion]) -> str:
    return "\n".join(f"{item.value}\t{_harmless(item.help)}".rstrip() for item in found)


def _zsh(found: Sequence[Completion]) -> str:
    """Write a line that zsh runs: the list in its order (-V), or nothing."""
    pairs = " ".join(f"'{item.value}:{_harmless(item.help)}'".replace(":'", "'") for item in found)
    return f"local -a ryla_gen_items; ryla_gen_items=({pairs}); _describe -V ryla-gen ryla_gen_items" if found else "true"


def _harmless(text: str) -> str:
    return " ".join(UNSAFE.sub(" ", text).split())[:HELP]


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""Shell → how it wants the list."""
