"""Asks the real command line: the text of a help page, the data of a list. Runs in this process, at a fixed width."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

WIDTH = 92
"""Columns of the help texts, so that they are the same on every machine."""


def output_of(*arguments: str) -> str:
    """Return what a command writes.

    Raises:
        RuntimeError: it failed.

    """
    from ryla_gen_cli import app

    out, words = io.StringIO(), io.StringIO()
    with _fixed_terminal(), redirect_stdout(out), redirect_stderr(words):
        code = app.run(list(arguments))
    if code != 0:
        raise RuntimeError(f"ryla-gen {' '.join(arguments)}: exit {code}\n{words.getvalue()}")
    return out.getvalue()


def data(*arguments: str) -> dict[str, Any]:
    """Return the data of a command's ``--json``."""
    return dict(json.loads(output_of(*arguments, "--json").splitlines()[-1])["data"])


@contextmanager
def _fixed_terminal() -> Iterator[None]:
    """Nothing of this machine shows: neither the width of its terminal nor its colours."""
    fixed = {"COLUMNS": str(WIDTH), "LINES": "50", "NO_COLOR": "1", "TERM": "dumb", "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
    before = {name: os.environ.get(name) for name in fixed}
    os.environ.update(fixed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
