"""Tell which tensors of a LoRA ComfyUI 0.28.2 loads into a model of some base, and which it leaves out. Reads names only.

ComfyUI makes a list of names for each layer of a model and looks them up in the file. What follows are those lists, written down as
spellings: a prefix, and the layers that may follow it. A layer's name that a trainer spells otherwise finds no place, is left out
without an error, and the picture is as if that part of the LoRA were not there. Numbers of blocks are not compared with the
model's: ``keys`` tells the base model by them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .keys import Base

PART = re.compile(
    r"(?:\.lora_(?:up|down|mid)\.weight|_lora\.(?:up|down)\.weight|\.lora\.(?:up|down)\.weight|\.lora_[AB](?:(?:\.default)?\.weight)?"
    r"|\.lora_linear_layer\.(?:up|down)\.weight|\.hada_(?:w[12]_[ab]|t[12])|\.lokr_(?:w[12](?:_[ab])?|t2)|\.oft_blocks|\.[ab][12]\.weight"
    r"|\.[wb]_norm|\.diff(?:_b)?|\.set_weight|\.alpha|\.dora_scale|\.rescale|\.reshape_weight)\Z"
)
"""The ends of names that ComfyUI looks up for each layer; PEFT's bias and magnitude vectors are not among them."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to name the layers of a model."""

    prefixes: tuple[str, ...]
    layers: tuple[str, ...]
    """``#`` is a number, ``(a|b)`` a choice, ``.`` a dot."""
    joined: bool = False
    """Whether every dot is an underscore, as kohya's and LyCORIS' trainers write them."""

    def pattern(self) -> str:
        """Return it as a regular expression for a whole layer's name."""
        dot = "_" if self.joined else r"\."
        prefixes = "|".join(re.escape(prefix) for prefix in self.prefixes)
        layers = "|".join(self.layers).replace("(", "(?:").replace(".", dot).replace("#", r"\d+")
        return rf"(?:{prefixes})(?:{layers})"


def _native(*layers: str) -> tuple[Spelling, Spelling]:
    """ComfyUI's own names, which every model takes: with a prefix and dots, and as kohya joins them."""
    return Spelling(("diffusion_model.",), layers), Spelling(("lora_unet_",), layers, joined=True)


_MM_ATTENTION = "attn.(to_(q|k|v|out.0|add_out)|add_(q|k|v)_proj|norm_(|added_)(q|k))"
"""Of a block that attends to picture and text at once, as diffusers names it."""
_FLUX_DOUBLE = "double_blocks.#.(img|txt)_(attn.(qkv|proj|norm.(query|key)_norm)|mlp.(0|2))"
_FLUX_SINGLE = "single_blocks.#.(linear1|linear2|norm.(query|key)_norm)"
_FLUX_ENDS = ("(img_in|txt_in|(time|guidance)_in.(in|out)_layer|final_layer.(linear|adaLN_modulation.1))",)
_FLUX_QKV = Spelling(("diffusion_model.",), ("single_blocks.#.linear1_qkv",))
_FLUX_BLOCKS = (
    f"transformer_blocks.#.({_MM_ATTENTION}|ff(|_context).(net.0.proj|net.2|linear_in|linear_out))",
    "single_transformer_blocks.#.(attn.(to_(q|k|v|out|qkv_mlp_proj)|norm_(q|k))|proj_mlp|proj_out)",
    "(x_embedder|context_embedder|proj_out|norm_out.linear|time_text_embed.(timestep|guidance)_embedder.linear_(1|2))",
)
_FLUX_1 = ("double_blocks.#.(img|txt)_mod.lin", "single_blocks.#.modulation.lin", "vector_in.(in|out)_layer")
_FLUX_1_DIFFUSERS = (
    "transformer_blocks.#.norm1(|_context).linear",
    "single_transformer_blocks.#.norm.linear",
    "time_text_embed.text_embedder.linear_(1|2)",
)
"""What FLUX.1 has and FLUX.2 has not: one modulation for each block, and a pooled text."""
_FLUX_2 = ("((double_stream_modulation_(img|txt)|single_stream_modulation).lin)",)


