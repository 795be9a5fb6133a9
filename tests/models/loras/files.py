"""Writes real safetensors files, and LoRAs as each trainer names their tensors. Knows nothing of the code under test."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

BITS = {"F16": 16, "BF16": 16, "F32": 32, "F8_E4M3": 8, "U8": 8, "I64": 64}

Shapes = Mapping[str, tuple[int, ...]]


def safetensors(shapes: Shapes, metadata: Mapping[str, str] | None = None, *, seed: int = 1, dtype: str = "F16") -> bytes:
    """A whole file with tensors of these shapes, their bytes drawn from a seed."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    at = 0
    for name, shape in shapes.items():
        size = BITS[dtype] // 8
        for count in shape:
            size *= count
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the reference library pads so too
    return len(text).to_bytes(8, "little") + text + random.Random(seed).randbytes(at)


def pair(name: str, wide: int, down: str, up: str, alpha: str = "") -> dict[str, tuple[int, ...]]:
    """The two matrices of one layer, of rank 1."""
    return {f"{name}{down}": (1, wide), f"{name}{up}": (8, 1), **({f"{name}{alpha}": ()} if alpha else {})}


def layers(names: Iterable[str], wide: int, down: str, up: str, alpha: str = "") -> dict[str, tuple[int, ...]]:
    return {key: shape for name in names for key, shape in pair(name, wide, down, up, alpha).items()}


KOHYA = (".lora_down.weight", ".lora_up.weight", ".alpha")
PEFT = (".lora_A.weight", ".lora_B.weight")

LORAS: dict[str, tuple[str | None, Shapes]] = {
    "flux, kohya": (
        "flux",
        layers(["lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_single_blocks_37_linear1"], 3072, *KOHYA)
        | layers(["lora_te1_text_model_encoder_layers_0_mlp_fc1"], 768, *KOHYA),
    ),
    "flux, diffusers": (
        "flux",
        layers(
            ["transformer.single_transformer_blocks.3.attn.to_q", "transformer.transformer_blocks.0.attn.add_k_proj"], 3072, *PEFT
        ),
    ),
    "flux, ai-toolkit": ("flux", layers(["diffusion_model.double_blocks.0.img_attn.qkv"], 3072, *PEFT)),
    "flux, SimpleTuner LyCORIS": (
        "flux",
        {
            "lycoris_single_transformer_blocks_0_attn_to_q.lokr_w1": (4, 4),
            "lycoris_single_transformer_blocks_0_attn_to_q.lokr_w2": (8, 8),
        },
    ),
    "flux, OneTrainer": ("flux", layers(["lora_transformer_single_transformer_blocks_0_attn_to_q"], 3072, *KOHYA)),
    "flux, XLabs": (
        "flux",
        {"double_blocks.0.processor.qkv_lora1.down.weight": (1, 3072), "double_blocks.0.processor.qkv_lora1.up.weight": (9216, 1)},
    ),
    "sdxl, kohya": (
        "sdxl",
        layers(["lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"], 2048, *KOHYA)
        | layers(["lora_te2_text_model_encoder_layers_0_mlp_fc1"], 1280, *KOHYA),
    ),
    "sdxl, diffusers": (
        "sdxl",
        layers(["unet.down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k"], 2048, ".lora.down.weight", ".lora.up.weight"),
    ),
    "sdxl, told by its width": ("sdxl", layers(["unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"], 2048, *PEFT)),
    "wan, ComfyUI": ("wan", layers(["diffusion_model.blocks.0.self_attn.q", "diffusion_model.blocks.29.ffn.2"], 1536, *PEFT)),
    "wan, kohya": ("wan", layers(["lora_unet_blocks_0_cross_attn_k"], 1536, *KOHYA)),
    "wan, VideoX-Fun": ("wan", layers(["lora_unet__blocks_0_cross_attn_k"], 5120, *KOHYA)),
    "wan, diffusers": ("wan", layers(["transformer.blocks.0.attn1.to_q"], 1536, *PEFT)),
    "sd 1, kohya": ("sd1", layers(["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"], 768, *KOHYA)),
    "sd 1, told by its width": ("sd1", layers(["unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"], 768, *PEFT)),
    "hunyuan": (
        "hunyuan",
        layers(["lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_double_blocks_0_img_mlp_fc1"], 3072, *KOHYA),
    ),
    "flux 2": ("flux2", layers(["diffusion_model.double_blocks.0.img_attn.qkv"], 6144, *PEFT)),
    "nobody knows": (None, layers(["model.layers.0.wonder"], 64, *PEFT)),
}
"""Kind → base model and tensors, under the names that the tools write."""


def lora(kind: str = "flux, kohya", *, seed: int = 1, metadata: Mapping[str, str] | None = None) -> bytes:
    """A LoRA of some kind, its content drawn from a seed."""
    return safetensors(LORAS[kind][1], metadata, seed=seed)


def stored(folder: Path, name: str, data: bytes) -> Path:
    """Write a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def file_name(data: bytes) -> str:
    """What the contract calls a stored content."""
    return f"{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
