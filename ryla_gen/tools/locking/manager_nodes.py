"""Look up which node pack gives a class in the lists that ComfyUI-Manager publishes, read as data from its package.

Must not import or run the package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...errors import PackUnknownError
from .pack_addresses import plain_repository

DISTRIBUTION = "comfyui-manager"
NODE_MAP = "extension-node-map.json"
CORE_REPOSITORIES = frozenset({"https://github.com/comfyanonymous/comfyui", "https://github.com/comfy-org/comfyui"})
LONGEST_CLASS = 200
"""Characters; patterns are tried on names, and some are slow on long ones."""


@dataclass(frozen=True, slots=True)
class NodeMap:
    """Which repositories give which classes."""

    source: str
    """Package and version."""
    classes: Mapping[str, tuple[str, ...]]
    patterns: tuple[tuple[str, str], ...]
    """Patterns of class names, with the repository of each."""

    def packs_of(self, kind: str) -> tuple[str, ...]:
        """Return the repositories that list a class, or whose pattern fits it where none lists it."""
        listed = self.classes.get(kind, ())
        if listed or len(kind) > LONGEST_CLASS:
            return listed
        return tuple(dict.fromkeys(address for pattern, address in self.patterns if re.search(pattern, kind)))

    def certain(self, kind: str) -> bool:
        """Whether the class is listed, or fits a pattern that fixes an end of the name; others fit by chance."""
        fixed = (pattern for pattern, _ in self.patterns if pattern.startswith("^") or pattern.endswith("$"))
        return kind in self.classes or any(re.search(pattern, kind) for pattern in fixed)


@cache
def node_map() -> NodeMap | None:
    """Return the map; None without the package (``pip install 'ryla-gen[manager]'``) or with one of another form."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        package = distribution(DISTRIBUTION)
        place = next((item for item in package.files or () if item.name == NODE_MAP), None)
        if place is None:
            return None
        return parse_node_map(json.loads(place.read_text(encoding="utf-8")), f"{DISTRIBUTION} {package.version}")
    except (PackageNotFoundError, OSError, ValueError, TypeError, AttributeError):
        return None


def parse_node_map(data: Mapping[str, Any], source: str) -> NodeMap:
    """Read the map: address → its classes, and what else is known of it. Single files are left out: no commit pins them."""
    classes: dict[str, tuple[str, ...]] = {}
    patterns = []
    for text, (listed, more) in data.items():
        try:
            address = plain_repository(text)
        except PackUnknownError:
            continue
        if address.lower() in CORE_REPOSITORIES:
            continue
        for kind in listed:
            classes[kind] = (*classes.get(kind, ()), address)
        pattern = more.get("nodename_pattern")
        if pattern and _compiles(pattern):
            patterns.append((str(pattern), address))
    return NodeMap(source, classes, tuple(patterns))


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
