"""Emulate nodes that encode and combine prompts."""

from __future__ import annotations

from ..base import Context, NodeResult, node
from ..conditioning import Conditioning, Prompt
from ..model import Clip


def encode_text(clip: Clip, text: str, guidance: float | None = None) -> Conditioning:
    """Encode a text as one prompt."""
    return (Prompt(((text, 1.0),), guidance, clip.looks),)


def _encode(clip: Clip, text: str, guidance: float | None = None) -> NodeResult:
    return NodeResult((encode_text(clip, text, guidance),))


@node("CLIPTextEncode")
def clip_text_encode(context: Context, text: str, clip: Clip) -> NodeResult:
    """Encode a text."""
    return _encode(clip, text)


@node("CLIPTextEncodeFlux")
def clip_text_encode_flux(context: Context, clip: Clip, clip_l: str, t5xxl: str, guidance: float) -> NodeResult:
    """Encode Flux's two texts (the same one, in most graphs) and its guidance."""
    return _encode(clip, _join(t5xxl, clip_l), guidance)


@node("CLIPTextEncodeSDXL")
def clip_text_encode_sdxl(
    context: Context,
    clip: Clip,
    width: int,
    height: int,
    crop_w: int,
    crop_h: int,
    target_width: int,
    target_height: int,
    text_g: str,
    text_l: str,
) -> NodeResult:
    """Encode SDXL's two texts; the given sizes do not affect the emulated model."""
    return _encode(clip, _join(text_g, text_l))


@node("CLIPTextEncodeSD3")
def clip_text_encode_sd3(context: Context, clip: Clip, clip_l: str, clip_g: str, t5xxl: str, empty_padding: str) -> NodeResult:
    """Encode SD3's three texts."""
    return _encode(clip, _join(t5xxl, clip_g, clip_l))


def _join(*texts: str) -> str:
    """Join different texts one after the other, equal ones once."""
    return " ".join(dict.fromkeys(text for text in texts if text.strip()))


@node("FluxGuidance")
def flux_guidance(context: Context, conditioning: Conditioning, guidance: float) -> NodeResult:
    """Set Flux's distilled guidance."""
    return NodeResult((tuple(p.with_changes(guidance=guidance) for p in conditioning),))


@node("FluxDisableGuidance")
def flux_disable_guidance(context: Context, conditioning: Conditioning) -> NodeResult:
    """Turn distilled guidance off."""
    return NodeResult((tuple(p.with_changes(guidance=None) for p in conditioning),))


@node("ConditioningZeroOut")
def conditioning_zero_out(context: Context, conditioning: Conditioning) -> NodeResult:
    """Mark a prompt as zeroed: it has no effect on the picture."""
    return NodeResult((tuple(p.with_changes(zeroed=True) for p in conditioning),))


@node("ConditioningCombine")
def conditioning_combine(context: Context, conditioning_1: Conditioning, conditioning_2: Conditioning) -> NodeResult:
    """Combine two prompts by averaging their predictions."""
    return NodeResult((conditioning_1 + conditioning_2,))


@node("ConditioningConcat")
def conditioning_concat(context: Context, conditioning_to: Conditioning, conditioning_from: Conditioning) -> NodeResult:
    """Append one prompt's words to the other's."""
    more = conditioning_from[0].joined_text() if conditioning_from else ""
    return NodeResult((tuple(p.with_changes(texts=((f"{p.joined_text()} {more}".strip(), 1.0),)) for p in conditioning_to),))


@node("ConditioningAverage")
def conditioning_average(
    context: Context, conditioning_to: Conditioning, conditioning_from: Conditioning, conditioning_to_strength: float
) -> NodeResult:
    """Interpolate between two prompts."""
    other = conditioning_from[0].texts if conditioning_from else (("", 1.0),)
    share = conditioning_to_strength
    mixed = []
    for prompt in conditioning_to:
        texts = [(t, s * share) for t, s in prompt.texts] + [(t, s * (1 - share)) for t, s in other]
        mixed.append(prompt.with_changes(texts=tuple((t, s) for t, s in texts if s > 0.0)))
    return NodeResult((tuple(mixed),))


@node("ConditioningSetTimestepRange")
def conditioning_set_timestep_range(context: Context, conditioning: Conditioning, start: float, end: float) -> NodeResult:
    """Limit a prompt to a part of the sampling."""
    return NodeResult((tuple(p.with_changes(start=start, end=end) for p in conditioning),))


@node("ConditioningSetAreaStrength")
def conditioning_set_area_strength(context: Context, conditioning: Conditioning, strength: float) -> NodeResult:
    """Set a prompt's share among combined ones."""
    return NodeResult((tuple(p.with_changes(strength=strength) for p in conditioning),))
