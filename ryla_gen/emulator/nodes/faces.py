"""Emulate nodes of the face packs: InstantID, PuLID for Flux, InfiniteYou. A face is a thumbnail; a flat picture has none."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ..base import Context, NodeResult, node
from ..conditioning import Array, Conditioning, ReferenceFace
from ..model import ANY, Model
from ..style import is_flat, thumbnail

TAKE_INSTANTID = ("sdxl", ANY)
"""Families that InstantID's weights fit."""

_log = logging.getLogger(__name__)

NO_FACE = "Reference Image: No face detected."
"""What ComfyUI_InstantID raises."""


def _load_by_name(context: Context, **names: Any) -> NodeResult:
    """Load a file whose content the emulator does not need: only its name counts."""
    return NodeResult((dict(names),))


for _loader in (
    "InstantIDModelLoader", "InstantIDFaceAnalysis", "PulidFluxModelLoader", "PulidFluxEvaClipLoader",
    "PulidFluxInsightFaceLoader", "PulidFluxOptions", "InfuseNetLoader",
):  # fmt: skip
    node(_loader)(_load_by_name)


def _with_faces(conditioning: Conditioning, face: ReferenceFace) -> Conditioning:
    return tuple(prompt.with_changes(faces=(*prompt.faces, face)) for prompt in conditioning)


def _thumbnail(image: Array) -> Array:
    """Return the thumbnail of a reference; raise InstantID's error where no face can be in it."""
    if is_flat(image[0, ..., :3]):
        raise Exception(NO_FACE)  # the pack raises a bare Exception
    return thumbnail(image[0, ..., :3])


@node("ApplyInstantID")
def apply_instantid(
    context: Context,
    instantid: Any,
    insightface: Any,
    control_net: Any,
    image: Array,
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    weight: float = 0.8,
    start_at: float = 0.0,
    end_at: float = 1.0,
    image_kps: Array | None = None,
    mask: Array | None = None,
) -> NodeResult:
    """Apply InstantID with one strength for both of its halves."""
    return _instantid(image, image_kps, model, positive, negative, weight, weight)


@node("ApplyInstantIDAdvanced")
def apply_instantid_advanced(
    context: Context,
    instantid: Any,
    insightface: Any,
    control_net: Any,
    image: Array,
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    ip_weight: float = 0.8,
    cn_strength: float = 0.8,
    start_at: float = 0.0,
    end_at: float = 1.0,
    noise: float = 0.0,
    combine_embeds: str = "average",
    image_kps: Array | None = None,
    mask: Array | None = None,
) -> NodeResult:
    """Apply InstantID's identity (on the model) and placement (on the prompts), each with its own strength."""
    return _instantid(image, image_kps, model, positive, negative, ip_weight, cn_strength)


def _instantid(
    image: Array,
    image_kps: Array | None,
    model: Model,
    positive: Conditioning,
    negative: Conditioning,
    identity: float,
    placement: float,
) -> NodeResult:
    if model.space not in TAKE_INSTANTID:
        # What ComfyUI_InstantID does on Flux, in PyTorch's words: Flux's pooled text is 768 wide, SDXL's condition 2816.
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x768 and 2816x1280)")
    face = _thumbnail(image)
    placed = face if image_kps is None else _thumbnail(image_kps)
    if identity != 0.0:
        model = model.with_face(ReferenceFace(face, identity, 0.0))
    if placement != 0.0:
        positive = _with_faces(positive, ReferenceFace(placed, 0.0, placement))
    return NodeResult((model, positive, negative))


@node("ApplyPulidFlux")
def apply_pulid_flux(
    context: Context, model: Model, pulid_flux: Any, eva_clip: Any, face_analysis: Any, image: Array, weight: float, **_: Any
) -> NodeResult:
    """Apply PuLID's identity to Flux; without a face in the picture only warn, as the real pack does."""
    if is_flat(image[0, ..., :3]):
        _log.warning("PuLID: no face in the reference image; the model is not changed")
        return NodeResult((model,))
    if weight == 0.0:
        return NodeResult((model,))
    return NodeResult((model.with_face(ReferenceFace(thumbnail(image[0, ..., :3]), weight, weight / 2)),))


@node("FixPulidFluxPatch")
def fix_pulid_flux_patch(context: Context, model: Model) -> NodeResult:
    """Return the model as it is: the emulated one needs no patch."""
    return NodeResult((model,))


@node("IDEmbeddingModelLoader")
def id_embedding_model_loader(context: Context, **names: Any) -> NodeResult:
    """Load InfiniteYou's detector, recogniser and projector."""
    return NodeResult((dict(names), dict(names), dict(names)))


@node("ExtractIDEmbedding")
def extract_id_embedding(
    context: Context, face_detector: Any, arcface_model: Any, image_proj_model: Any, image: Array
) -> NodeResult:
    """Extract the face of a picture."""
    if is_flat(image[0, ..., :3]):
        raise ValueError("No face detected in the input ID image")
    return NodeResult((ReferenceFace(thumbnail(image[0, ..., :3]), 1.0, 0.5),))


@node("InfuseNetApply")
def infuse_net_apply(
    context: Context,
    positive: Conditioning,
    id_embedding: ReferenceFace,
    control_net: Any,
    image: Array,
    strength: float,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    negative: Conditioning = (),
    vae: Any = None,
    control_mask: Array | None = None,
) -> NodeResult:
    """Apply InfiniteYou's identity, with its strength."""
    if strength == 0.0:
        return NodeResult((positive, negative))
    face = ReferenceFace(np.asarray(id_embedding.thumbnail), strength, strength / 2)
    return NodeResult((_with_faces(positive, face), negative))
