"""Make the store that holds each backend's LoRAs, when it is asked for. Must not store anything itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..comfy.connect import connect
from ..comfy.log import lora_files
from ..errors import BackendNotConfiguredError, BackendUnreachableError
from ..models.loras.base import LoraStore
from ..models.loras.folder import FolderStore
from ..models.loras.library import Library

if TYPE_CHECKING:
    from ..engine.loras import LoraResolver
    from ..settings import Settings

FOLDER_HINT = "Set the server's models/loras folder, local or mounted: ryla-gen config set comfyui.lora_folder PATH"


def lora_store(name: str, settings: Settings) -> LoraStore:
    """Return the store of a backend's LoRAs.

    Raises:
        BackendNotConfiguredError: it cannot be written from here, or a setting says not where it is.
    """
    if name == "emulator":
        folder = settings.home / "emulator" / "models" / "loras"
        return FolderStore(folder, f"the emulator's folder {folder}")
    if name == "comfyui":
        return _pod_store(settings)
    if name == "modal":
        from .modal.loras import VolumeStore

        return VolumeStore(settings.modal_environment)
    raise BackendNotConfiguredError(
        f"LoRAs of the {name} backend cannot be stored from here: its volume is not reachable from outside.",
        "Copy FILE to models/loras/ID.safetensors on the network volume (RunPod's S3 access, or a pod that mounts it); "
        "then run with --lora ID. Or choose another place: --backend modal",
        {"backend": name},
    )


def pod_loras(settings: Settings) -> LoraResolver | None:
    """Return what looks up a request's LoRAs in the pod's folder; None when this machine does not reach it."""
    from ..engine.loras import LoraResolver  # here, since the engine imports aiohttp, and a client makes this module

    folder = settings.comfyui_lora_folder
    return LoraResolver(Library(_pod_store(settings)), plain=folder) if folder is not None else None


def _pod_store(settings: Settings) -> FolderStore:
    folder = settings.comfyui_lora_folder
    if folder is None:
        text = "ComfyUI does not accept LoRAs over HTTP, and the LoRA folder of this server is not known."
        raise BackendNotConfiguredError(text, FOLDER_HINT, {"key": "comfyui.lora_folder"})

    async def in_use() -> Collection[str]:
        """Ask the server which LoRA files its running and waiting prompts name; a server that does not answer runs nothing."""
        if not settings.comfyui_url:
            return ()
        try:
            async with connect(settings) as client:
                graphs = await client.queued_graphs()
        except BackendUnreachableError:
            return ()
        return {name.replace("\\", "/") for graph in graphs for name in lora_files(graph)}

    return FolderStore(folder, f"the folder {folder}", in_use, must_exist=True)
