"""Read what a drawing says of where its node classes come from: ComfyUI itself, a pack of the registry, a repository."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .graph_models import drawn_nodes

CORE = "comfy-core"
"""How a drawing names ComfyUI itself."""
CORE_MODULES = ("nodes", "comfy_extras", "comfy_api_nodes")
"""Where ComfyUI's own classes come from, as ``/object_info`` says."""
PARTNERS_FILE = Path(__file__).parents[2] / "models" / "partner_nodes.json"
"""Classes of ComfyUI 0.28.2 that call services of others, which are paid there."""


@dataclass(frozen=True, slots=True)
class ClassHint:
    """What a drawing says of one node class; each text may be empty."""

    cnr_id: str = ""
    """Id of a pack in ComfyUI's registry."""
    ver: str = ""
    """Version of that pack, or a commit of its repository."""
    aux_id: str = ""
    """``owner/repository`` at GitHub."""

    @property
    def core(self) -> bool:
        """Whether it belongs to ComfyUI itself."""
        return self.cnr_id == CORE


def class_hints(drawing: Mapping[str, Any] | None, classes: Iterable[str]) -> dict[str, ClassHint]:
    """Return what a drawing says of these classes; of several nodes the first that says something counts."""
    found = {name: ClassHint() for name in classes}
    for node in drawn_nodes(drawing or {}):
        kind, properties = str(node.get("type")), node.get("properties")
        if kind in found and found[kind] == ClassHint() and isinstance(properties, Mapping):
            cnr_id, ver, aux_id = (properties.get(name) for name in ("cnr_id", "ver", "aux_id"))
            found[kind] = ClassHint(*(text if isinstance(text, str) else "" for text in (cnr_id, ver, aux_id)))
    return found


def with_core_classes(hints: Mapping[str, ClassHint], schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, ClassHint]:
    """Return hints in which those classes belong to ComfyUI itself of which a server's schemas say so."""
    core = {name for name in hints if str(schemas.get(name, {}).get("python_module")).partition(".")[0] in CORE_MODULES}
    return {name: ClassHint(CORE, hint.ver if hint.core else "") if name in core else hint for name, hint in hints.items()}


@cache
def partner_classes() -> frozenset[str]:
    """Return the node classes that call a paid service of somebody else."""
    return frozenset(json.loads(PARTNERS_FILE.read_text(encoding="utf-8")))
