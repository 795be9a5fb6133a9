"""Patch ComfyUI_PuLID_Flux_ll for later ComfyUI: its functions do not take two keywords that ComfyUI now calls them with.

From 0.3.67 on, the sampler calls the pack's two outer-sample wrappers with ``latent_shapes``: both get ``**kwargs`` and pass it on.
0.28.2 calls the forward function that the pack puts in Flux's place with ``timestep_zero_index``, which is None except for edits by
a reference: it gets that parameter, which older releases do not use. The edits are exact: when a text is not the one of the pinned
commit, nothing is written and the build fails. Standard library only.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE = "pulidflux.py"
WRAPPERS = ("pulid_outer_sample_wrappers", "pulid_outer_sample_wrappers_with_override")
EDITS = (
    ("disable_pbar=False, seed=None):", "disable_pbar=False, seed=None, **kwargs):"),
    ("callback, disable_pbar, seed)", "callback, disable_pbar, seed, **kwargs)"),
)
"""The end of both signatures, and of both calls: what is there, and what has to be there."""
HOOK_FILE = "PulidFluxHook.py"
FORWARD = "pulid_forward_orig"
KEYWORD = "timestep_zero_index"
HOOK_EDITS = (
    (
        "    control = None,\n    transformer_options={},",
        f"    control = None,\n    {KEYWORD}=None,\n    transformer_options={{}},",
    ),
)
"""In the signature of the forward function."""


def patched(text: str) -> str:
    """Return the patched source of the wrappers.

    Raises:
        SystemExit: it is not the source that this edit was made for.
    """
    text = _edited(text, FILE, EDITS, len(WRAPPERS))
    check(text)
    return text


def patched_hook(text: str) -> str:
    """Return the patched source of the forward function.

    Raises:
        SystemExit: it is not the source that this edit was made for.
    """
    text = _edited(text, HOOK_FILE, HOOK_EDITS, 1)
    check_hook(text)
    return text


def _edited(text: str, file: str, edits: tuple[tuple[str, str], ...], times: int) -> str:
    for old, new in edits:
        if text.count(old) != times:
            sys.exit(f"{file}: expected {old!r} {times} times, found {text.count(old)}: was the pack's pin changed?")
        text = text.replace(old, new)
    return text


def check(text: str) -> None:
    """Make sure that both wrappers take any keyword and pass it on.

    Raises:
        SystemExit: one does not.
    """
    functions = _functions(text)
    for name in WRAPPERS:
        found = functions.get(name)
        if found is None or found.args.kwarg is None:
            sys.exit(f"{FILE}: {name} does not take latent_shapes")
        passed = [
            word
            for call in ast.walk(found)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "wrapper_executor"
            for word in call.keywords
            if word.arg is None
        ]
        if not passed:
            sys.exit(f"{FILE}: {name} does not pass latent_shapes on")


def check_hook(text: str) -> None:
    """Make sure that the forward function takes the keyword.

    Raises:
        SystemExit: it does not.
    """
    found = _functions(text).get(FORWARD)
    if found is None or KEYWORD not in [item.arg for item in found.args.args]:
        sys.exit(f"{HOOK_FILE}: {FORWARD} does not take {KEYWORD}")


def check_folder(folder: Path) -> None:
    """Make sure that the pack in a folder takes both keywords.

    Raises:
        SystemExit: it does not.
        OSError: a file cannot be read.
    """
    check((folder / FILE).read_text(encoding="utf-8"))
    check_hook((folder / HOOK_FILE).read_text(encoding="utf-8"))


def _functions(text: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}


def main(arguments: list[str]) -> None:
    """Patch the pack in place (``patch_pulid.py FOLDER``), or only check it (``patch_pulid.py --check FOLDER``)."""
    *flags, name = arguments
    folder = Path(name)
    if "--check" not in flags:
        made = {FILE: patched, HOOK_FILE: patched_hook}
        texts = {file: edit((folder / file).read_text(encoding="utf-8")) for file, edit in made.items()}
        for file, text in texts.items():  # all of them are as expected: only now is something written
            (folder / file).write_text(text, encoding="utf-8")
    check_folder(folder)
    sys.stdout.write(f"{folder}: the wrappers take latent_shapes, and {FORWARD} takes {KEYWORD}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
