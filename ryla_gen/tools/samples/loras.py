"""Make LoRA files with the names and shapes of one layer of their model, so that ComfyUI loads them. They change nothing there.

One matrix of the pair is small numbers, the other zeros, as before the first step of a training.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple


class Layer(NamedTuple):
    """A layer of a model."""

    name: str
    reads: int
    """Numbers that it reads."""
    writes: int
    """Numbers that it writes."""


LORAS = {
    "mira.safetensors": Layer("diffusion_model.double_blocks.0.img_attn.qkv", 3072, 9216),
    "mira-z.safetensors": Layer("diffusion_model.layers.0.attention.to_q", 3840, 3840),
    "mira-qwen.safetensors": Layer("transformer_blocks.0.txt_mlp.net.2", 12288, 3072),
    "mira-wan.safetensors": Layer("diffusion_model.blocks.0.self_attn.q", 1536, 1536),
}
"""File → the layer that it is for, of FLUX.1, Z-Image, Qwen-Image and Wan 2.1 1.3B."""

HALF = 2
"""Bytes of a number of 16 bits."""


def lora_file(name: str) -> bytes:
    """Build one of :data:`LORAS`: a safetensors file of rank 1, the same bytes every time."""
    layer = LORAS[name]
    shapes = {f"{layer.name}.lora_A.weight": (1, layer.reads), f"{layer.name}.lora_B.weight": (layer.writes, 1)}
    header: dict[str, object] = {"__metadata__": {"format": "pt", "modelspec.title": name.partition(".")[0]}}
    at = 0
    for key, shape in shapes.items():
        end = at + shape[0] * shape[1] * HALF
        header[key] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # as the format's own library does
    return len(text).to_bytes(8, "little") + text + _small_numbers(name, layer.reads) + bytes(layer.writes * HALF)


def _small_numbers(name: str, count: int) -> bytes:
    """Draw 16-bit floats between 0.016 and 0.020 of either sign from a name; never an infinity or no number."""
    drawn = hashlib.shake_128(name.encode()).digest(count)
    return bytes(byte for low in drawn for byte in (low, 0x24 | (low & 1) << 7))
