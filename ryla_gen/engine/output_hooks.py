"""Let hooks pass, replace or refuse the outputs of a job before anybody has them. Whatever a hook does, silence passes nothing.

Hooks are plug-ins (entry-point group ``ryla_gen.on_output``), and a client's own ``on_output``. Saves and sends nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..comfy.messages import clean
from ..errors import HookFailedError, RefusedError
from ..media.origin import Mark
from ..names import HOOK_GROUP
from ..results import Generation, Output, file_texts
from ..results.output_files import as_output, text_output, with_texts
from ..results.provenance import mark_of, ran_emulated
from ..support.cancels import cancels
from ..workflows.base import Notice, Workflow

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OnOutput = Callable[[Output, Workflow], Output | Awaitable[Output | None] | None]
"""Asked about each output: None lets it pass, another output takes its place, ``RefusedError`` refuses it. Sync or async."""

CALLERS = "on_output"
"""What errors call the hook that a client was given."""
NOT_ASKED = "hook_not_asked"
"""Code of the warning that an installed hook is not in the deployed app."""
MOST_WORDS = 300
"""Characters of a hook's reason, or of its exception, that an error shows."""
_LITERAL = r"""\bb(?:'(?:[^'\\]|\\.)*(?:'|\\?$)|"(?:[^"\\]|\\.)*(?:"|\\?$))"""
_BYTES = re.compile(_LITERAL + r"|(?:\\x[0-9a-f]{2})+|[A-Za-z0-9+/=_-]{80,}", re.DOTALL)
"""Bytes as Python writes them, and what may be base64: an exception may hold the picture it is about."""


@dataclass(frozen=True, slots=True)
class OutputHook:
    """A hook and its name."""

    name: str
    """Of its entry point."""
    check: OnOutput


@cache
def installed_hooks() -> tuple[OutputHook, ...]:
    """Load the hooks of installed packages, in the order of their names. Takes time at its first call.

    Raises:
        HookFailedError: one cannot be loaded; without it nothing may run.

    """
    return tuple(OutputHook(point.name, _load(point)) for point in _entry_points())


def not_asked(asked: object) -> tuple[Notice, ...]:
    """Return a warning where hooks are installed here that nobody asked where the outputs were made. Loads none of them.

    Args:
        asked: the names of those that were asked, as ``Generation.server["on_output"]`` has them.
    """
    known = asked if isinstance(asked, list | tuple) else ()
    missed = [point.name for point in _entry_points() if point.name not in known]
    if not missed:
        return ()
    text = f"The outputs were not shown to {', '.join(missed)}: installed here, and not in the app. Deploy it again from here."
    return (Notice(NOT_ASKED, text),)


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import distributions, entry_points

    # Most environments have none, and looking for the word takes half the time of reading every package's entry points.
    if not any(HOOK_GROUP in (package.read_text("entry_points.txt") or "") for package in distributions()):
        return []
    # A list, not a dict by name: of two packages with the same name for their hooks, both are asked.
    return sorted(entry_points(group=HOOK_GROUP), key=lambda point: (point.name, point.value))


def _load(point: EntryPoint) -> OnOutput:
    try:
        check = point.load()
    except BaseException as error:  # whatever another package does while it is imported
        text = f"The hook {point.name} ({point.value}) cannot be loaded, so nothing was run: {_words(error)}"
        raise HookFailedError(text, "", {"hook": point.name}) from error
    if not callable(check):
        text = f"The hook {point.name} ({point.value}) is {type(check).__name__}, which cannot be called, so nothing was run."
        raise HookFailedError(text, "", {"hook": point.name})
    found: OnOutput = check
    return found


async def check_outputs(
    outputs: Sequence[Output],
    workflow: Workflow,
    hooks: Sequence[OutputHook],
    texts: Mapping[str, str],
    mark: Mark,
    tell: Callable[[int], None] = lambda index: None,
) -> tuple[Output, ...]:
    """Ask every hook about every output, one after the other, each hook about what the one before it left.

    Args:
        outputs: what a job made.
        workflow: the request.
        hooks: in their order.
        texts: what a file says of itself, for one that takes another's place.
        mark: what it says of its origin.
        tell: called with an output's place before it is checked.

    Raises:
        RefusedError: a hook refused one, so none of them may go on.
        HookFailedError: a hook raised anything else, or did not answer as it must.

    """
    passed = []
    for index, output in enumerate(outputs):
        for hook in hooks:
            tell(index)
            output = await _checked(hook, output, workflow, texts, mark)
        passed.append(output)
    return tuple(passed)


