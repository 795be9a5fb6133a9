"""Pin everything that is installed into one image: requirement lists go in, one list of versions with hashes comes out.

ComfyUI, its version and the node packs stand in the lock of an image. Knows no Modal and no GPU; installs nothing.
"""

from .base import NodePack, Requirements, canonical, differences, pins
from .image_lock import ImageLock, PythonLock, read_lock, sha256_of, write_lock
from .lists import requirement_list
from .resolving import check_closed, resolve

__all__ = [
    "ImageLock",
    "NodePack",
    "PythonLock",
    "Requirements",
    "canonical",
    "check_closed",
    "differences",
    "pins",
    "read_lock",
    "requirement_list",
    "resolve",
    "sha256_of",
    "write_lock",
]
