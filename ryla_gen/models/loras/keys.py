"""Detect from the names of a LoRA's tensors, and their widths, which base model and which size of it the LoRA was made for.

The names are facts of the tools that write them: kohya's sd-scripts and musubi-tuner, diffusers and PEFT, ai-toolkit, SimpleTuner,
OneTrainer, LyCORIS, XLabs, DiffSynth. Which of them ComfyUI loads is another question: see ``loading``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ..safetensors import Header

Base = Literal["flux", "sdxl", "wan", "z_image", "qwen", "flux2"]
"""Base models whose LoRAs are of use here."""
BASES: tuple[Base, ...] = get_args(Base)

NAMES: Mapping[str, str] = {
    "flux": "FLUX.1",
    "sdxl": "SDXL",
    "wan": "Wan",
    "z_image": "Z-Image",
    "qwen": "Qwen-Image",
    "flux2": "FLUX.2",
    "sd1": "Stable Diffusion 1.x or 2.x",
    "sd3": "Stable Diffusion 3",
    "hunyuan": "HunyuanVideo or HunyuanImage",
    "lumina2": "Lumina 2",
    "chroma": "Chroma",
    "krea2": "Krea 2",
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

_WRAPPING = re.compile(
    r"^(?:lora_unet__?|lora_transformer_|lycoris_|(?:base_model\.model\.)?(?:pipe\.dit\.|unet\.|transformer\.|model\.)?(?:diffusion_model\.)?)"
)
"""What trainers put in front of a layer's name; it tells nothing of the model."""

_DEEP = r"(?:(?:down|up)_blocks_\d+|mid_block)_attentions_\d+_transformer_blocks_[1-9]"
"""SDXL's transformers are up to ten layers deep, those of SD 1 and 2 one."""
_BLOCK = r"transformer_blocks_\d+_"

_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # Of layers' names with underscores for dots. The first match decides, so a name with one distinguishing detail stands
    # before the one it resembles. "joint" are blocks whose names FLUX.1, FLUX.2, Qwen-Image and Stable Diffusion 3 share.
    ("hunyuan", re.compile(r"_blocks_\d+_(?:(?:img|txt)_(?:mlp_fc[12]|mod_linear)|modulation_linear)|token_refiner")),
    ("flux2", re.compile(r"(?:double|single)_stream_modulation|ff(?:_context)?_linear_(?:in|out)$|attn_to_qkv_mlp_proj")),
    ("flux2", re.compile(rf"^single_{_BLOCK}attn_to_out$")),
    ("chroma", re.compile(r"^distilled_guidance_layer")),
    ("krea2", re.compile(rf"^text_fusion_|^{_BLOCK}(?:attn_to_gate|ff_(?:gate|up|down))$")),
    ("qwen", re.compile(rf"^{_BLOCK}(?:img|txt)_(?:mlp_net|mod_1)")),
    ("sd3", re.compile(r"^joint_blocks_\d+_(?:x|context)_block_")),
    ("flux", re.compile(rf"^(?:double_blocks_\d+_(?:(?:img|txt)_(?:attn|mlp|mod)|processor)_|single_{_BLOCK}(?:attn|norm|proj)_)")),
    ("flux", re.compile(r"^single_blocks_\d+_(?:linear[12]|modulation_lin$|processor_)|^vector_in_")),
    ("joint", re.compile(rf"^{_BLOCK}(?:attn_(?:to|add)_|norm1(?:_context)?_linear|ff(?:_context)?_net)")),
    ("lumina2", re.compile(r"^(?:layers|noise_refiner|context_refiner)_\d+_(?:attn_to_|feed_forward_linear_)")),
    ("z_image", re.compile(r"^(?:layers|noise_refiner|context_refiner)_\d+_(?:attention_|feed_forward_w[123]$|adaLN_modulation)")),
    ("sd1", re.compile(r"^down_blocks_0_attentions|^up_blocks_3_attentions|^lora_te_text_model")),
    (
        "sdxl",
        re.compile(rf"^(?:input_blocks|middle_block|output_blocks)_|^lora_te2_text_model|^text_encoder_2_text_model|^{_DEEP}"),
    ),
    ("wan", re.compile(r"^blocks_\d+_(?:self|cross)_attn_(?:[qkvo]|norm_[qk]|[kv]_img|norm_k_img)$")),
    ("wan", re.compile(r"^blocks_\d+_(?:attn[12]_(?:to|add|norm)_|ffn_(?:0|2|net)|modulation$|norm3$)")),
)
_ONLY = ("hunyuan", "flux2", "chroma", "krea2", "qwen", "sd3")
"""Bases of signs that no other base has: one of them outweighs a thousand that are shared."""
_DOTTED_HUNYUAN = re.compile(r"(?:double_blocks\.\d+\.(?:img|txt)_attn_(?:qkv|proj))\b")
"""HunyuanVideo's ``img_attn_qkv`` beside FLUX' ``img_attn.qkv``: only dotted names show it."""

