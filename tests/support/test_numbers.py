"""Numbers in plain data, and small state files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen.support.numbers import (
    format_bytes,
    format_number,
    format_seconds,
    format_significant,
    is_number,
    is_whole_number,
    number_or,
)
from ryla_gen.support.state_files import read_state, write_state


def test_true_and_texts_are_no_numbers() -> None:
    assert [is_number(value) for value in (1, 1.5, True, "1", None)] == [True, True, False, False, False]
    assert [is_whole_number(value) for value in (1, 1.0, False, "1", None)] == [True, False, False, False, False]
    assert (number_or(3, 0.0), number_or(True, 0.5), number_or("3", 0.5)) == (3.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("count", "text"), [(None, "?"), (0, "0.0 kB"), (99_999, "100.0 kB"), (100_000, "0.1 MB"), (17_240_000_000, "17.24 GB")]
)
def test_bytes_are_written_in_the_unit_that_fits(count: int | None, text: str) -> None:
    assert format_bytes(count) == text


def test_what_is_unknown_is_a_dash() -> None:
    assert (format_number(None), format_seconds(None)) == ("–", "–")
    assert (format_number(0.125), format_seconds(1.234), format_seconds(12.34)) == ("0.12", "1.23 s", "12.3 s")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 200_000])
def test_a_state_file_that_is_no_json_is_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(data)
    assert read_state(tmp_path / "state.json") is None


def test_a_state_file_is_written_whole_into_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.json"
    assert read_state(path) is None
    write_state(path, {"a": [1]})
    write_state(path, {"a": [2]})
    assert read_state(path) == {"a": [2]}
    assert [item.name for item in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (46.24, "46.2"),
        (60.0, "60"),
        (9.999, "10"),
        (999.6, "1000"),
        (1200.0, "1200"),
        (2498.4, "2498"),
        (0.00005, "0.00005"),
    ],
)
def test_a_number_has_three_digits_at_least_and_no_exponent(value: float, text: str) -> None:
    assert format_significant(value) == text
