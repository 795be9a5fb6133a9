"""Choose where a lock file lies: beside what it guards, or, on a volume that knows no ``flock``, on this machine's own disk.

A lock that is a mere file, as huggingface_hub and newer versions of filelock fall back to, outlives a container that was killed
and then stops every later one; a lock of the kernel is freed when its holder dies. What is lost on such a volume is that two
machines see each other's locks: they may do the same work twice. What they write is renamed into place, so nothing breaks by it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

UNKNOWN = frozenset({errno.ENOSYS, errno.EOPNOTSUPP})
"""What ``flock`` answers on a file system that does not have it."""


def lockable(file: Path) -> Path:
    """Return where a lock file can be locked: itself, or a file that stands for it in a folder of this user on this machine.

    Args:
        file: where the lock should lie; its folder must exist. It is created.

    Raises:
        OSError: it cannot be created.
    """
    if _knows_flock(file):
        return file
    folder = Path(tempfile.gettempdir()) / f"ryla-gen-locks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:32]}.lock"


def file_lock(file: Path, *, timeout: float = -1, thread_local: bool = True) -> BaseFileLock:
    """Return a lock that the system frees when its holder dies.

    Args:
        file: where it should lie; its folder must exist.
        timeout: seconds to wait for another holder; for ever when negative.
        thread_local: whether only the thread that took it may free it.
    """
    from filelock import FileLock

    return FileLock(lockable(file), timeout=timeout, thread_local=thread_local)


def _knows_flock(file: Path) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(opened, fcntl.LOCK_UN)  # unlocks what this file descriptor never held, which changes nothing
    except OSError as error:
        return error.errno not in UNKNOWN
    finally:
        os.close(opened)
    return True
