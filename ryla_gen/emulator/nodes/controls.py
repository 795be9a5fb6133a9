"""Emulate ControlNets, patches that work like them, and the detection of edges for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import Context, NodeResult, node
from ..conditioning import Conditioning, Control, KnownPart
from ..latents import Array
from ..model import Model, Vae
from ..sampling.run import fitted_mask
from ..style import LUMA
from .edits import with_known
from .latents import resized_planes, vae_encode


def weight_between(start: float, end: float) -> float:
    """Return how much of a picture's shapes is decided in a part of the sampling: most of it early, all of it in the whole."""
    return max(0.0, (2 * end - end**2) - (2 * start - start**2))


def _followed(prompts: Conditioning, control: Control) -> Conditioning:
    return prompts if control.strength == 0.0 else tuple(p.with_changes(controls=(*p.controls, control)) for p in prompts)


@node("ControlNetApplyAdvanced")
def control_net_apply_advanced(
    context: Context,
    positive: Conditioning,
    negative: Conditioning,
    control_net: Any,
    image: Array,
    strength: float,
    start_percent: float,
    end_percent: float,
    vae: Vae | None = None,
) -> NodeResult:
    """Let the prompts follow the shapes of a picture, in a part of the sampling."""
    control = Control(image[0, ..., :3], strength * weight_between(start_percent, end_percent))
    return NodeResult((_followed(positive, control), _followed(negative, control)))


@node("ControlNetApply")
def control_net_apply(context: Context, conditioning: Conditioning, control_net: Any, image: Array, strength: float) -> NodeResult:
    """Let a prompt follow the shapes of a picture."""
    return NodeResult((_followed(conditioning, Control(image[0, ..., :3], strength)),))


@node("SetUnionControlNetType")
def set_union_control_net_type(context: Context, control_net: Any, type: str) -> NodeResult:  # noqa: A002  # ComfyUI's name
    """Say what a ControlNet's picture shows; here the picture itself tells."""
    return NodeResult((control_net,))


@node("ControlNetInpaintingAliMamaApply")
def control_net_inpainting_apply(
    context: Context,
    positive: Conditioning,
    negative: Conditioning,
    control_net: Any,
    vae: Vae,
    image: Array,
    mask: Array,
    strength: float,
    start_percent: float,
    end_percent: float,
) -> NodeResult:
    """Let the prompts complete a picture where a mask is white; at strength 0, and in no part of the sampling, not at all."""
    if strength * weight_between(start_percent, end_percent) == 0.0:
        return NodeResult((positive, negative))
    known = _around_hole(context, vae, image, mask)
    return NodeResult((with_known(positive, known), with_known(negative, known)))


def _around_hole(context: Context, vae: Vae, image: Array, mask: Array) -> KnownPart:
    samples = np.asarray(vae_encode(context, image, vae).outputs[0]["samples"], np.float32)
    planes = resized_planes(np.asarray(mask, np.float32).reshape(-1, *mask.shape[-2:]), image.shape[2], image.shape[1], "bilinear")
    return KnownPart(samples, fitted_mask(planes, samples.shape))


@node("ModelPatchLoader")
def model_patch_loader(context: Context, name: str) -> NodeResult:
    """Load a patch for a model."""
    return NodeResult(({"name": name},))


@node("QwenImageDiffsynthControlnet")
def qwen_image_diffsynth_controlnet(
    context: Context,
    model: Model,
    model_patch: Any,
    vae: Vae,
    image: Array,
    strength: float,
    mask: Array | None = None,
) -> NodeResult:
    """Let a model follow the shapes of a picture, and with a mask only where it is black."""
    return NodeResult((_patched(model, image, strength, mask),))


