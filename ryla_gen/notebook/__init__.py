"""How things look in Jupyter: a running job's bar, pictures, players. Does nothing outside a kernel, and runs no job.

``base`` finds the kernel and publishes, ``live`` is the bar, ``outputs`` shows files. IPython is never imported before the kernel did.
"""

from __future__ import annotations

from .base import publish, shell
from .live import Live, live
from .outputs import File, encoded, player, sheet, show

__all__ = ["File", "Live", "encoded", "live", "player", "publish", "sheet", "shell", "show"]
