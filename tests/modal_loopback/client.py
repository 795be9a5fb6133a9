"""Makes this process a client of a loopback. The client that Modal keeps for a process is replaced, and closed afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import modal
import modal.client

from tests.modal_loopback.server import Loopback


@contextmanager
def connected(loopback: Loopback, **variables: str) -> Iterator[Loopback]:
    """Everything in this process that uses Modal talks to this loopback, with these variables over its own."""
    environment = loopback.env | variables
    close_client()
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield loopback
    finally:
        close_client()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def close_client() -> None:
    """Close the client that Modal keeps for this process, if there is one."""
    if modal.client._Client._client_from_env is not None:
        modal.Client.from_env().close()