def _flux_diffusers(*layers: str) -> tuple[Spelling, Spelling]:
    return Spelling(("", "transformer."), layers), Spelling(("lycoris_", "lora_transformer_"), layers, joined=True)


_CLIP_LAYER = "text_model.encoder.layers.#.(mlp.fc(1|2)|self_attn.(q|k|v|out)_proj)"
_T5_LAYER = (
    "encoder.block.#.layer.#.(SelfAttention.(q|k|v|o|relative_attention_bias)|DenseReluDense.(wi_#|wo)|layer_norm)",
    "(encoder.final_layer_norm|shared)",
)
_CLIP_WHOLE = (
    "transformer.text_(projection|model.(final_layer_norm|embeddings.(position|token)_embedding|encoder.layers.#.layer_norm(1|2)))"
)
_TEXT_ENCODERS: Mapping[str, tuple[Spelling, ...]] = {
    "flux": (
        Spelling(("lora_te_", "lora_te1_"), (_CLIP_LAYER,), joined=True),
        Spelling(("lora_te1_",), ("text_projection",), joined=True),
        Spelling(("lora_te2_", "lora_te3_"), _T5_LAYER, joined=True),
        Spelling(("text_encoder.",), (_CLIP_LAYER,)),
        Spelling(("text_encoders.clip_l.",), (f"transformer.{_CLIP_LAYER}", _CLIP_WHOLE)),
        Spelling(("text_encoders.t5xxl.transformer.", "text_encoders.transformer."), _T5_LAYER),
    ),
    "sdxl": (
        Spelling(("lora_te_", "lora_te1_", "lora_te2_"), (_CLIP_LAYER,), joined=True),
        Spelling(("lora_te1_", "lora_te2_", "lora_prior_te_"), ("text_projection",), joined=True),
        Spelling(("text_encoder.", "text_encoder_2."), (_CLIP_LAYER,)),
        Spelling(("text_encoders.clip_l.", "text_encoders.clip_g."), (f"transformer.{_CLIP_LAYER}", _CLIP_WHOLE)),
    ),
}
"""Only where trainers train them; the other bases' LoRAs are loaded into the model alone."""

_UNET_ATTENTION = "transformer_blocks.#.(attn(1|2).(to_q|to_k|to_v|to_out.0)|ff.net.(0.proj|2)|norm(1|2|3))"
_UNET_REST = "transformer_blocks.#.(ff.net.(0.proj|2)|norm(1|2|3))"
_UNET = (
    f"(input_blocks.#.#|middle_block.#|output_blocks.#.#).(in_layers.(0|2)|emb_layers.1|out_layers.(0|3)|norm|proj_in|proj_out|{_UNET_ATTENTION})",
    "(input_blocks.0.0|(input|output)_blocks.#.#.skip_connection|input_blocks.#.0.op|output_blocks.#.(1|2).conv)",
    "(time_embed.(0|2)|label_emb.0.(0|2)|out.(0|2))",
)
_UNET_RESNETS = (
    "(down_blocks.#|mid_block|up_blocks.#).(attentions.#.(norm|proj_in|proj_out)|resnets.#.(conv1|conv2|norm1|norm2|time_emb_proj))",
    "((down|up)_blocks.#.resnets.#.conv_shortcut|down_blocks.#.downsamplers.0.conv|up_blocks.#.upsamplers.0.conv)",
    "(conv_in|conv_out|conv_norm_out|time_embedding.linear_(1|2)|(add|class)_embedding.linear_(1|2))",
)
_UNET_DIFFUSERS = (f"(down_blocks.#|mid_block|up_blocks.#).attentions.#.{_UNET_ATTENTION}", *_UNET_RESNETS)
_UNET_PROCESSORS = (
    f"(down_blocks.#|mid_block|up_blocks.#).attentions.#.(transformer_blocks.#.attn(1|2).processor.to_(q|k|v|out)|{_UNET_REST})",
    *_UNET_RESNETS,
)
"""Of diffusers' dotted names only the old ones, with ``processor``: today's ``attn1.to_q`` finds no place."""

