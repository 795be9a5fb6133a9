"""Chooses ComfyUI's device again, in a container that was restored from a snapshot in which no GPU could be seen.

The image has it as a node pack without nodes: ``custom_nodes/ryla_snapshot/__init__.py``. ComfyUI was started with ``--cpu`` and
decided by that what it does; ``POST /ryla/device`` takes the flag back where there is a GPU now, and has the one module that
decided decide again. ``check_snapshot.py`` holds ComfyUI's source against what is assumed here.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import sys
from typing import Any

import comfy.cli_args
import comfy.model_management
import numpy
import torch
from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, Any] = {}


@PromptServer.instance.routes.post("/ryla/device")  # type: ignore[untyped-decorator]
async def choose_device(_: web.Request) -> web.Response:
    """Choose the device again, and say which it is. On ComfyUI's own loop: nothing may run meanwhile."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    for seed in (random.seed, numpy.random.seed, torch.seed):
        seed()  # else every container of one snapshot would draw the same numbers
    comfy.cli_args.args.cpu = not torch.cuda.is_available()
    importlib.reload(comfy.model_management)
    for kernels in ("cuda", "triton"):  # kernels of 0.28 for quantized weights: they asked too, when imported
        if module := sys.modules.get(f"comfy_kitchen.backends.{kernels}"):
            module._register()
    device = comfy.model_management.get_torch_device()
    logging.info("ryla_snapshot: the device is %s", device)
    return web.json_response({"device": str(device)})
