"""The header's reader against real files, the format's reference library, and nonsense."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ryla_gen.errors import InvalidInputError, RylaGenError, StorageFailedError
from ryla_gen.models.safetensors import DTYPE_BITS, Header, parse_header, read_header

from .files import safetensors as written
from .files import stored


def parsed(data: bytes) -> Header:
    return parse_header(io.BytesIO(data), len(data), "it")


def whole(header: Any, rest: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def test_a_file_of_the_reference_library_is_read(tmp_path: Path) -> None:
    arrays = {
        "a": np.zeros((3, 2), np.float16),
        "b": np.ones((4,), np.float32),
        "empty": np.zeros((0, 5), np.int8),
        "one": np.array(1),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors", {"by": "hand"})
    header = read_header(tmp_path / "x.safetensors")
    assert {name: (item.dtype, item.shape) for name, item in header.tensors.items()} == {
        "a": ("F16", (3, 2)),
        "b": ("F32", (4,)),
        "empty": ("I8", (0, 5)),
        "one": ("I64", ()),
    }
    assert header.metadata == {"by": "hand"}
    assert header.bytes == (tmp_path / "x.safetensors").stat().st_size


def test_what_the_tests_write_the_reference_library_reads() -> None:
    data = written({"a": (2, 3), "b": ()}, {"k": "v"})
    assert set(safetensors.numpy.load(data)) == set(parsed(data).tensors)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4], **changes}}


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "ends before its header"),
    "half a length": (b"\1\0\0", "ends before its header"),
    "a pickle": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0}", "announce a header"),
    "a header longer than allowed": ((100_000_001).to_bytes(8, "little") + b"{}", "100000001 bytes"),
    "a header that reaches beyond the end": ((64).to_bytes(8, "little") + b"{}", "should have 64 bytes"),
    "not JSON": (whole(b"{nonsense}"), "not JSON"),
    "a list": (whole(b"[1]"), "does not begin with {"),
    "spaces in front": (whole(b"  {}"), "does not begin with {"),
    "no UTF-8": (whole(b'{"\xff": 1}'), "not UTF-8"),
    "a name twice": (whole(b'{"a": 1, "a": 2}'), "appears twice"),
    "endless nesting": (whole(b'{"a":' * 100_000), "not JSON"),
    "NaN": (whole(b'{"a": NaN}'), "not JSON"),
    "a number of ten thousand digits": (whole(b'{"a": ' + b"9" * 10_000 + b"}"), "not JSON"),
    "metadata that is no table": (whole({"__metadata__": ["x"]}), "table of texts"),
    "metadata of numbers": (whole({"__metadata__": {"x": 1}}), "table of texts"),
    "a tensor that is a number": (whole({"a": 1}), "must have dtype"),
    "a tensor with more": (whole(tensor(code="import os"), b"1234"), "nothing else"),
    "an unknown dtype": (whole(tensor(dtype="PICKLE"), b"1234"), "unknown dtype"),
    "a dtype that is a list": (whole(tensor(dtype=[]), b"1234"), "unknown dtype"),
    "a negative size": (whole(tensor(shape=[-4]), b"1234"), "no usable shape"),
    "a size that is true": (whole(tensor(shape=[True]), b"1"), "no usable shape"),
    "a size with a point": (whole(tensor(shape=[4.0]), b"1234"), "no usable shape"),
    "a place backwards": (whole(tensor(data_offsets=[4, 0]), b"1234"), "no usable shape"),
    "three places": (whole(tensor(data_offsets=[0, 2, 4]), b"1234"), "no usable shape"),
    "a shape that is too large for its bytes": (whole(tensor(shape=[5]), b"1234"), "needs 5 bytes"),
    "a shape beyond 64 bits": (whole(tensor(shape=[1 << 62, 1 << 62]), b"1234"), "needs"),
    "a missing end": (whole(tensor(), b"123"), "1 bytes are missing"),
    "something behind": (whole(tensor(), b"12345"), "1 bytes follow"),
    "a hole": (whole({**tensor(), "b": {"dtype": "U8", "shape": [1], "data_offsets": [5, 6]}}, b"123456"), "leaves a hole"),
    "an overlap": (whole({**tensor(), "b": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]}}, b"12345"), "overlaps"),
    "half a byte": (whole(tensor(dtype="F4", shape=[7]), b"1234"), "needs 3.5 bytes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_whole_is_refused_with_its_reason(kind: str) -> None:
    data, why = REFUSED[kind]
    with pytest.raises(InvalidInputError) as caught:
        parsed(data)
    assert why in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_dtype_has_its_size(dtype: str) -> None:
    size = DTYPE_BITS[dtype]
    assert parsed(whole(tensor(dtype=dtype, shape=[8], data_offsets=[0, size]), bytes(size))).tensors["a"].end == size


def test_a_file_that_is_not_there_or_a_name_that_cannot_be(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path, Path("a\0b"), tmp_path / ("x" * 300)):
        with pytest.raises(StorageFailedError):
            read_header(path)


def test_only_the_header_is_read(tmp_path: Path) -> None:
    data = written({"a": (1000, 1000)})
    with stored(tmp_path, "x.safetensors", data).open("rb") as file:
        parse_header(file, len(data), "x")
        assert file.tell() < 200


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PLACES = st.integers(-2, 40)
TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BITS, "X"]),
        "shape": st.lists(st.integers(-1, 5), max_size=3),
        "data_offsets": st.tuples(PLACES, PLACES),
    }
)
HEADERS = st.dictionaries(st.text(max_size=5), TENSORS | JSONS, max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=80) | st.builds(whole, HEADERS | JSONS, st.binary(max_size=40)))
@example(b"\0" * 8)
@example(whole({}))
def test_no_nonsense_gets_through_or_breaks_it(data: bytes) -> None:
    try:
        header = parsed(data)
    except RylaGenError:
        return
    # What is let through the reference library reads too, wherever it knows the dtypes.
    sizes = sorted((item.begin, item.end) for item in header.tensors.values())
    assert all(left[1] == right[0] for left, right in itertools.pairwise(sizes))
    if not {item.dtype for item in header.tensors.values()} & {"F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "C64"}:
        assert {name for name, _ in safetensors.deserialize(data)} == set(header.tensors)


GOOD = written({"lora_unet_a.lora_down.weight": (2, 3), "b": (1,)}, {"k": "v"})


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_still_a_whole_file(place: int, value: int) -> None:
    data = GOOD[:place] + bytes([value]) + GOOD[place + 1 :]
    try:
        header = parsed(data)
    except InvalidInputError:
        return
    assert {name for name, _ in safetensors.deserialize(data)} == set(header.tensors)
