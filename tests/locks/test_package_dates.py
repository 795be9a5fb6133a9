"""Up to when the packages of a graph with packs count: it is kept, it can be moved, and an error about it says so."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ryla_gen import locks
from ryla_gen.errors import InvalidInputError
from ryla_gen.locks import Requirements
from ryla_gen.locks.base import beginning_of_today
from ryla_gen.locks.families import family_lock
from ryla_gen.locks.graph_lock import GraphLock, lock_text
from ryla_gen.locks.lock_reading import parse_lock
from ryla_gen.tools.locking.keeping import lock_changes
from ryla_gen.tools.locking.pack_lookup import PackSources
from tests.locks.graphs import locked, picture_graph
from tests.locks.package_index import serve_wheels
from tests.locks.test_resolving import wheel

STRANGE = {**picture_graph(), "3": {"class_type": "Strange", "inputs": {"images": ["1", 0]}}}
PACKS = PackSources(chosen={"Strange": f"owner/strange@{'a' * 40}"})
SHIPPED = family_lock("flux").python.until


def until(lock: GraphLock, value: str) -> GraphLock:
    """Return a lock whose packages count up to another time."""
    return replace(lock, image=replace(lock.image, python=replace(lock.image.python, until=value)))


def test_the_time_up_to_which_packages_count_is_kept_and_moves_with_the_packages(tmp_path: Path) -> None:
    first = locked(tmp_path, STRANGE, packs=PACKS).lock
    assert first.image.python.until == SHIPPED
    own = until(first, "2026-09-03T00:00:00Z")
    assert locked(tmp_path, STRANGE, packs=PACKS, before=own).lock.image.python.until == "2026-09-03T00:00:00Z"
    for part in ("python", "all"):
        days = [beginning_of_today()]
        moved = locked(tmp_path, STRANGE, packs=PACKS, before=own, moves=(part,)).lock
        days.append(beginning_of_today())  # another one, where midnight came in between
        assert moved.image.python.until in [max(SHIPPED, day) for day in days]
    assert "packages uploaded until 2026-09-03 -> " in " ".join(lock_changes(own, moved))
    days = [moved.image.python.until]
    first_time = locked(tmp_path, STRANGE, packs=PACKS, moves=("python",)).lock
    days.append(max(SHIPPED, beginning_of_today()))
    assert first_time.image.python.until in days, "also where nothing was locked yet"


def test_without_packs_the_packages_are_those_that_are_shipped(tmp_path: Path) -> None:
    first = locked(tmp_path, picture_graph()).lock
    for before in (first, locked(tmp_path, STRANGE, packs=PACKS).lock):
        assert locked(tmp_path, picture_graph(), before=before, moves=("python",)).lock.image.python.until == SHIPPED


@pytest.mark.parametrize("value", ["--index-url", "yesterday", "2026-09-03T00:00:00Z\nx", ""])
def test_a_lock_has_a_time_up_to_which_packages_count(value: str, tmp_path: Path) -> None:
    text = lock_text(until(locked(tmp_path, picture_graph()).lock, value))
    with pytest.raises(InvalidInputError, match="is no time such as"):
        parse_lock(text, "portrait.lock")


def test_where_a_package_is_too_new_the_error_says_so_and_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "tensors", "1.0")
    wheel(folder, "tensors", "2.0")
    uploaded = {"tensors-1.0-py3-none-any.whl": "2026-01-01T00:00:00Z", "tensors-2.0-py3-none-any.whl": "2026-09-01T00:00:00Z"}
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    wanted = Requirements(("tensors>=2",), until="2026-08-01T00:00:00Z")
    with serve_wheels(folder, uploaded) as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        with pytest.raises(InvalidInputError) as caught:
            locks.resolve(wanted)
        assert caught.value.message.endswith("Packages uploaded after 2026-08-01 do not count.")
        assert "--update python" in caught.value.hint
        assert locks.pins(locks.resolve(replace(wanted, until="2026-09-02T00:00:00Z"))) == {"tensors": "2.0"}
        with pytest.raises(InvalidInputError) as other:
            locks.resolve(replace(wanted, own=("tensors>=3",)))
    assert not re.search("do not count|--update", other.value.message + other.value.hint), "no later one would do"
