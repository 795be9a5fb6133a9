"""Write files on the caller's disk whole or not at all. Must not know a picture."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from ..errors import OutputExistsError, StorageFailedError
from .base import megabytes

_NO_LINKS = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EINVAL, errno.EXDEV}
)
"""What file systems without hard links answer (FAT, some network and container mounts)."""
_DATA_URL = re.compile(r"data:[^,\s]{0,200};base64,", re.IGNORECASE)


def is_data_url(text: str) -> bool:
    """Whether a text holds encoded bytes. A prompt may begin with "data:" and stays a prompt."""
    return _DATA_URL.match(text) is not None


def describe(data: bytes) -> dict[str, str | int]:
    """Return what may be kept of a picture that is not ours to keep: its hash and its size."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def save_atomically(path: Path, data: bytes, *, overwrite: bool) -> Path:
    """Write a file whole or not at all, through a temporary file in the same folder, and return its path.

    Missing folders are made. Without ``overwrite`` two writers cannot both win. Permissions follow the umask.

    Args:
        path: where to; ``~`` is the home folder.
        data: the whole content.
        overwrite: whether a file of that name may be replaced.

    Raises:
        OutputExistsError: a file of that name exists and may not be replaced.
        StorageFailedError: the folder or file cannot be written, or the disk is full; nothing half-written stays.

    """
    try:
        path = Path(path).expanduser()
        check_target(path, overwrite=overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data, overwrite=overwrite)
    except OSError as error:
        raise _failed(path, data, error) from None
    except (ValueError, RuntimeError) as error:  # a NUL or a lone surrogate in the name; no home folder to put for "~"
        raise StorageFailedError(f"{str(path)!r} is not a usable file name: {error}.", "Choose another name.") from None
    return path


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a target before any work: a folder, a device, or a file that may not be replaced.

    Raises:
        OutputExistsError: a file of that name exists and may not be replaced.
        StorageFailedError: the target can be no file.

    """
    # os.path answers False where Path raises: a name that is too long is left to the writing to explain.
    if os.path.isdir(path):  # noqa: PTH112
        raise StorageFailedError(f"{path} is a folder.", "Give the name of a file in it.", {"file": str(path)})
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputExistsError(f"{path} exists already.", details={"file": str(path)})
    # Replacing /dev/null by a picture would break the machine.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise StorageFailedError(f"{path} is not a regular file.", "Choose another name.", {"file": str(path)})


def _write(path: Path, data: bytes, *, overwrite: bool) -> None:
    # A short random name: the target's own may already be as long as the file system allows.
    temporary = path.parent / f".ryla-{os.urandom(6).hex()}.tmp"
    try:
        # Not tempfile, whose files are private to the user whatever the umask says.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(handle, "wb", buffering=0) as file:
            rest = memoryview(data)
            # An unbuffered write may take only a part of the bytes.
            while rest:
                rest = rest[file.write(rest) :]
        if overwrite:
            os.replace(temporary, path)  # noqa: PTH105 - reads as the system call it is
        else:
            _publish(temporary, path)
    finally:  # after success the name is gone already, or a second link to the new file
        with suppress(OSError):
            temporary.unlink()


def _publish(temporary: Path, path: Path) -> None:
    """Rename the finished file to its final name, unless another process has taken that name by now."""
    try:
        # A link fails if the name exists, in one step: a check before a rename would leave a gap for another process.
        os.link(temporary, path)
    except FileExistsError:
        raise OutputExistsError(f"{path} exists already.", details={"file": str(path)}) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without links: an empty file reserves the name, and the rename then replaces it.
        _reserve(path)
        os.replace(temporary, path)  # noqa: PTH105 - as above


def _reserve(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        raise OutputExistsError(f"{path} exists already.", details={"file": str(path)}) from None


def _failed(path: Path, data: bytes, error: OSError) -> StorageFailedError:
    reason = error.strerror or str(error)
    hint = "Check that the folder exists, is writable and has free space."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = f"Free {megabytes(len(data))}, or save somewhere else."
    elif error.errno == errno.ENAMETOOLONG:
        hint = "Choose a shorter name."
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        hint = "A part of the path is a file, not a folder."
    return StorageFailedError(f"{path} could not be written: {reason}.", hint, {"file": str(path), "errno": error.errno})
