"""Define what the caller decides about the lock of a graph, and whom it may ask. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...comfy.schema import Schemas
from ...locks.graph_lock import GraphLock, LockedModel
from .model_choice import Listed
from .online import Network
from .pack_lookup import PackSources
from .volume_models import Volume


@dataclass(frozen=True, slots=True)
class LockOptions:
    """What the caller decides about a lock."""

    name: str | None = None
    """The lock's name; the file's when absent."""
    comfyui: str | None = None
    """Release of ComfyUI; the newest that knows the graph's classes when absent."""
    comfyui_source: str = "--comfyui"
    """Who chose it."""
    schemas: Schemas | None = None
    """Node schemas of a server, for classes that are not ComfyUI's own."""
    models: Mapping[str, LockedModel] = field(default_factory=dict)
    """File, or folder and file → what the caller says of it."""
    packs: PackSources = field(default_factory=PackSources)
    """Who is asked for packs."""
    inputs: Sequence[str] = ()
    """``NAME=NODE.INPUT`` each."""
    apt: Sequence[str] = ()
    """Packages of Debian that packs need, besides those of every image."""
    gpu: str | None = None
    before: GraphLock | None = None
    """An earlier lock of the graph, whose pins are kept."""
    moves: tuple[str, ...] = ()
    """What is not kept: parts of a lock, or packs and files by name. Moving ``python`` lets packages of today count."""
    listed: Listed = lambda folder, file: ()
    listed_name: str = ""
    network: Network | None = None
    """Who is asked for models and packages; None asks nobody."""
    volume: Callable[[], Volume | None] = lambda: None
    """Returns where files may be already, when that is first needed; None asks nobody."""
    packages: str = ""
    """Text of the earlier lock's file of packages."""
    command: str = ""
    """Begins the commands that settle what stays open; made of the file's name when empty."""
    retry: str = ""
    """The same with the answers given now, for errors: these leave no lock that keeps them. ``command`` when empty."""


NO_OPTIONS = LockOptions()
"""The caller decides nothing, and nobody is asked."""
