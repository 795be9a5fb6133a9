"""Define the emulated models, text encoders and VAEs, and tell their families apart by file names. Knows no nodes, no files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from . import latents
from .conditioning import Control, Look, ReferenceFace
from .sampling.flow import FLUX_2, FLUX_DEV, FLUX_SCHNELL, QWEN_IMAGE, SD3, SDXL, WAN, Z_IMAGE, ModelSampling


@dataclass(frozen=True)
class Model:
    """A loaded diffusion model with everything patched onto it. Nodes make changed copies."""

    name: str
    space: str
    """Which latents it reads: ``sdxl``, ``flux``, ``flux2``, ``wan``, ``wan22``, ``sd3``, or ``any``."""
    sampling: ModelSampling
    looks: tuple[Look, ...] = ()
    faces: tuple[ReferenceFace, ...] = field(default=(), compare=False)
    controls: tuple[Control, ...] = field(default=(), compare=False)
    differential: float | None = None
    """How strictly each place begins to change at the level that its grey in a mask says; none for an ordinary mask."""
    measures_depth: bool = False
    """Whether it gives the depth of the picture it starts from, as Lotus does."""

    @property
    def is_video(self) -> bool:
        """Whether its latents have a time axis."""
        return self.space in VIDEO

    @property
    def edits(self) -> bool:
        """Whether it looks at reference pictures; Stable Diffusion and Wan do not."""
        return self.space not in WITHOUT_EDITS

    def with_control(self, control: Control) -> Model:
        """Return a copy that follows one more picture's shapes; strength 0 changes nothing."""
        return self if control.strength == 0.0 else replace(self, controls=(*self.controls, control))

    def with_look(self, look: Look) -> Model:
        """Return a copy with one more LoRA; strength 0 changes nothing."""
        return self if look.strength == 0.0 else replace(self, looks=(*self.looks, look))

    def with_face(self, face: ReferenceFace) -> Model:
        """Return a copy that follows one more reference face."""
        return replace(self, faces=(*self.faces, face))

    def with_sampling(self, sampling: ModelSampling) -> Model:
        """Return a copy with another noise schedule."""
        return replace(self, sampling=sampling)


@dataclass(frozen=True)
class Clip:
    """A text encoder."""

    name: str
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True)
class Vae:
    """A latent decoder and encoder."""

    name: str
    space: str


ANY = "any"
"""The family of a file whose name says nothing: its latents fit every model and every VAE, still or moving."""

VIDEO = ("wan", "wan22")
"""Families whose latents have a time axis."""

WITHOUT_EDITS = ("sdxl", "sd3", *VIDEO)
"""Families that look at no reference pictures."""

VISIBLE_CHANNELS = {"sdxl": 4, "flux2": 128, "wan22": 48}
"""Channels a family's latents show to the outside where that is not the 16 that every emulated latent holds."""

_Z_IMAGE_NAMES = ("z_image", "z-image", "zimage")
"""What the names of Z-Image's files contain."""

STABLE_DIFFUSION = (
    "sdxl", "sd_xl", "sd-xl", "xl_", "_xl", "pony", "illustrious", "juggernaut", "realvis", "sd15", "sd1.5", "sd_1", "v1-5", "v2-1",
)  # fmt: skip
"""What the names of SDXL's and Stable Diffusion's files contain; both are emulated as SDXL."""

FLOWS_IN_CHECKPOINTS = ("ltx", "ace_step", "stable_audio", "hidream", "lumina", "neta", "hunyuan3d", "hunyuan_3d", "omnigen")
"""What the names of whole checkpoints contain that hold a rectified flow; the others are taken for relatives of SDXL."""


def visible_channels(space: str) -> int:
    """Return how many channels a real latent of that family has."""
    return VISIBLE_CHANNELS.get(space, latents.CHANNELS)


def fits_together(one: str, other: str) -> bool:
    """Whether a model or VAE of one family takes the latents of another; an unknown family adopts what it is given."""
    return ANY in (one, other) or visible_channels(one) == visible_channels(other)


def model_for(file_name: str, *, whole: bool = False) -> Model:
    """Return the emulated model behind a file name: families are told apart by the names people give their files.

    Args:
        file_name: as the graph names it.
        whole: whether it is a checkpoint with everything in it, not a diffusion model alone.

    """
    name = file_name.lower()
    if "lotus" in name:
        return Model(file_name, "sdxl", SDXL, measures_depth=True)
    if any(word in name for word in STABLE_DIFFUSION):
        return Model(file_name, "sdxl", SDXL)
    if _is_wan_22_5b(name):
        return Model(file_name, "wan22", WAN)
    if ("wan" in name or "hunyuan" in name) and "3d" not in name and "image" not in name:
        return Model(file_name, "wan", WAN)
    if "schnell" in name:
        return Model(file_name, "flux", FLUX_SCHNELL)
    if _is_flux_2(name):
        return Model(file_name, "flux2", FLUX_2)
    if "flux" in name or "kontext" in name:
        return Model(file_name, "flux", FLUX_DEV)
    if "qwen" in name and "image" in name:
        return Model(file_name, ANY, QWEN_IMAGE)
    if any(word in name for word in _Z_IMAGE_NAMES):
        return Model(file_name, ANY, Z_IMAGE)
    if "sd3" in name or "stable-diffusion-3" in name:
        return Model(file_name, "sd3", SD3)
    return Model(file_name, ANY, SDXL if whole and not any(word in name for word in FLOWS_IN_CHECKPOINTS) else SD3)


def vae_for(file_name: str) -> Vae:
    """Return the emulated VAE behind a file name."""
    name = file_name.lower()
    if _is_wan_22_5b(name):
        return Vae(file_name, "wan22")
    if "wan" in name or "hunyuan" in name:
        return Vae(file_name, "wan")
    if _is_flux_2(name):
        return Vae(file_name, "flux2")
    if any(word in name for word in ("sdxl", "840000", "sd15")):
        return Vae(file_name, "sdxl")
    if "sd3" in name:
        return Vae(file_name, "sd3")
    return Vae(file_name, "flux" if name in ("ae.safetensors", "ae.sft") or "flux" in name else ANY)


def _is_wan_22_5b(name: str) -> bool:
    """Whether a file belongs to Wan 2.2's 5B model, which has a VAE of its own; the 14B models share that of Wan 2.1."""
    return any(word in name for word in ("wan2.2_ti2v", "wan2_2_ti2v", "wan2_2-ti2v", "wan2.2-ti2v", "wan2.2_vae", "wan2_2_vae"))


def _is_flux_2(name: str) -> bool:
    return any(word in name for word in ("flux2", "flux-2", "flux.2"))
