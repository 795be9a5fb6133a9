"""Convert every exception that leaves a container to one of our classes. Must not run anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InternalError, RylaGenError, StorageFailedError
from ..names import APP

LOG_HINT = f"See its log: modal app logs {APP}"


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
        if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
            raise StorageFailedError(said, f"Its disk may be full; run it again. {LOG_HINT}") from error
        raise InternalError(said, f"Please report it with the message above. {LOG_HINT}") from error
