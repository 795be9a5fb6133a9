"""Pin everything that is installed into one image: requirement lists go in, one list of versions with hashes comes out.

ComfyUI, its version and the node packs are arguments. Knows no family, no Modal and no GPU; installs nothing.
"""

from .base import Requirements, canonical, differences, pins
from .lists import requirement_list
from .resolving import check_closed, resolve

__all__ = ["Requirements", "canonical", "check_closed", "differences", "pins", "requirement_list", "resolve"]