@node("ZImageFunControlnet")
def z_image_fun_controlnet(
    context: Context,
    model: Model,
    model_patch: Any,
    vae: Vae,
    strength: float,
    image: Array | None = None,
    inpaint_image: Array | None = None,
    mask: Array | None = None,
) -> NodeResult:
    """Let a model follow the shapes of a picture, or of one to complete outside of its mask."""
    followed = image if image is not None else inpaint_image
    return NodeResult((model if followed is None else _patched(model, followed, strength, None if image is not None else mask),))


def _patched(model: Model, image: Array, strength: float, mask: Array | None) -> Model:
    hint = image[0, ..., :3]
    if mask is None:
        return model.with_control(Control(hint, strength))
    planes = resized_planes(
        np.asarray(mask, np.float32).reshape(-1, *mask.shape[-2:])[:1], hint.shape[1], hint.shape[0], "bilinear"
    )
    return model.with_control(Control(hint, strength, 1.0 - planes[0]))


@node("Canny")
def canny(context: Context, image: Array, low_threshold: float, high_threshold: float) -> NodeResult:
    """Draw the edges of a picture white on black (Canny 1986, with the kernels and the thresholds of Kornia's)."""
    edges = np.stack([find_edges(picture[..., :3] @ LUMA, low_threshold, high_threshold) for picture in image])
    return NodeResult((np.repeat(edges[..., None], 3, axis=-1),))


_GAUSSIAN = np.exp(-(np.arange(-2, 3, dtype=np.float32) ** 2) / 2)
_GAUSSIAN /= _GAUSSIAN.sum()
_NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Down and right of the neighbour in each direction, from the right on clockwise in steps of 45 degrees."""


def find_edges(plane: Array, low: float, high: float) -> Array:
    """Find the edges of one grey picture: 1 where its slope is steepest along its own direction and above the thresholds."""
    padded = np.pad(plane, 2, mode="reflect")
    rows = sum(_GAUSSIAN[k] * padded[k : k + plane.shape[0]] for k in range(5))
    smooth = sum(_GAUSSIAN[k] * np.asarray(rows)[:, k : k + plane.shape[1]] for k in range(5))
    around = [_shifted(np.pad(smooth, 1, mode="edge"), down, right) for down, right in _NEIGHBOURS]
    right, low_right, below, low_left, left, high_left, above, high_right = around
    across = (high_right - high_left) + 2 * (right - left) + (low_right - low_left)
    down = (low_left - high_left) + 2 * (below - above) + (low_right - high_right)
    steep = np.sqrt(across**2 + down**2 + 1e-6)
    ridge = np.where(_is_ridge(steep, np.round(np.arctan2(down, across) * 4 / np.pi).astype(int) % 8), steep, 0.0)
    return _connected(ridge > high, ridge > low)


def _shifted(padded: npt.NDArray[Any], down: int, right: int) -> npt.NDArray[Any]:
    """Return the plane inside a border of one pixel, as seen one step down or to the right."""
    return padded[1 + down : padded.shape[0] - 1 + down, 1 + right : padded.shape[1] - 1 + right]


def _is_ridge(steep: Array, direction: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
    """Whether each place is steeper than both its neighbours along its direction; to the right and downwards a tie counts."""
    padded = np.pad(steep, 1, constant_values=np.float32(1e-3))  # the slope of a flat picture, with the 1e-6 above
    around = np.stack([_shifted(padded, *step) for step in _NEIGHBOURS])
    found = np.ones(steep.shape, bool)
    for way in (direction, (direction + 4) % 8):
        other = np.take_along_axis(around, way[None], 0)[0]
        found &= (steep > other) | (((way == 0) | (way == 2)) & (steep == other))
    return found


def _connected(strong: npt.NDArray[np.bool_], weak: npt.NDArray[np.bool_]) -> Array:
    """Keep weak edges that reach a strong one."""
    found = strong & weak
    while True:
        padded = np.pad(found, 1)
        grown = weak & np.any([_shifted(padded, *step) for step in (*_NEIGHBOURS, (0, 0))], axis=0)
        if np.array_equal(grown, found):
            return found.astype(np.float32)
        found = grown
