"""Hold everything about a run that is not the request, and load its settings. Loads no client, so that commands start fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ryla_gen.settings import Settings

if TYPE_CHECKING:
    from ryla_gen.history import Record


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
    output_to: str | Sequence[str] | None = None
    """Where the files are uploaded instead of being saved."""
    webhook: str | None = None
    """Who is told of the end."""
    comfyui: str | None = None
    """Release of ComfyUI that the embedded emulator is for a graph of one's own."""
    user: str | None = None
    """The user of the app for whom it runs."""


def destination(given: Sequence[str] | None) -> str | Sequence[str] | None:
    """Return what ``--output-to`` says: one bucket, or signed addresses."""
    return given[0] if given and len(given) == 1 else given or None


def settings_for(backend: str | None, url: str | None, max_usd: float | None = None, comfyui: str | None = None) -> Settings:
    """Load the settings with the command line's options above them."""
    chosen = backend or ("comfyui" if url else None)
    arguments = {"backend": chosen, "comfyui_url": url, "max_usd": max_usd, "emulator_comfyui": comfyui}
    return Settings.load(**{key: value for key, value in arguments.items() if value is not None})


def server_of(record: Record, url: str | None) -> str | None:
    """Return the server to ask for a job: the one that is named; where the settings have none, the one it was sent to."""
    if url is None and record.backend == "comfyui" and Settings.load().comfyui_url is None:
        return record.server
    return url
