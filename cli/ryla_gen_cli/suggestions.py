"""Find out what was meant by a word that is no command: a workflow, a file, a prompt, a verb of another command, a slip."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ryla_gen.errors import InvalidInputError
from ryla_gen.workflows.registry import BUILT_IN, LOCK_SUFFIX, with_field, workflow_class, workflow_names

FIRST_WORKFLOW = "z-image"
"""Where to begin, as in ``init`` and the README."""
SAVED = (".png", ".webp", ".jpg", ".jpeg", ".mp4")
"""Files that ``rerun`` reads."""
MOST_VERBS = 3
"""Commands named for one verb."""


def others_with(path: str, option: str) -> str:
    """Say which other workflows have an option that the workflow of a command lacks; empty where none has, or it has no workflow.

    Args:
        path: the command with its groups, such as ``ryla-gen run z-image``.
        option: as it was typed, such as ``--mask``.
    """
    verb, _, name = path.removeprefix("ryla-gen ").partition(" ")
    if verb not in ("run", "submit", "estimate") or name.replace("-", "_") not in BUILT_IN:
        return ""
    found = with_field(option.lstrip("-").replace("-", "_"), workflow_class(name))
    names = ", ".join(item.replace("_", "-") for item in found)
    return f"{names} {'has' if len(found) == 1 else 'have'} it. " if found else ""


def unknown_command(words: Sequence[str], groups: Mapping[str, Any]) -> InvalidInputError:
    """Return the error for a command line whose first word is no command, with the line that was probably meant.

    Args:
        words: the command line as it was typed.
        groups: every command; those with subcommands name them in ``commands``.
    """
    name, rest = words[0], words[1:]
    workflows = [found.replace("_", "-") for found in workflow_names()]
    if name.replace("_", "-").lower() in workflows or name.endswith(LOCK_SUFFIX):
        return InvalidInputError(f"{name!r} is a workflow, not a command.", f"Run it: {_line('run', name, *rest)}")
    if name.lower().endswith((".json", *SAVED)):
        verb = ("graph", "run") if name.lower().endswith(".json") else ("rerun",)
        return InvalidInputError(f"{name!r} is a file, not a command.", f"Run what is in it: {_line(*verb, name, *rest)}")
    if " " in name.strip():
        return without_workflow("run", words)
    text = f"No such command {name!r}."
    meant = [_line(*found, *rest) for found in _near(name, groups, workflows)][:MOST_VERBS]
    hint = f"Did you mean: {' or '.join(meant)}" if meant else "See them all: ryla-gen --help"
    return InvalidInputError(text, hint)


def without_workflow(verb: str, words: Sequence[str]) -> InvalidInputError:
    """Return the error for a prompt where a workflow belongs.

    Args:
        verb: the command that needs the workflow.
        words: the prompt and what follows it.
    """
    return InvalidInputError("A prompt needs a workflow before it.", f"For example: {_line(verb, FIRST_WORKFLOW, *words)}")


def _near(name: str, groups: Mapping[str, Any], workflows: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield what begins a command line that is spelled nearly so: a command, ``run`` and a workflow, subcommands of one name."""
    verbs = {verb for group in groups.values() for verb in getattr(group, "commands", ())}
    for close in get_close_matches(name.lower().replace("_", "-"), [*groups, *workflows, *verbs], n=1):
        if close in groups:
            yield (close,)
        elif close in workflows:
            yield ("run", close)
        else:
            yield from ((noun, close) for noun in _with_verb(close, groups))


def _with_verb(verb: str, groups: Mapping[str, Any]) -> Iterator[str]:
    for noun, group in groups.items():
        if verb in getattr(group, "commands", ()):
            yield noun


def _line(*words: str) -> str:
    return shlex.join(["ryla-gen", *words])
