"""Show jobs and results in Jupyter: a running job's bar, pictures, players. Does nothing outside a kernel, and runs no job.

``base`` finds the kernel and publishes, ``live`` is the bar, ``outputs`` shows files, ``sheets`` puts pictures in rows.
"""

from __future__ import annotations

from .base import publish, shell
from .live import Live, live
from .outputs import File, encode, player, show, show_lines, sound, words
from .sheets import jpeg, rows

__all__ = ["File", "Live", "encode", "jpeg", "live", "player", "publish", "rows", "shell", "show", "show_lines", "sound", "words"]
