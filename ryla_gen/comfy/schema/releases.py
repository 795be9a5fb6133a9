"""List what ComfyUI's releases judge differently: one set of rules each, and the node classes that check inputs themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ...models.node_schemas import GRAPH_VERSION, release_key


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """The inputs that a node class's own check (``VALIDATE_INPUTS``) looks at, in place of ComfyUI's."""

    input: str
    """The input it is about."""
    file: str = ""
    """What it looks for under that name, as its message says it; empty when it accepts everything."""
    needed: bool = True
    """Whether the function fails when the node does not have the input."""
    rest: bool = False
    """Whether it takes all other inputs too, which are then judged by nothing else."""
    unknown: bool = False
    """Whether the class takes inputs that its schema does not list."""

    def covers(self, name: str) -> bool:
        """Whether range and options of an input are left to this function."""
        return self.rest or name == self.input


@dataclass(frozen=True, slots=True)
class Replacement:
    """A class that was renamed or merged: prompts that name the old one are rewritten before they are judged."""

    new: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    """New input to the old one whose value it takes; all others are dropped."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """New input to the value it is set to."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The validation rules of one release."""

    missing_class: Literal["missing_node_type", "invalid_prompt"]
    """The error of a prompt that names an unknown class."""
    checks_combo: bool
    """Whether ``COMBO`` inputs are held against their options, or lists of the older dialect alone."""
    replacements: Mapping[str, Replacement] | None
    """Rewritten before judging; None in a release that rewrites nothing and does not look at the nodes before."""
    own_checks: Mapping[str, OwnCheck]


_IMAGE = OwnCheck("image", "image")
_OWN_CHECKS = {
    "LoadImage": _IMAGE,
    "LoadImageMask": _IMAGE,
    "LoadImageOutput": _IMAGE,
    "WebcamCapture": _IMAGE,
    "LoadLatent": OwnCheck("latent", "latent"),
    "LoadAudio": OwnCheck("audio", "audio"),
    "LoadVideo": OwnCheck("file", "video"),
}
_NEWER_OWN_CHECKS = {
    "Load3D": OwnCheck("model_file", "3D model", rest=True),
    "Load3DAdvanced": OwnCheck("model_file", "3D model", rest=True),
    "CustomCombo": OwnCheck("choice", rest=True, unknown=True),
    "SelectModelDevice": OwnCheck("device", needed=False),
    "SelectCLIPDevice": OwnCheck("device", needed=False),
    "SelectVAEDevice": OwnCheck("device", needed=False),
}
_REPLACEMENTS = {
    "ResizeImagesByLongerEdge": Replacement(
        "ImageScaleToMaxDimension", {"image": "images", "largest_size": "longer_edge"}, {"upscale_method": "lanczos"}
    ),
    "ImageBatch": Replacement("BatchImagesNode", {"images.image0": "image1", "images.image1": "image2"}),
    "ImageScaleBy": Replacement(
        "ResizeImageMaskNode",
        {"input": "image", "resize_type.multiplier": "scale_by", "scale_method": "upscale_method"},
        {"resize_type": "scale by multiplier"},
    ),
    "T2IAdapterLoader": Replacement("ControlNetLoader", {"control_net_name": "t2i_adapter_name"}),
    "Load3DAnimation": Replacement("Load3D"),
    "Preview3DAnimation": Replacement("Preview3D"),
    "SDV_img2vid_Conditioning": Replacement("SVD_img2vid_Conditioning"),
    "ConditioningAverage ": Replacement("ConditioningAverage"),
}

RULES: Mapping[str, Rules] = MappingProxyType(
    {
        "0.3.71": Rules("invalid_prompt", False, None, _OWN_CHECKS),
        "0.28.2": Rules("missing_node_type", True, _REPLACEMENTS, _OWN_CHECKS | _NEWER_OWN_CHECKS),
    }
)
"""Release to its rules, oldest first."""


def rules_of(version: str = GRAPH_VERSION) -> Rules:
    """Return the rules of a release; without rules of its own, those of the newest that is not newer, else the oldest.

    Args:
        version: as a server says it in ``/system_stats``; one that cannot be read counts as the newest.

    """
    wanted = release_key(version)
    fitting = [name for name in RULES if wanted is None or release_key(name) <= wanted]  # type: ignore[operator]
    return RULES[fitting[-1] if fitting else next(iter(RULES))]
