"""Name what may have made a file, in IPTC's words, and write that into it. Knows no graph and no result."""

from __future__ import annotations

from dataclasses import dataclass

from ..version import __version__
from .provenance import marked
from .xmp import SOURCE_TYPES

MADE_BY_MODEL = f"{SOURCE_TYPES}trainedAlgorithmicMedia"
"""Created algorithmically using an Artificial Intelligence model trained on captured content."""
EDITED_BY_MODEL = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
"""Augmentation, correction or enhancement using a Generative AI model. Upscaling by a diffusion model is this too: IPTC's
``algorithmicallyEnhanced`` is for sharpening and the like, which leave the main content as it is."""
EMULATED = f"{SOURCE_TYPES}algorithmicMedia"
"""Created purely by an algorithm not based on any sampled training data: what the emulator paints by itself."""
MIXED = f"{SOURCE_TYPES}composite"
"""Mix of several elements, any of which may or may not be generative AI."""
EMULATED_EDIT = MIXED
"""What the emulator makes of a picture it was given."""
BY_MODELS = frozenset({MADE_BY_MODEL, EDITED_BY_MODEL, f"{SOURCE_TYPES}compositeSynthetic"})
"""Terms of what is made by a generative model, in whole or in part."""
TOOL = f"ryla_gen {__version__}"
EMULATED_TOOL = " (emulated)"
"""How the program's name ends where no model ran."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What every file of one result says of its origin."""

    source_type: str
    """Address of a term in IPTC's vocabulary of digital source types."""
    tool: str = TOOL
    """The program that made it."""

    def write(self, data: bytes, media_type: str) -> bytes:
        """Return a file that says so in its XMP; the same bytes where it cannot be added, or stands there."""
        return marked(data, media_type, self.source_type, self.tool)


def mark_of_making(*, given: bool, emulated: bool) -> Mark:
    """Return the mark of what was made in one of four ways.

    Args:
        given: whether a picture or a video was given, from which it was made.
        emulated: whether the emulator made it, so that no model did.
    """
    if emulated:
        return Mark(EMULATED_EDIT if given else EMULATED, f"{TOOL}{EMULATED_TOOL}")
    return Mark(EDITED_BY_MODEL if given else MADE_BY_MODEL)
