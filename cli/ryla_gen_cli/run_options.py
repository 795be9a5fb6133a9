"""Hold everything about a run that is not the request, and load its settings. Loads no client, so that commands start fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ryla_gen.settings import Settings


@dataclass(frozen=True, slots=True)
class RunOptions:
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


def settings_for(backend: str | None, url: str | None, max_usd: float | None = None, comfyui: str | None = None) -> Settings:
    """Load the settings with the command line's options above them."""
    chosen = backend or ("comfyui" if url else None)
    arguments = {"backend": chosen, "comfyui_url": url, "max_usd": max_usd, "emulator_comfyui": comfyui}
    return Settings.load(**{key: value for key, value in arguments.items() if value is not None})
