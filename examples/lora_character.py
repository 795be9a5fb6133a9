"""A character of your own: store its LoRA once, name it in requests.

python examples/lora_character.py ada.safetensors "ohwx woman"

Without a file a tiny LoRA of random numbers is made, so that there is something to push: it is no character.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from ryla_gen import Client


def sample(path: Path = Path("sample-lora.safetensors")) -> Path:
    """Write a rank-4 LoRA for one layer of FLUX.1: a header's length, the header, and the numbers."""
    names = ("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight")
    size = 4 * 3072 * 2
    shapes = zip(names, ([4, 3072], [3072, 4]), (0, size), strict=True)
    header = json.dumps({name: {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]} for name, shape, at in shapes})
    if not path.exists():
        path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + random.Random(7).randbytes(2 * size))
    return path


def main(file: str | None = None, trigger_word: str = "ohwx woman") -> None:
    with Client() as client:
        pushed = client.loras.push(file or sample(), trigger_words=trigger_word)  # the second time nothing is sent
        print(f"{pushed.card.id} for {pushed.card.base}: {pushed.outcome}, {pushed.sent} bytes sent")
        for scene in ("reading in a café", "on a bridge in the rain"):
            picture = client.flux_lora(prompt=scene, lora_id=pushed.card.id, trigger_word=trigger_word, width=384, height=384)
            print(*picture.save(f"{pushed.card.id}-{{seed}}.png"), *(warning.message for warning in picture.warnings))


if __name__ == "__main__":
    main(*sys.argv[1:3])
