"""Everything about a run that is not the request. Data only, so that commands can name it without loading the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class How:
    """Everything about a run that is not the request."""

    output: str | None = None
    overwrite: bool = False
    backend: str | None = None
    url: str | None = None
    timeout: float | None = None
    tags: Sequence[str] = ()
    max_usd: float | None = None
    preview: bool = True
    """Whether a terminal that can may show the pictures."""
    comfyui: str | None = None
    """Release of ComfyUI that the embedded emulator is for a graph of one's own."""