async def check_generation(generation: Generation, check: OnOutput) -> Generation:
    """Ask the hook that a client was given about a result.

    Raises:
        RefusedError: as :func:`check_outputs`; its details have what the result cost.

    """
    mark = mark_of(generation.graph, emulated=ran_emulated(generation))
    texts = file_texts(generation.workflow, generation.seed, generation.job, generation.graph)
    try:
        outputs = await check_outputs(generation.outputs, generation.workflow, [OutputHook(CALLERS, check)], texts, mark)
    except RefusedError as error:
        error.details |= {"gpu_seconds": generation.cost.gpu_seconds, "cost_usd": generation.cost.total_usd}
        raise
    return replace(generation, outputs=outputs)


async def _checked(hook: OutputHook, output: Output, workflow: Workflow, texts: Mapping[str, str], mark: Mark) -> Output:
    if output.url is not None:
        raise _failure(hook, output, f"cannot look at it: it was uploaded to {output.url}.")
    answer, error = await _ask(hook.check, output, workflow)
    if cancels():
        raise asyncio.CancelledError  # also where the hook caught it: the job was canceled, so its output is not wanted
    if isinstance(error, RefusedError) and not isinstance(error, HookFailedError):
        raise _refusal(hook, output, error)
    if error is not None:
        raise _failure(hook, output, f"failed: {_words(error)}{_place(error)}") from None  # a traceback would show all of its text
    if answer is None or answer is output:
        return output
    if not isinstance(answer, Output):
        raise _failure(hook, output, f"answered with {type(answer).__name__}, and neither with None nor with an Output.")
    return await asyncio.to_thread(_replaced, hook, output, answer, getattr(workflow, "output_format", "png"), texts, mark)


async def _ask(check: OnOutput, output: Output, workflow: Workflow) -> tuple[object, BaseException | None]:
    """Call a hook, in a thread unless it is async; return its answer, or what it raised, whatever that is."""
    try:
        if inspect.iscoroutinefunction(check) or inspect.iscoroutinefunction(getattr(check, "__call__", None)):  # noqa: B004 - asked how
            answer, error = check(output, workflow), None
        else:
            answer, error = await asyncio.to_thread(_call, check, output, workflow)
        return (await answer if inspect.isawaitable(answer) else answer), error
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they would end the event loop
        return None, error


def _call(check: OnOutput, output: Output, workflow: Workflow) -> tuple[Any, BaseException | None]:
    """Return what a hook raises: a StopIteration cannot leave a thread, and its caller would wait for ever."""
    try:
        return check(output, workflow), None
    except BaseException as error:
        return None, error


def _refusal(hook: OutputHook, output: Output, error: RefusedError) -> RefusedError:
    # Of the hook's details only what is short and plain, and apart: other keys of an error's details have meanings.
    said = {_short(key): _plain(value) for key, value in error.details.items() if isinstance(value, bool | int | float | str)}
    text = f"{output.name} was refused by {hook.name}: {_short(error.message) or 'it gave no reason.'}"
    hint = "" if error.hint == error.default_hint else _short(error.hint)
    return RefusedError(text, hint, {"output": output.name, "hook": hook.name} | ({"said": said} if said else {}))


def _plain(value: bool | float | str) -> bool | float | str:
    """Return a value of a plain class: NumPy's numbers are Python's by their base class, and yet cannot cross the contract."""
    if isinstance(value, bool):
        return value
    return _short(value) if isinstance(value, str) else (int(value) if isinstance(value, int) else float(value))


def _failure(hook: OutputHook, output: Output, what: str) -> HookFailedError:
    text = f"{output.name} was not passed on, since the hook {hook.name} {what}"
    return HookFailedError(text, "", {"output": output.name, "hook": hook.name})


def _replaced(hook: OutputHook, before: Output, after: Output, output_format: str, texts: Mapping[str, str], mark: Mark) -> Output:
    """Describe what a hook put in an output's place as what a server sends is described: the one place where it comes in."""
    stem = PurePath(before.name).stem
    if after.kind == "text" and isinstance(after.text, str):
        return text_output(after.text, stem, node=before.node)
    if not isinstance(after.data, bytes) or not after.data:
        raise _failure(hook, before, "replaced it with an output without data.")
    data = with_texts(after.data, output_format, texts)
    described = as_output(data, str(after.name), stem, output_format, texts, node=before.node, mark=mark)
    if described.kind != after.kind:
        raise _failure(hook, before, f"replaced it with {described.kind!r} data that it calls {clean(after.kind, 20)!r}.")
    return described


def _words(error: BaseException) -> str:
    try:
        said = str(error)
    except BaseException:  # it comes from another package, like its class
        said = ""
    return f"{type(error).__name__}: {_short(said)}".removesuffix(": ")


def _place(error: BaseException) -> str:
    """Say where an exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({'/'.join(PurePath(frames[-1].filename).parts[-2:])}, line {frames[-1].lineno})" if frames else ""


def _short(text: object) -> str:
    return clean(_BYTES.sub("…", str(text)[: 10 * MOST_WORDS]), MOST_WORDS)