_CROSS = re.compile(r"^(?:(?:down|up)_blocks_\d+|mid_block)_attentions_\d+_transformer_blocks_\d+_attn2_(?:processor_)?to_[kv]$")
_CROSS_WIDTHS = {768: "sd1", 1024: "sd1", 2048: "sdxl"}
"""Width of the text that cross attention reads → base: CLIP-L 768, OpenCLIP-H 1024, SDXL both its encoders' 2048."""
_ATTENTION = re.compile(r"attn(?:_|\d_)(?:qkv|to_[qkv]|add_[qkv]_proj|[qkv])|attention_(?:qkv|to_[qkv])|linear1|qkv_lora")
"""Layers that read what runs through the blocks, so that their width is the model's."""
_FLUX_WIDTHS = {3072: "flux", 6144: "flux2", 4096: "flux2", 3584: "hunyuan", 2048: "hunyuan"}
"""FLUX.1 and FLUX.2 klein 4B share a width; HunyuanImage and HunyuanVideo 1.5 have the last two."""
_JOINT_WIDTHS = {6144: "flux2", 4096: "flux2", 1536: "sd3", 2432: "sd3"}
_Z_IMAGE_WIDTHS = {3840: "z_image", 2304: "lumina2"}
_KLEIN_MLP = {("linear1", "out"): 27648, ("linear2", "in"): 12288, ("mlp_0", "out"): 18432, ("mlp_2", "in"): 9216}
"""Widths of FLUX.2 klein 4B where FLUX.1's differ: its MLP is three times as wide as the model and gated, FLUX.1's four times."""
_KLEIN_BLOCKS = {"double": set(range(5)), "single": set(range(20))}
_DOUBLE_BLOCKS, _SINGLE_BLOCKS = 19, 38
"""Of FLUX.1. HunyuanVideo has one and two more; of those that share names only Qwen-Image (60) has more double ones,
and FLUX.2-dev (48) more single ones."""

_VARIANTS: Mapping[str, Mapping[int, str]] = {
    "wan": {1536: "1.3B", 3072: "5B", 5120: "14B"},
    "flux2": {3072: "klein 4B", 4096: "klein 9B", 6144: "dev"},
}
"""Base → width of the model → the size of it that people name. LoRAs of one size find no place in another: their shapes differ."""

_DOWN = r"[._](?:lora_down|lora_A|lora\.down|lora[12]?\.down|lora_linear_layer\.down)(?:\.default)?(?:\.weight)?$"
_UP = r"[._](?:lora_up|lora_B|lora\.up|lora[12]?\.up|lora_linear_layer\.up)(?:\.default)?(?:\.weight)?$"
_READS = re.compile(rf"{_DOWN}|\.(?:hada_w1_b|lokr_w[12]_b|lokr_w[12]|diff)$")
_WRITES = re.compile(rf"{_UP}|\.(?:hada_w1_a|lokr_w[12]_a|lokr_w[12]|diff)$")

_SAID: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("flux2", re.compile(r"flux[-_. ]?2|klein")),
    ("flux", re.compile(r"flux")),
    ("z_image", re.compile(r"z[-_ ]?image")),
    ("qwen", re.compile(r"qwen[-_ ]?image")),
    ("lumina2", re.compile(r"lumina")),
    ("sdxl", re.compile(r"sdxl|stable-diffusion-xl|sd_xl|pony|illustrious")),
    ("sd3", re.compile(r"sd3|stable-diffusion-v?3")),
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

    The names of the tensors decide; widths and numbers of blocks tell apart what shares names; metadata, which anybody may write,
    comes last.
    """
    layers = _layers(header)
    votes = _votes(layers)
    if any(_DOTTED_HUNYUAN.search(key) for key in header.tensors):
        return "hunyuan"
    found = next((base for base in _ONLY if votes[base]), None)
    found = found or ("sd1" if votes["sd1"] and not votes["sdxl"] else None)
    found = found or (votes.most_common(1)[0][0] if votes else None)
    return _decide(found, layers, votes) or _base_of_header(header)


def variant_of(header: Header, base: str) -> str:
    """Detect the size of the base model that a LoRA was made for, by its width; empty where there is one size, or none is told."""
    return _VARIANTS.get(base, {}).get(_width(_layers(header)), "")


def variant_named(name: str, base: str) -> str:
    """Return the size of a base model that a model file's name tells, in any order of words; empty when it tells none."""
    words = _words(name.lower().replace("a14b", "14b"))  # Wan 2.2's makers count the active part: A14B
    return next((size for size in _VARIANTS.get(base, {}).values() if _words(size.lower()) <= words), "")


def _words(text: str) -> set[str]:
    return set(re.split(r"[-_. ]+", text))


@dataclass(slots=True)
class _Layer:
    """The widths that the factors of one layer multiply to."""

    reads: int = 1
    writes: int = 1


def _layers(header: Header) -> dict[str, _Layer]:
    """Return a file's layers, named with underscores and without what trainers put in front, with their widths where known."""
    found: dict[str, _Layer] = defaultdict(_Layer)
    for key, tensor in header.tensors.items():
        layer = found[_plain_name(key)]
        if len(tensor.shape) >= 2:
            layer.reads *= tensor.shape[1] if _READS.search(key) else 1
            layer.writes *= tensor.shape[0] if _WRITES.search(key) else 1
    return dict(found)


