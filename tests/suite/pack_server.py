"""Serve the emulator with one node class more, as a ComfyUI with a node pack does: for tests that start it in ComfyUI's place."""

from __future__ import annotations

import argparse
from pathlib import Path

from ryla_gen.emulator.base import Context, NodeResult, node
from ryla_gen.emulator.latents import Array
from ryla_gen.emulator.server import Emulator

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


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--comfyui")
    given = parser.parse_args()
    node(KIND)(sharpen_it)  # here, so that a test that imports the name has no more nodes
    Emulator(given.folder, port=given.port, schemas={KIND: SCHEMA}, comfyui=given.comfyui).serve_forever()


if __name__ == "__main__":
    main()
