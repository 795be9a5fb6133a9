"""Find faces in pictures: whether there is one (before PuLID runs), and how similar two are. Knows no ComfyUI.

``base`` is the arithmetic, ``insight`` the models, ``looking`` the look before a run, ``comparing`` the comparison.
"""

from __future__ import annotations

from .base import Embedder, Face, Several, choose_face, cosine
from .comparing import compare, install, similarity
from .insight import InsightFace
from .looking import Verdict, look_for_face, require_face

__all__ = [
    "Embedder",
    "Face",
    "InsightFace",
    "Several",
    "Verdict",
    "choose_face",
    "compare",
    "cosine",
    "install",
    "look_for_face",
    "require_face",
    "similarity",
]
