"""Write a cube as a file, in place of whatever a 3D model would make. Bytes out; knows no nodes and no folders."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

Colour = tuple[float, float, float]

_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
_FACES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
], np.uint16)  # fmt: skip
_FLOAT, _UNSIGNED_SHORT = 5126, 5123
_JSON_CHUNK, _BINARY_CHUNK = b"JSON", b"BIN\0"


def cube_glb(colour: Colour, extras: Mapping[str, Any]) -> bytes:
    """Build a cube of one colour in glTF 2.0's binary form; ``extras`` are written into its asset block."""
    corners, faces = _CORNERS.tobytes(), _FACES.tobytes()
    document = {
        "asset": {"version": "2.0", "generator": "ryla_gen emulator (emulated)", "extras": dict(extras)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "emulated"}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0}, "doubleSided": True}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "accessors": [
            {
                "bufferView": 0, "componentType": _FLOAT, "count": len(_CORNERS), "type": "VEC3",
                "min": [-0.5] * 3, "max": [0.5] * 3,
            },
            {"bufferView": 1, "componentType": _UNSIGNED_SHORT, "count": _FACES.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(corners)},
            {"buffer": 0, "byteOffset": len(corners), "byteLength": len(faces)},
        ],
        "buffers": [{"byteLength": len(corners) + len(faces)}],
    }  # fmt: skip
    text = json.dumps(document).encode()
    chunks = _chunk(_JSON_CHUNK, text + b" " * (-len(text) % 4)) + _chunk(_BINARY_CHUNK, corners + faces)
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + kind + data


def cube_ply(colour: Colour) -> bytes:
    """Build the corners of a cube in one colour, as a point cloud in text."""
    head = f"ply\nformat ascii 1.0\ncomment emulated by ryla_gen\nelement vertex {len(_CORNERS)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "".join(f"property uchar {part}\n" for part in ("red", "green", "blue")) + "end_header\n"
    paint = " ".join(str(round(255 * part)) for part in colour)
    return (head + "".join(f"{x} {y} {z} {paint}\n" for x, y, z in _CORNERS)).encode("ascii")
