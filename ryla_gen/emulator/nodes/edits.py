"""Emulate nodes that give a model a picture to edit, to complete, or to follow."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..base import Context, NodeResult, node
from ..conditioning import Conditioning, Control, KnownPart, Prompt
from ..latents import Array
from ..model import Clip, Model, Vae
from ..sampling.run import Latent, fitted_mask
from .conditioning import encode_text
from .images import resize
from .latents import resized_planes, vae_encode

REFERENCE_PIXELS = 1024 * 1024
"""The size that Qwen-Image-Edit's encoders bring their reference pictures to."""


def with_reference(conditioning: Conditioning, samples: Array) -> Conditioning:
    """Add one more reference picture to every prompt."""
    return tuple(prompt.with_changes(references=(*prompt.references, samples)) for prompt in conditioning)


@node("ReferenceLatent")
def reference_latent(context: Context, conditioning: Conditioning, latent: Latent | None = None) -> NodeResult:
    """Give a prompt a picture to edit; several of these give it several."""
    if latent is None:
        return NodeResult((conditioning,))
    return NodeResult((with_reference(conditioning, np.asarray(latent["samples"], np.float32)),))


@node("TextEncodeQwenImageEditPlus")
def text_encode_qwen_image_edit_plus(
    context: Context,
    clip: Clip,
    prompt: str,
    vae: Vae | None = None,
    image1: Array | None = None,
    image2: Array | None = None,
    image3: Array | None = None,
) -> NodeResult:
    """Encode an instruction with up to three pictures; without a VAE the model sees none of them."""
    conditioning = encode_text(clip, prompt)
    for image in (image1, image2, image3):
        if image is not None and vae is not None:
            conditioning = with_reference(conditioning, _reference_of(context, image, vae, 8))
    return NodeResult((conditioning,))


@node("TextEncodeQwenImageEdit")
def text_encode_qwen_image_edit(
    context: Context, clip: Clip, prompt: str, vae: Vae | None = None, image: Array | None = None
) -> NodeResult:
    """Encode an instruction with one picture."""
    conditioning = encode_text(clip, prompt)
    if image is not None and vae is not None:
        conditioning = with_reference(conditioning, _reference_of(context, image, vae, 1))
    return NodeResult((conditioning,))


def _reference_of(context: Context, image: Array, vae: Vae, multiple: int) -> Array:
    """Encode a picture at the size that the model takes references at."""
    height, width = image.shape[1:3]
    factor = math.sqrt(REFERENCE_PIXELS / (width * height))
    columns, rows = (max(8, round(side * factor / multiple) * multiple) for side in (width, height))
    samples = vae_encode(context, resize(image[..., :3], columns, rows, "area"), vae).outputs[0]["samples"]
    return np.asarray(samples, np.float32)


@node("FluxKontextMultiReferenceLatentMethod")
def flux_kontext_reference_method(context: Context, conditioning: Conditioning, reference_latents_method: str) -> NodeResult:
    """Return the prompt as it is: how the model tells its references apart changes nothing here."""
    return NodeResult((conditioning,))


@node("InpaintModelConditioning")
def inpaint_model_conditioning(
    context: Context,
    positive: Conditioning,
    negative: Conditioning,
    vae: Vae,
    pixels: Array,
    mask: Array,
    noise_mask: bool = True,
) -> NodeResult:
    """Give the prompts a picture to complete where a mask is white; outside of it the picture stays."""
    latent = vae_encode(context, pixels, vae).outputs[0]
    planes = resized_planes(mask.reshape(-1, *mask.shape[-2:]), pixels.shape[2], pixels.shape[1], "bilinear")
    height, width = pixels.shape[1] // 8 * 8, pixels.shape[2] // 8 * 8
    top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
    cut = planes[:, top : top + height, left : left + width]
    known = KnownPart(latent["samples"], fitted_mask(cut, latent["samples"].shape))
    prompts = [with_known(conditioning, known) for conditioning in (positive, negative)]
    return NodeResult((*prompts, {**latent, "noise_mask": cut} if noise_mask else latent))


def with_known(conditioning: Conditioning, known: KnownPart) -> Conditioning:
    """Tell every prompt a part of the result."""
    return tuple(prompt.with_changes(known=known) for prompt in conditioning)


COLOURLESS = 0.02
"""Up to this mean difference between the channels a picture counts as a map of edges or depths."""


@node("InstructPixToPixConditioning")
def instruct_pix_to_pix(context: Context, positive: Conditioning, negative: Conditioning, vae: Vae, pixels: Array) -> NodeResult:
    """Give the prompts a picture beside the noise: a grey one is a map whose shapes they follow, another one they edit."""
    latent = vae_encode(context, pixels, vae).outputs[0]
    samples = np.asarray(latent["samples"], np.float32)
    rgb = pixels[..., :3]
    if float((rgb.max(-1) - rgb.min(-1)).mean()) <= COLOURLESS:
        control = Control(rgb[0], 1.0)
        given = [tuple(p.with_changes(controls=(*p.controls, control)) for p in prompts) for prompts in (positive, negative)]
    else:
        given = [with_reference(prompts, samples) for prompts in (positive, negative)]
    return NodeResult((*given, {**latent, "samples": np.zeros_like(samples)}))


@node("DifferentialDiffusion")
def differential_diffusion(context: Context, model: Model, strength: float = 1.0) -> NodeResult:
    """Let each place begin to change at the level that its grey in the mask says."""
    return NodeResult((replace(model, differential=strength),))


@node("LotusConditioning")
def lotus_conditioning(context: Context) -> NodeResult:
    """Return the empty prompt that Lotus was trained with."""
    return NodeResult(((Prompt(),),))


@node("FluxKVCache")
def flux_kv_cache(context: Context, model: Model, **_: Any) -> NodeResult:
    """Return the model as it is: what it need not compute twice changes nothing here."""
    return NodeResult((model,))