_Z_IMAGE_REST = "(attention_norm(1|2)|ffn_norm(1|2)|feed_forward.w(1|2|3))"
_Z_IMAGE_MODULATION = "(layers|noise_refiner).#.adaLN_modulation.0"
_Z_IMAGE_BLOCKS = "(layers|noise_refiner|context_refiner).#"
_Z_IMAGE_ENDS = "(cap_embedder.(0|1)|t_embedder.mlp.(0|2))"
_Z_IMAGE = (
    f"{_Z_IMAGE_BLOCKS}.(attention.(qkv|out|q_norm|k_norm)|{_Z_IMAGE_REST})",
    _Z_IMAGE_MODULATION,
    "(x_embedder|final_layer.(linear|adaLN_modulation.1))",
    _Z_IMAGE_ENDS,
)
_Z_IMAGE_DIFFUSERS = (
    f"{_Z_IMAGE_BLOCKS}.(attention.(to_(q|k|v|out.0)|norm_(q|k))|{_Z_IMAGE_REST})",
    _Z_IMAGE_MODULATION,
    "(all_x_embedder.2-1|all_final_layer.2-1.(linear|adaLN_modulation.1))",
    _Z_IMAGE_ENDS,
)
_QWEN = (
    f"transformer_blocks.#.({_MM_ATTENTION}|(img|txt)_(mlp.net.(0.proj|2)|mod.1))",
    "(img_in|txt_in|txt_norm|norm_out.linear|proj_out|time_text_embed.timestep_embedder.linear_(1|2))",
)
_WAN = (
    "blocks.#.((self|cross)_attn.(q|k|v|o|norm_(q|k))|ffn.(0|2)|norm3)",
    "(patch_embedding|(text|time)_embedding.(0|2)|time_projection.1|head.head)",
)
_WAN_IMAGE = ("(blocks.#.cross_attn.(k|v|norm_k)_img|img_emb.proj.(0|1|3|4))",)

SPELLINGS: Mapping[Base, tuple[Spelling, ...]] = {
    "flux": (
        *_native(_FLUX_DOUBLE, _FLUX_SINGLE, *_FLUX_1, *_FLUX_ENDS),
        *_flux_diffusers(*_FLUX_BLOCKS, *_FLUX_1_DIFFUSERS),
        _FLUX_QKV,
        *_TEXT_ENCODERS["flux"],
    ),
    "flux2": (*_native(_FLUX_DOUBLE, _FLUX_SINGLE, *_FLUX_2, *_FLUX_ENDS), *_flux_diffusers(*_FLUX_BLOCKS), _FLUX_QKV),
    "sdxl": (
        *_native(*_UNET),
        Spelling(("lora_unet_", "lycoris_"), _UNET_DIFFUSERS, joined=True),
        Spelling(("", "unet."), _UNET_PROCESSORS),
        *_TEXT_ENCODERS["sdxl"],
    ),
    "wan": (*_native(*_WAN), Spelling(("diffusion_model.",), ("(blocks.#|head).modulation",))),
    "z_image": (
        *_native(*_Z_IMAGE),
        Spelling(("", "transformer.", "diffusion_model."), _Z_IMAGE_DIFFUSERS),
        Spelling(("lycoris_",), _Z_IMAGE_DIFFUSERS, joined=True),
        Spelling(("diffusion_model.",), ("(x|cap)_pad_token",)),
    ),
    "qwen": (*_native(*_QWEN), Spelling(("", "transformer."), _QWEN), Spelling(("lycoris_",), _QWEN, joined=True)),
}


def _compiled(spellings: Iterable[Spelling]) -> re.Pattern[str]:
    return re.compile("|".join(spelling.pattern() for spelling in spellings))


LOADED: Mapping[str, re.Pattern[str]] = {base: _compiled(spellings) for base, spellings in SPELLINGS.items()}
"""Names of the layers that a model of each base has."""
IMAGE_LAYERS = _compiled(_native(*_WAN_IMAGE))
"""Names of the layers that only Wan 2.1's image-to-video models have: their cross attention reads a picture too."""


