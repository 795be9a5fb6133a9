"""Detect from the names of a LoRA's tensors which base model it was made for, and which of them a model takes.

The names are facts of the tools that write them (kohya's sd-scripts, diffusers and PEFT, ai-toolkit, SimpleTuner, OneTrainer,
XLabs, DiffSynth) and of what ComfyUI's loader looks for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from ..safetensors import Header

Base = Literal["flux", "sdxl", "wan"]
"""Base models whose LoRAs are of use here."""
BASES: tuple[Base, ...] = get_args(Base)

NAMES: Mapping[str, str] = {
    "flux": "FLUX.1",
    "sdxl": "SDXL",
    "wan": "Wan",
    "sd1": "Stable Diffusion 1.x or 2.x",
    "sd3": "Stable Diffusion 3 or Qwen-Image",
    "hunyuan": "HunyuanVideo",
    "flux2": "FLUX.2",
}
"""What people call each base model, those included that no workflow here uses."""

PART = re.compile(
    r"[._](?:lora_(?:up|down|mid|[AB])(?:\.default)?(?:\.weight)?|lora\.(?:up|down)\.weight|lora_linear_layer\.(?:up|down)\.weight"
    r"|hada_[wt][12](?:_[ab])?|lokr_[wt][12](?:_[ab])?|oft_(?:blocks|diag)|[ab][12]\.weight|diff(?:_b)?|set_weight|[wb]_norm)$"
    r"|_lora[12]?\.(?:up|down)\.weight$"
)
"""The end of a tensor's name that makes it a part of a LoRA, or of one of its relatives (LoHa, LoKr, OFT, GLoRA)."""
BESIDE = re.compile(r"\.(?:alpha|dora_scale|rescale|reshape_weight)$")
"""The end of the names of what goes with such a part."""

_DOT = r"[._]"
_NUMBER = rf"{_DOT}\d+{_DOT}"
_PLAIN = r"(?:lora_unet_|diffusion_model\.|base_model\.model\.)?"
_FLUX_DOUBLE = rf"double_blocks{_NUMBER}(?:img|txt)_(?:attn|mlp|mod){_DOT}"
_FLUX_SINGLE = rf"single_blocks{_NUMBER}(?:linear[12]|modulation{_DOT}lin(?!e))"
_FLUX_AROUND = r"(?:lora_unet_|diffusion_model\.)(?:img_in|txt_in|time_in|vector_in|guidance_in|final_layer)[._]"
_FLUX_DIFFUSERS = (
    rf"(?:lycoris_|lora_transformer_|transformer\.)?(?:single_transformer_blocks{_NUMBER}"
    rf"|transformer_blocks{_NUMBER}(?:attn|norm1|norm1_context|ff|ff_context){_DOT})"
)
_XLABS = r"(?:double|single)_blocks\.\d+\.processor\."
_XLABS_WHOLE = ("single_blocks.37.processor.qkv_lora.up.weight", "double_blocks.18.processor.qkv_lora2.up.weight")
"""ComfyUI reads XLabs' names only in a file that has these two, the last block of each kind."""
_CLIP = rf"text_model{_DOT}encoder{_DOT}layers{_NUMBER}"
_UNET_BLOCKS = rf"(?:lora_unet_|diffusion_model\.|lycoris_)(?:input_blocks|middle_block|output_blocks){_DOT}"
_WAN_BLOCK = (
    rf"(?:lora_unet__?|diffusion_model\.|lycoris_|transformer\.|base_model\.model\.)?blocks{_NUMBER}"
    rf"(?:(?:self|cross)_attn{_DOT}(?:[qkvo]|norm_[qk]|[kv]_img|norm_k_img)\.|attn[12]{_DOT}(?:to|add|norm)_"
    rf"|ffn{_DOT}(?:0|2|net){_DOT}|modulation|norm\d)"
)
_WAN_AROUND = r"(?:lora_unet__?|diffusion_model\.)(?:patch_embedding|text_embedding|time_embedding|time_projection|head)[._]"

LOADED: Mapping[Base, re.Pattern[str]] = {
    "flux": re.compile(
        rf"^(?:{_PLAIN}(?:{_FLUX_DOUBLE}|{_FLUX_SINGLE})|{_FLUX_DIFFUSERS}|{_FLUX_AROUND}"
        rf"|(?:lora_te1?_|text_encoder\.){_CLIP}|lora_te2_encoder_block_)"
    ),
    "sdxl": re.compile(
        rf"^(?:{_UNET_BLOCKS}|(?:lora_unet_|lycoris_|unet\.)?(?:down_blocks|mid_block|up_blocks){_DOT}"
        rf"|lora_te[12]_{_CLIP}|text_encoder(?:_2)?\.{_CLIP}|lora_unet_(?:time_embed|label_emb|out)_)"
    ),
    "wan": re.compile(rf"^(?:{_WAN_BLOCK}|{_WAN_AROUND})"),
}
"""Names of what a model of each base takes, by their beginnings."""

