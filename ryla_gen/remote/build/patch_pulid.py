"""Patch ComfyUI_PuLID_Flux_ll for ComfyUI from 0.3.67 on, whose sampler calls wrappers with a new keyword, ``latent_shapes``.

The pack's two outer-sample wrappers take no keyword they do not know. Both get ``**kwargs`` and pass it on. The edit is exact: when
the text is not the one of the pinned commit, nothing is written and the build fails. Standard library only.
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


def patched(text: str) -> str:
    """Return the patched source.

    Raises:
        SystemExit: it is not the source that this edit was made for.
    """
    for old, new in EDITS:
        if text.count(old) != len(WRAPPERS):
            sys.exit(f"{FILE}: expected {old!r} {len(WRAPPERS)} times, found {text.count(old)}: was the pack's pin changed?")
        text = text.replace(old, new)
    check(text)
    return text


def check(text: str) -> None:
    """Make sure that both wrappers take any keyword and pass it on.

    Raises:
        SystemExit: one does not.
    """
    functions = {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
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


def main(arguments: list[str]) -> None:
    """Patch the pack in place (``patch_pulid.py FOLDER``), or only check it (``patch_pulid.py --check FOLDER``)."""
    *flags, folder = arguments
    path = Path(folder) / FILE
    text = path.read_text(encoding="utf-8")
    if "--check" in flags:
        check(text)
    else:
        path.write_text(patched(text), encoding="utf-8")
    sys.stdout.write(f"{path}: both wrappers take latent_shapes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
