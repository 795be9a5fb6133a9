"""Find the kernel that this process may be, and publishes to the cell that runs. Never imports IPython: a kernel has it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def shell() -> Any:
    """Return the shell of the Jupyter kernel that this process is; None in a script, and in IPython's terminal."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    found = ask() if ask is not None else None
    return found if getattr(found, "kernel", None) is not None else None


def publish(bundle: Mapping[str, str], *, place: str | None = None, again: bool = False) -> None:
    """Show something below the running cell; nothing outside a kernel.

    Args:
        bundle: the same thing by media type; pictures in base64.
        place: a name of its own for what is shown.
        again: whether to replace what has that name.

    """
    found = shell()
    if found is not None:
        found.display_pub.publish(data=dict(bundle), metadata={}, transient={"display_id": place} if place else {}, update=again)
