"""Schemas of the node classes the shipped graphs use and of the common ones around them, as ComfyUI 0.3.71 reports them.

Read from a data file of this package. Which weights files a server has is not part of it: those enums are empty here.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

COMFYUI_VERSION = "0.3.71"
"""The version whose ``/object_info`` the data file was taken from; the one this project pins."""


@cache
def node_schemas() -> dict[str, dict[str, Any]]:
    """Node class name to its ``/object_info`` entry. Shared by all callers: do not change it."""
    schemas: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("node_schemas.json").read_text(encoding="utf-8"))
    return schemas