def _plain_name(key: str) -> str:
    layer = BESIDE.sub("", PART.sub("", key))
    return _WRAPPING.sub("", layer).replace(".", "_")


def _votes(layers: Iterable[str]) -> Counter[str]:
    signs = (next((base for base, pattern in _SIGNS if pattern.search(layer)), None) for layer in layers)
    return Counter(sign for sign in signs if sign is not None)


def _decide(found: str | None, layers: Mapping[str, _Layer], votes: Counter[str]) -> str | None:
    """Compare widths and blocks where names are shared."""
    if found == "joint" and votes["flux"]:
        found = "flux"
    if found is None:
        return _by_cross_attention(layers)
    return _COMPARED[found](layers) if found in _COMPARED else found


def _sdxl_or_like(layers: Mapping[str, _Layer]) -> str | None:
    return _by_cross_attention(layers) or "sdxl"


def _z_image_or_like(layers: Mapping[str, _Layer]) -> str | None:
    """Tell Z-Image and Lumina 2 apart; None for a model of another width."""
    width = _width(layers)
    return _Z_IMAGE_WIDTHS.get(width) if width > 1 else "z_image"


def _flux_or_like(layers: Mapping[str, _Layer]) -> str | None:
    """Tell FLUX.1, FLUX.2 and Hunyuan apart where only names that they share are in the file."""
    width = _width(layers)
    told = _FLUX_WIDTHS.get(width, "flux")
    if told != "flux":
        return told
    doubles, singles = _blocks(layers, "double"), _blocks(layers, "single")
    if width == 1 and max(singles, default=0) > _SINGLE_BLOCKS + 1:
        return "flux2"
    if max(doubles, default=0) >= _DOUBLE_BLOCKS or max(singles, default=0) >= _SINGLE_BLOCKS:
        return "hunyuan"
    return "flux2" if width > 1 and _is_klein(layers, doubles, singles) else "flux"


def _is_klein(layers: Mapping[str, _Layer], doubles: set[int], singles: set[int]) -> bool:
    """Whether a LoRA of FLUX.1's width is one for FLUX.2 klein 4B: its MLP tells, else that it has all blocks and no more."""
    for name, layer in layers.items():
        for (end, side), width in _KLEIN_MLP.items():
            actual = layer.writes if side == "out" else layer.reads
            if name.endswith(f"_{end}") and actual > 1:
                return actual == width
    if any(
        re.search(r"mod_lin$|modulation_lin$|^vector_in|norm1(?:_context)?_linear|norm_linear|proj_mlp", name) for name in layers
    ):
        return False
    return bool(doubles or singles) and doubles in (set(), _KLEIN_BLOCKS["double"]) and singles in (set(), _KLEIN_BLOCKS["single"])


def _joint(layers: Mapping[str, _Layer]) -> str | None:
    """Tell models apart of which only double blocks in diffusers' names are in the file."""
    width, doubles = _width(layers), _blocks(layers, "double")
    if width in _JOINT_WIDTHS:
        return _JOINT_WIDTHS[width]
    if width not in (1, 3072):
        return None
    attention_only = not any(re.search("_ff_|_norm1_|_ff_context_|_norm1_context_", name) for name in layers)
    if attention_only and max(doubles, default=0) >= _DOUBLE_BLOCKS:
        return "qwen"
    if width == 1:
        return None
    return "flux2" if attention_only and _is_klein(layers, doubles, set()) else "flux"


_COMPARED: Mapping[str, Callable[[Mapping[str, _Layer]], str | None]] = {
    "flux": _flux_or_like,
    "joint": _joint,
    "z_image": _z_image_or_like,
    "sdxl": _sdxl_or_like,
}
"""What names tell → what compares the widths and blocks of all that have such names."""


def _by_cross_attention(layers: Mapping[str, _Layer]) -> str | None:
    """Tell SD 1 and SDXL apart in diffusers' names."""
    seen = Counter(
        _CROSS_WIDTHS[layer.reads] for name, layer in layers.items() if _CROSS.search(name) and layer.reads in _CROSS_WIDTHS
    )
    return seen.most_common(1)[0][0] if seen else None


def _width(layers: Mapping[str, _Layer]) -> int:
    """Return the width that most attention layers read; 1 when none is known."""
    seen = Counter(layer.reads for name, layer in layers.items() if layer.reads > 1 and _ATTENTION.search(name))
    return seen.most_common(1)[0][0] if seen else 1


def _blocks(layers: Iterable[str], kind: Literal["double", "single"]) -> set[int]:
    """Return the numbers of the blocks of a kind, in either naming."""
    names = {"double": r"^(?:double_blocks|transformer_blocks)_(\d+)_", "single": r"^single_(?:transformer_)?blocks_(\d+)_"}
    return {int(found[1][:6]) for name in layers if (found := re.match(names[kind], name))}


def _base_of_header(header: Header) -> str | None:
    text = " ".join(header.metadata.get(name, "") for name in _SAYING).lower()
    return next((base for base, pattern in _SAID if pattern.search(text)), None)
