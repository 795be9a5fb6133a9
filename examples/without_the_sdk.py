"""Call the deployed app with Modal's own client: no ryla_gen on the caller's side, only `pip install modal`.

python examples/without_the_sdk.py "a fox in the snow"

Needs a Modal token and the app: `ryla-gen deploy`. What goes in and comes out is plain data; docs/contract.md has all of it.
What the SDK adds: checks before anything is sent, progress, jobs found again, budgets, the journal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import modal


def main(prompt: str = "a fox in the snow") -> None:
    flux = modal.Cls.from_name("ryla-comfyui", "Flux")()
    request: dict[str, Any] = {"contract": 2, "inputs": {"prompt": prompt, "width": 512, "height": 512}}
    # Others: Flux.flux_dev, Faces().instantid, Video().wan2, Upscale().seedvr2, … spawn() instead of remote() returns at once.
    reply: dict[str, Any] = flux.flux.remote(request)
    if not reply["ok"]:
        error = reply["error"]
        sys.exit(f"{error['code']}: {error['message']} {error['hint']}")
    generation = reply["generation"]
    for output in generation["outputs"]:
        with Path(output["name"]).open("xb") as file:  # x: never over another file
            file.write(output["data"])
        print(f"{output['name']}: {output['width']}×{output['height']}, seed {generation['seed']}")
    print(f"${generation['cost']['total_usd']:.4f}, {generation['timings']['running']:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:2])
