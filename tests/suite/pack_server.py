"""Serve the emulator with the node classes of some packs, for tests that start it in ComfyUI's place.

``packs/node_schemas.json`` has the classes of real packs as ComfyUI 0.28.2 listed them with RES4LYF at 022c873 and
ComfyUI_IPAdapter_plus at 9d076a3.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ryla_gen.emulator.base import NODES, Context, NodeResult, node
from ryla_gen.emulator.latents import Array
from ryla_gen.emulator.server import Emulator

RECORDED = Path(__file__).with_name("packs") / "node_schemas.json"
KIND = "Sharpen It"
SCHEMA = {
    "input": {"required": {"image": ["IMAGE"], "amount": ["FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0}]}},
    "output": ["IMAGE"],
    "output_is_list": [False],
    "output_name": ["IMAGE"],
    "name": KIND,
    "display_name": KIND,
    "description": "",
    "python_module": "custom_nodes.Sharp",
    "category": "image",
    "output_node": False,
}


def sharpen_it(context: Context, image: Array, amount: float) -> NodeResult:
    """Do what the pack does: make it brighter, say."""
    return NodeResult((image * (1 - amount) + amount,))


def clownshark_sampler(context: Context, seed: int, **given: Any) -> NodeResult:
    """Sample by Euler over the given levels, whichever of the pack's methods was chosen."""
    [sampler] = NODES["KSamplerSelect"].run(context, sampler_name="euler").outputs
    names = ("model", "positive", "negative", "latent_image", "sigmas", "cfg")
    inputs = {name: given[name] for name in names} | {"noise_seed": seed, "add_noise": True, "sampler": sampler}
    output, denoised = NODES["SamplerCustom"].run(context, **inputs).outputs
    return NodeResult((output, denoised, None))


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--comfyui")
    given = parser.parse_args()
    # Here, so that a test that imports the name has no more nodes. Loaders and adapters are stood in for by their types.
    node(KIND)(sharpen_it)
    node("ClownsharKSampler_Beta")(clownshark_sampler)
    schemas = {KIND: SCHEMA, **json.loads(RECORDED.read_text(encoding="utf-8"))}
    Emulator(given.folder, port=given.port, schemas=schemas, comfyui=given.comfyui).serve_forever()


if __name__ == "__main__":
    main()
