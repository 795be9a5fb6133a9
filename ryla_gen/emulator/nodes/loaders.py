"""Emulate nodes that load models, text encoders, VAEs and LoRAs. An emulated file need not exist: its name says what it is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ...models.loras.loading import LOADED, not_loaded, reads_image
from ...models.safetensors import read_header
from ...models.weights_table import all_weights
from ..base import Context, Folders, NodeResult, node
from ..conditioning import Look, stable_key
from ..model import Clip, Model, Vae, model_for, vae_for
from ..server.files import content_hash, inside

_ACCELERATORS = ("turbo", "hyper", "lightx2v", "lightning", "lcm", "causvid")
"""What the names of step-saving LoRAs contain; those leave the look alone."""


@node("CheckpointLoaderSimple")
def checkpoint_loader_simple(context: Context, ckpt_name: str) -> NodeResult:
    """Load model, text encoder and VAE of one file."""
    model = model_for(ckpt_name, whole=True)
    return NodeResult((model, Clip(ckpt_name), Vae(ckpt_name, model.space)))


@node("CheckpointLoader")
def checkpoint_loader(context: Context, config_name: str, ckpt_name: str) -> NodeResult:
    """Load as the older loader, with a configuration that is no longer needed."""
    return checkpoint_loader_simple(context, ckpt_name)


@node("unCLIPCheckpointLoader")
def unclip_checkpoint_loader(context: Context, ckpt_name: str) -> NodeResult:
    """Load a checkpoint with a vision encoder."""
    return NodeResult((*checkpoint_loader_simple(context, ckpt_name).outputs, {"name": ckpt_name}))


@node("UNETLoader")
def unet_loader(context: Context, unet_name: str, weight_dtype: str) -> NodeResult:
    """Load a diffusion model alone."""
    return NodeResult((model_for(unet_name),))


@node("CLIPLoader")
def clip_loader(context: Context, clip_name: str, type: str, device: str = "default") -> NodeResult:  # noqa: A002  # ComfyUI's name
    """Load one text encoder."""
    return NodeResult((Clip(clip_name),))


@node("DualCLIPLoader")
def dual_clip_loader(context: Context, clip_name1: str, clip_name2: str, type: str, device: str = "default") -> NodeResult:  # noqa: A002
    """Load two text encoders."""
    return NodeResult((Clip(f"{clip_name1}+{clip_name2}"),))


@node("TripleCLIPLoader")
def triple_clip_loader(context: Context, clip_name1: str, clip_name2: str, clip_name3: str) -> NodeResult:
    """Load three text encoders."""
    return NodeResult((Clip(f"{clip_name1}+{clip_name2}+{clip_name3}"),))


@node("VAELoader")
def vae_loader(context: Context, vae_name: str) -> NodeResult:
    """Load a VAE."""
    return NodeResult((vae_for(vae_name),))


@node("CLIPSetLastLayer")
def clip_set_last_layer(context: Context, clip: Clip, stop_at_clip_layer: int) -> NodeResult:
    """Return the encoder as it is: the emulated one has no layers to skip."""
    return NodeResult((clip,))


def _lora_fingerprint(folders: Folders, lora_name: str = "", **_: Any) -> str:
    return str(_lora_key(folders, lora_name))


def _lora_key(folders: Folders, lora_name: str) -> int:
    """Return the key that a LoRA's look is drawn from: of its content when the file is there, else of its name."""
    path = inside(folders.models / "loras", lora_name)
    return stable_key(content_hash(path) if path.is_file() else lora_name)


def _lora_base(model: Model) -> str | None:
    """Return the base model that a model's LoRAs are for: the table's, else its family's; None for a file that says nothing."""
    listed = next((row.base for row in all_weights() if row.name == model.name), None)
    family = {"wan22": "wan"}.get(model.space, model.space)
    return listed or (family if family in LOADED else None)


def _look(context: Context, model: Model, lora_name: str) -> int | None:
    """Return the key of a LoRA's look; None for one without effect: it only saves steps, or it does not fit the model.

    What the model does not take is left out and named in the log, in ComfyUI's words and as quietly.
    """
    path = inside(context.folders.models / "loras", lora_name)
    if path.is_file():
        keys = list(read_header(path).tensors)
        base = _lora_base(model)
        left_out = [] if base is None else not_loaded(keys, base, reads_image=reads_image(model.name))
        for key in left_out:
            context.log(f"lora key not loaded: {key}")
        if len(left_out) == len(keys):
            return None
    return None if any(word in lora_name.lower() for word in _ACCELERATORS) else _lora_key(context.folders, lora_name)


@node("LoraLoader", fingerprint=_lora_fingerprint)
def lora_loader(
    context: Context, model: Model, clip: Clip, lora_name: str, strength_model: float, strength_clip: float
) -> NodeResult:
    """Apply a LoRA to the model and, with a third of the effect, to the text encoder."""
    key = None if strength_model == strength_clip == 0 else _look(context, model, lora_name)
    if key is None:
        return NodeResult((model, clip))
    clip = clip if strength_clip == 0 else Clip(clip.name, (*clip.looks, Look(key, strength_clip / 3)))
    return NodeResult((model.with_look(Look(key, strength_model * 2 / 3)), clip))


@node("LoraLoaderModelOnly", fingerprint=_lora_fingerprint)
def lora_loader_model_only(context: Context, model: Model, lora_name: str, strength_model: float) -> NodeResult:
    """Apply a LoRA to the model alone."""
    key = None if strength_model == 0 else _look(context, model, lora_name)
    return NodeResult((model if key is None else model.with_look(Look(key, strength_model)),))


@node("ControlNetLoader")
def controlnet_loader(context: Context, control_net_name: str) -> NodeResult:
    """Load a ControlNet."""
    return NodeResult(({"name": control_net_name},))


@node("UpscaleModelLoader")
def upscale_model_loader(context: Context, model_name: str) -> NodeResult:
    """Load an upscaling model: a number before an x in its name is its factor, as in 4x-UltraSharp."""
    digits = [c for c, x in pairwise(model_name) if c.isdigit() and x in "xX"]
    return NodeResult(({"name": model_name, "factor": int(digits[0]) if digits else 4},))
