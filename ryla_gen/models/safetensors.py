"""Read and check the header of a safetensors file. Never reads a tensor, runs no code of the file, knows no model.

Why not the library ``safetensors``: it opens a whole file on this machine only. A header is judged here before a LoRA is downloaded
or fetched from a volume, from its first bytes and the file's size. The library (0.8) also takes a header in which a name comes
twice, and says less of what is wrong. The tests hold this reader against it.

The format (https://huggingface.co/docs/safetensors): eight bytes with the header's length, little endian; the header, a JSON
object; then the tensors' bytes, one after the other, without holes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import InvalidInputError, StorageFailedError

LENGTH_BYTES = 8
"""Bytes in front of the header that hold its length."""
LONGEST_HEADER = 100_000_000
"""Bytes of a header at most: the format's own bound."""
METADATA = "__metadata__"
"""The header's one entry that is no tensor: texts by name."""
SUFFIX = ".safetensors"
HINT = "Only complete .safetensors files are accepted. Download or export it again as .safetensors."

DTYPE_BITS: Mapping[str, int] = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}
"""Bits of one element, by dtype: what the format's reference library (safetensors 0.6) knows."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from the end of the header."""
    end: int
    """First byte after it."""


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header: every tensor lies inside the file, they do not overlap, and no byte is left over."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    bytes: int
    """Of the whole file."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most this many bytes; none at the end."""
        ...


def read_header(path: Path) -> Header:
    """Read and check the header of a file; the tensors' bytes are not read.

    Raises:
        InvalidInputError: it is not a whole safetensors file.
        StorageFailedError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return parse_header(file, size, str(path))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name; our own errors are ValueErrors too
        if isinstance(error, InvalidInputError):
            raise
        text = f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}."
        raise StorageFailedError(text, "Check the path and its permissions.", {"file": str(path)}) from None


def parse_header(file: Readable, size: int, name: str) -> Header:
    """Read a header from a stream that stands at the file's beginning, and check it against the file's size.

    Args:
        file: a stream; as many bytes are read as the header has.
        size: bytes of the whole file.
        name: what messages call the file.

    Raises:
        InvalidInputError: it is not a whole safetensors file.
    """
    length = int.from_bytes(_exactly(file, LENGTH_BYTES, name), "little")
    if length > LONGEST_HEADER:
        raise _wrong(name, f"its first 8 bytes announce a header of {length} bytes; {LONGEST_HEADER} are allowed")
    if LENGTH_BYTES + length > size:
        raise _wrong(name, f"its header should have {length} bytes, but the file has {size}")
    entries = _entries(_exactly(file, length, name), name)
    metadata = _metadata(entries.pop(METADATA, None), name)
    tensors = {key: _tensor(key, value, name) for key, value in entries.items()}
    _check_places(tensors, size - LENGTH_BYTES - length, name)
    return Header(tensors, metadata, size)


def _exactly(file: Readable, count: int, name: str) -> bytes:
    data = b""
    while len(data) < count and (block := file.read(count - len(data))):
        data += block
    if len(data) < count:
        raise _wrong(name, "it ends before its header does")
    return data


def _entries(data: bytes, name: str) -> dict[str, Any]:
    if not data.startswith(b"{"):
        raise _wrong(name, "its header does not begin with {")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _wrong(name, "its header is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _wrong(name, f"its header is not JSON: {' '.join(str(error).split())[:120]}") from None
    assert isinstance(found, dict), "it begins with {"
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that comes twice: two readers would see two different files."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name appears twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _metadata(value: Any, name: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _wrong(name, "its metadata is not a table of texts")
    return value


def _tensor(key: str, value: Any, name: str) -> Tensor:
    called = repr(key[:120])
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _wrong(name, f"the tensor {called} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, places = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _wrong(name, f"the tensor {called} has the unknown dtype {str(dtype)[:40]!r}")
    if not _counts(shape) or not _counts(places) or len(places) != 2 or places[0] > places[1]:
        raise _wrong(name, f"the tensor {called} has no usable shape or place")
    bits = DTYPE_BITS[dtype]
    for count in shape:
        bits *= count
    if bits != 8 * (places[1] - places[0]):
        raise _wrong(name, f"the tensor {called} needs {bits / 8:g} bytes by its shape and has {places[1] - places[0]}")
    return Tensor(dtype, tuple(shape), places[0], places[1])


def _counts(value: Any) -> bool:
    """Whether this is a list of whole numbers from 0 on; a bound keeps products of hostile shapes small."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value) and len(value) <= 64


def _check_places(tensors: Mapping[str, Tensor], size: int, name: str) -> None:
    at = 0
    for key, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            what = "overlaps another one" if tensor.begin < at else "leaves a hole before it"
            raise _wrong(name, f"the tensor {key[:120]!r} {what}")
        at = tensor.end
    if at != size:
        what = (
            f"{at - size} bytes are missing: it was not copied completely"
            if at > size
            else f"{size - at} bytes follow the last tensor"
        )
        raise _wrong(name, what)


def _wrong(name: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"{name} is not a complete safetensors file: {why}.", HINT, {"file": name})
