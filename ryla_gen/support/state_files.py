"""Keep small notes in a JSON file between runs. A note that is lost or damaged costs nothing: it is written again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read_state(path: Path) -> Any:
    """Return what the file holds; None where it is missing, unreadable or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write_state(path: Path, data: Any) -> None:
    """Write the file whole or not at all; several processes may do so at once.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(json.dumps(data), encoding="utf-8")
    temporary.replace(path)
