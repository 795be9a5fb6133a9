"""Convert every exception that leaves a container to one of our classes. Must not run anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InternalError, RylaGenError, StorageFailedError
from ..names import APP

APP_VARIABLE = "RYLA_MODAL_APP"
"""Tells a container the name of its app, where that is not the usual one: Modal does not."""
USUAL_ENVIRONMENT = "main"
"""Modal's first environment, which its commands mean when none is named."""


def app_variable(app: str) -> dict[str, str]:
    """Return the variable that tells a container which app it belongs to."""
    return {} if app == APP else {APP_VARIABLE: app}


def log_hint(app: str, environment: str | None = None) -> str:
    """Say where the log of an app is."""
    where = f" --environment {environment}" if environment and environment != USUAL_ENVIRONMENT else ""
    return f"See its log: ryla-gen jobs logs {app}{where}"


@contextmanager
def typed_errors(what: str) -> Iterator[None]:
    """Convert every exception that leaves a container to one of our classes, since Modal raises it again at the caller.

    There an OSError would be read as trouble with the network, and a TimeoutError as a result that is not there yet.
    """
    try:
        yield
    except RylaGenError:
        raise
    except Exception as error:
        said = f"{what}: {type(error).__name__}: {error}"
        log = log_hint(os.environ.get(APP_VARIABLE, APP), os.environ.get("MODAL_ENVIRONMENT"))
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
            raise StorageFailedError(said, f"Its disk may be full; run it again. {log}") from error
        raise InternalError(said, f"Please report it with the message above. {log}") from error