_HUNYUAN = (
    rf"double_blocks{_NUMBER}(?:img|txt)_(?:mlp{_DOT}fc[12]|mod{_DOT}linear)|single_blocks{_NUMBER}modulation{_DOT}linear"
    r"|token_refiner|individual_token"
)
_FLUX2 = r"(?:double|single)_stream_modulation|ff(?:_context)?\.linear_(?:in|out)|attn[._]to_qkv_mlp_proj"
_DEEP = rf"(?:(?:down|up)_blocks{_NUMBER}|mid_block{_DOT})attentions{_NUMBER}transformer_blocks{_DOT}[1-9]"
"""SDXL's transformers are up to ten layers deep, those of SD 1 and 2 one."""

_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # The first match decides for a key, so a pattern with one distinguishing detail stands before the one it resembles.
    ("hunyuan", re.compile(_HUNYUAN)),
    ("flux2", re.compile(_FLUX2)),
    ("flux", re.compile(rf"^{_PLAIN}(?:{_FLUX_DOUBLE}|{_FLUX_SINGLE})|single_transformer_blocks{_NUMBER}|^{_XLABS}")),
    ("sd1", re.compile(rf"down_blocks{_DOT}0{_DOT}attentions|up_blocks{_DOT}3{_DOT}attentions|^lora_te_text_model")),
    ("sdxl", re.compile(rf"^{_UNET_BLOCKS}|^lora_te2_text_model|^text_encoder_2\.text_model|{_DEEP}")),
    ("wan", re.compile(rf"^{_WAN_BLOCK}")),
)

_WIDTHS: Mapping[str, Mapping[int, str]] = {
    "cross": {768: "sd1", 1024: "sd1", 2048: "sdxl"},
    "flux": {3072: "flux", 6144: "flux2", 4096: "flux2"},
}
"""Width of what a layer reads → base. Cross attention reads the text: CLIP-L 768, OpenCLIP-H 1024, SDXL 2048."""
_CROSS = re.compile(rf"attn2{_DOT}(?:processor\.)?to_[kv]")
_FLUX_QUERY = re.compile(rf"(?:img|txt)_attn{_DOT}qkv|linear1|transformer_blocks{_NUMBER}attn{_DOT}(?:to_[qkv]|add_[qkv]_proj)")
_READS = re.compile(r"(?:lora_down|lora_A|lora\.down|_lora[12]?\.down)(?:\.default)?(?:\.weight)?$")

_SAID: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("flux2", re.compile(r"flux[-_. ]?2")),
    ("flux", re.compile(r"flux")),
    ("sdxl", re.compile(r"sdxl|stable-diffusion-xl|sd_xl|pony|illustrious")),
    ("sd3", re.compile(r"sd3|stable-diffusion-v?3|qwen")),
    ("sd1", re.compile(r"sd[-_]?v?[12](?:\b|_|\.)|stable-diffusion-v[12]")),
    ("hunyuan", re.compile(r"hunyuan")),
    ("wan", re.compile(r"\bwan")),
)
_SAYING = ("modelspec.architecture", "ss_base_model_version")
"""Metadata in which trainers write the base model: modelspec's field, and kohya's."""


def is_lora(header: Header) -> bool:
    """Whether a file holds parts of a LoRA at all, and not a whole model."""
    return any(PART.search(key) for key in header.tensors)


def base_of(header: Header) -> str | None:
    """Detect the base model that a LoRA was made for: a key of ``NAMES``; None when neither its keys nor its metadata tell.

    The names of the tensors decide; widths tell apart what shares names; metadata, which anybody may write, comes last.
    """
    votes: Counter[str] = Counter()
    for key in header.tensors:
        sign = next((base for base, pattern in _SIGNS if pattern.search(key)), None)
        if sign is not None:
            votes[sign] += 1
    # One key that only another family has outweighs a thousand that both have.
    found = next((base for base in ("hunyuan", "flux2", "sd1") if votes[base] and not votes["sdxl"]), None)
    found = found or (votes.most_common(1)[0][0] if votes else None)
    return _by_width(header, found) or found or _base_of_header(header)


def _by_width(header: Header, found: str | None) -> str | None:
    """Compare the tensors' widths where names are shared: SD 1 and SDXL in diffusers' names, FLUX.1 and FLUX.2."""
    if found not in (None, "flux", "sdxl"):
        return None
    kind, pattern = ("flux", _FLUX_QUERY) if found == "flux" else ("cross", _CROSS)
    seen: Counter[str] = Counter()
    for key, tensor in header.tensors.items():
        if len(tensor.shape) >= 2 and _READS.search(key) and pattern.search(key) and tensor.shape[1] in _WIDTHS[kind]:
            seen[_WIDTHS[kind][tensor.shape[1]]] += 1
    return seen.most_common(1)[0][0] if seen else None


def _base_of_header(header: Header) -> str | None:
    text = " ".join(header.metadata.get(name, "") for name in _SAYING).lower()
    return next((base for base, pattern in _SAID if pattern.search(text)), None)


def not_loaded(keys: Iterable[str], base: str) -> list[str]:
    """Return the names that a model of this base does not take; it leaves them out without an error."""
    keys = list(keys)
    pattern = next((pattern for name, pattern in LOADED.items() if name == base), None)
    if base == "flux" and all(key in keys for key in _XLABS_WHOLE):
        pattern = re.compile(f"^{_XLABS}")
    return [key for key in keys if pattern is None or not pattern.search(key) or not (PART.search(key) or BESIDE.search(key))]