def not_loaded(keys: Iterable[str], base: str, *, reads_image: bool = True) -> list[str]:
    """Return the names that a model of this base does not take; it leaves them out without an error.

    Args:
        keys: names of all tensors of the file: three makers' names are read only in a file that shows that it is theirs.
        base: of the model.
        reads_image: whether a Wan model has a cross attention for a picture, as only Wan 2.1's image-to-video models have.
    """
    keys, pattern = list(keys), LOADED.get(base)
    patterns = [*([pattern] if pattern else []), *([IMAGE_LAYERS] if base == "wan" and reads_image else [])]
    return [key for key, read in zip(keys, _names_read(keys), strict=True) if not _has_place(read, patterns)]


def image_keys(keys: Iterable[str], base: str) -> list[str]:
    """Return the names that only Wan 2.1's image-to-video models take."""
    keys = list(keys)
    everywhere = set(not_loaded(keys, base))
    return [key for key in not_loaded(keys, base, reads_image=False) if key not in everywhere]


def reads_image(model: str) -> bool:
    """Whether a model's file name is that of a Wan 2.1 image-to-video model."""
    name = model.lower()
    return "i2v" in name and not re.search(r"2[._]2", name)


def _has_place(name: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    part = PART.search(name)
    return part is not None and any(pattern.fullmatch(name, 0, part.start()) for pattern in patterns)


_XLABS = re.compile(
    r"(?P<block>double_blocks\.\d+\.)processor\.(?P<layer>qkv|proj)_lora(?P<stream>[12])(?P<end>\.(?:up|down)\.weight)"
    r"|(?P<single>single_blocks\.\d+\.)processor\.(?P<linear>qkv|proj)_lora(?P<single_end>\.(?:up|down)\.weight)"
)
_XLABS_WHOLE = ("single_blocks.37.processor.qkv_lora.up.weight", "double_blocks.18.processor.qkv_lora2.up.weight")
"""ComfyUI reads XLabs' names only in a file that has these two, the last block of each kind."""
_CONTROL = ("img_in.lora_A.weight", "single_blocks.0.norm.key_norm.scale")
"""Black Forest Labs' own LoRAs for depth and edges have these."""
_FUN = "lora_unet__blocks_0_cross_attn_k.lora_down.weight"
"""VideoX-Fun writes two underscores, and is recognized by this one."""


def _names_read(keys: Collection[str]) -> list[str]:
    """Return the names by which ComfyUI reads a file's tensors: it renames those of three makers before it looks them up."""
    known = set(keys)
    if all(name in known for name in _CONTROL):
        renamed = (key.replace(".lora_B.bias", ".diff_b").replace("_norm.scale", "_norm.set_weight") for key in keys)
        return [f"diffusion_model.{key}" for key in renamed]
    if _FUN in known:
        return [re.sub("^lora_unet__", "lora_unet_", key) for key in keys]
    if all(name in known for name in _XLABS_WHOLE):
        return [_xlabs_name(key) for key in keys]
    return list(keys)


def _xlabs_name(key: str) -> str:
    found = _XLABS.fullmatch(key)
    if found is None:
        return key
    if found["single"]:
        layer = "linear1_qkv" if found["linear"] == "qkv" else "linear2"
        return f"diffusion_model.{found['single']}{layer}.lora{found['single_end'].replace('.', '_', 1)}"
    stream = "img" if found["stream"] == "1" else "txt"
    return f"diffusion_model.{found['block']}{stream}_attn.{found['layer']}.lora{found['end'].replace('.', '_', 1)}"


def group_names(keys: Iterable[str]) -> list[str]:
    """Return the layers that tensors belong to, each kind once: ``diffusion_model.blocks.*.cross_attn.k.img``."""
    layers = (PART.sub("", key) for key in keys)
    return list(dict.fromkeys(re.sub(r"(?<=[._])\d+(?=[._])", "*", layer, count=1) for layer in layers))
