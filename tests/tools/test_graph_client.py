"""What the modules of ``graph client`` say of the fields of a lock."""

from __future__ import annotations

from dataclasses import replace

from ryla_gen.locks.graph_lock import LockedInput
from ryla_gen.tools.graph_client import python_client, typescript_client
from tests.locks.locking import colour_lock


def test_the_whole_range_of_a_field_is_told_in_both_languages() -> None:
    width = LockedInput("width", "int", ("1.width",), "Width.", 64, 16, 16384, 16)
    lock = replace(colour_lock(), inputs=(width,))
    words = "Width; at least 16, at most 16384, a multiple of 16."
    assert f"width: {words}" in python_client(lock)
    assert f"/** {words} */" in typescript_client(lock)["colour.d.ts"]
