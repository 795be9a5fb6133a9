"""Name the backends where a job can run, and load each only when it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import BackendNotConfiguredError

if TYPE_CHECKING:
    from ..engine.output_hooks import OnOutput
    from ..settings import Settings
    from .base import Backend

BUILT = ("emulator", "comfyui", "modal", "runpod")
"""Backends that this version can run."""


def create(name: str, settings: Settings, on_output: OnOutput | None = None) -> Backend:
    """Make the backend of that name; it connects at its first job.

    Args:
        name: one of ``BUILT``.
        settings: where it is.
        on_output: the hook that the client was given, asked about every result.

    Raises:
        BackendNotConfiguredError: the backend is not part of this version, or lacks a setting.

    """
    if name == "emulator":
        from .emulator import EmulatorBackend

        graphs = settings.emulator_comfyui
        return EmulatorBackend(settings.home, queue_timeout=settings.queue_timeout, graphs=graphs, on_output=on_output)
    if name == "comfyui":
        from ..comfy.connect import connect, no_server
        from .comfyui import ComfyBackend
        from .lora_stores import pod_loras

        if not settings.comfyui_url:
            raise no_server()

        return ComfyBackend(
            settings.comfyui_url,
            hourly_usd=settings.comfyui_hourly_usd,
            loras=pod_loras(settings),
            connect=lambda: connect(settings),
            queue_timeout=settings.queue_timeout,
            lora_folder=settings.comfyui_lora_folder,
            on_output=on_output,
        )
    if name == "modal":
        from .modal.backend import ModalBackend

        return ModalBackend(settings, on_output=on_output)
    if name == "runpod":
        from .runpod.backend import RunpodBackend

        return RunpodBackend(settings, on_output=on_output)
    raise BackendNotConfiguredError(
        f"The backend {name!r} is not part of this version.",
        f"Use one of: {', '.join(BUILT)}; for example: ryla-gen config set backend emulator (or RYLA_GEN_BACKEND=emulator)",
    )
