"""Make a Modal token with Modal's own command, ``modal token new``, and let this process use it. Must not print.

Modal reads its file of tokens once, when it is imported. So the new token is read by a process of its own, and handed to this
one through the variables that Modal reads each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable

import modal
import modal.exception

from ..errors import BackendUnreachableError, NotAuthorizedError
from .deploy import last_words, run_modal
from .modal_errors import TOKEN_HINT

VARIABLES = ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET")
"""Variables that hold a token; they come before Modal's file."""
CONFIRM_SECONDS = 900.0
"""How long the person may take in the browser: an account has to be made there the first time. Modal's command waits for ever."""
READ = "import json; from modal.config import config; print(json.dumps([config['token_id'], config['token_secret']]))"
WIDE = "1000"
"""Columns that Modal's output gets, so that the address in it stays one line."""


def make_token(on_line: Callable[[str], None]) -> None:
    """Open modal.com in the browser, wait for the person there, and use the token that comes of it.

    Args:
        on_line: called with each line of Modal's own words: the address is among them.

    Raises:
        NotAuthorizedError: no token came of it.
        BackendUnreachableError: Modal does not answer.
    """
    code, output = run_modal(["token", "new"], {"COLUMNS": WIDE}, on_line, CONFIRM_SECONDS)
    if code:
        raise _failure(code, output)
    with contextlib.suppress(modal.exception.Error):  # the client that was made with the token before
        modal.Client.from_env().close()
    made = subprocess.run([sys.executable, "-c", READ], stdout=-1, check=True).stdout  # noqa: S603 - our own words
    os.environ.update(zip(VARIABLES, json.loads(made), strict=True))


def _failure(code: int, output: str) -> NotAuthorizedError | BackendUnreachableError:
    details = {"output": output}
    if code < 0:
        text = f"The token was not confirmed in the browser within {CONFIRM_SECONDS / 60:.0f} minutes."
        return NotAuthorizedError(text, TOKEN_HINT, details)
    last = last_words(output)
    if "could not connect" in output.lower():
        return BackendUnreachableError(f"Modal does not answer: {last}", "Check the network: https://status.modal.com", details)
    return NotAuthorizedError(f"Modal made no token: {last}", TOKEN_HINT, details)
