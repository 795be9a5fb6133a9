"""Run a ComfyUI graph of your own, with another prompt, seed and values.

python examples/custom_graph.py [GRAPH_api.json]

A file that ComfyUI saved in its own format becomes one in the API format with `ryla-gen graph convert`.
"""

from __future__ import annotations

import sys
from typing import Any

from ryla_gen import Client, CustomWorkflow

SAMPLING: dict[str, Any] = {"steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0, "seed": 7}
LINKS: dict[str, Any] = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
GRAPH: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "flux1-schnell-fp8.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a fox"}},
    "3": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "4": {"class_type": "KSampler", "inputs": {**LINKS, **SAMPLING}},
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "fox"}},
}


def main(path: str | None = None) -> None:
    request = CustomWorkflow.from_file(path) if path else CustomWorkflow(graph=GRAPH)
    # prompt goes to the text nodes that reach a sampler; any other value is named by node (id, title or class) and input.
    request = request.changed(prompt="a fox under the northern lights")
    if not path:
        request = request.with_values({"KSampler.steps": 3, "3.width": 384})
    with Client() as client:
        generation = client.run(request)
    print(*generation.save("graph-{seed}-{job}.png"), f"seed {generation.seed}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
