"""List the names ComfyUI gives to samplers, schedulers and formats, for field types. Must not build anything."""

from __future__ import annotations

from typing import Literal

Sampler = Literal[
    "euler",
    "euler_ancestral",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde",
    "ddpm",
    "lcm",
    "ipndm",
    "deis",
    "res_multistep",
    "gradient_estimation",
    "er_sde",
    "seeds_2",
    "sa_solver",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
]
"""Samplers of ComfyUI 0.3.71 (less the CFG++ and GPU-noise variants; a custom graph can name those)."""

Scheduler = Literal[
    "simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic", "kl_optimal"
]
"""Schedulers of ComfyUI 0.3.71."""

OutputFormat = Literal["png", "jpeg", "webp"]
"""How a picture is delivered. PNG is lossless; the others are re-encoded from it, metadata kept in EXIF."""

FaceProvider = Literal["CPU", "GPU"]
"""Where the face is looked for. GPU is the nodes' CUDA."""

PROVIDER_NAME = {"CPU": "CPU", "GPU": "CUDA"}
"""What the face nodes call the providers."""
