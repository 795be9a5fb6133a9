"""Packages of Debian that a lock names: given, kept, moved, told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.graph_lock import lock_text
from ryla_gen.locks.lock_reading import parse_lock, read_graph_lock
from ryla_gen.tools.locking.keeping import lock_changes
from tests.cli.shell import envelope, here
from tests.locks.graphs import locked, picture_graph, write_graph


def test_they_are_kept_added_to_and_moved(tmp_path: Path) -> None:
    first = locked(tmp_path, picture_graph(), apt=("libsndfile1",)).lock
    assert parse_lock(lock_text(first), "portrait.lock") == first
    again = locked(tmp_path, picture_graph(), before=first, apt=("espeak-ng", "libsndfile1")).lock
    assert again.apt == ("libsndfile1", "espeak-ng")
    assert list(lock_changes(first, again)) == ["apt espeak-ng absent -> present"]
    for part in ("apt", "all"):
        moved = locked(tmp_path, picture_graph(), before=again, moves=(part,)).lock
        assert moved.apt == ()
    assert "apt libsndfile1 present -> absent" in list(lock_changes(again, moved))


@pytest.mark.parametrize("name", ["-y", "a b", "Lib", "libsndfile1; rm", "", "../x", "a=1"])
def test_a_name_that_is_none_is_refused_as_in_a_lock(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is no name of a package of Debian") as caught:
        locked(tmp_path, picture_graph(), apt=(name,))
    assert "--apt libsndfile1" in caught.value.hint


def test_the_command_takes_them_and_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_graph(tmp_path, picture_graph())
    line = ("graph", "lock", "portrait.json", "--offline")
    assert here(*line, "--apt", "libsndfile1", "--apt", "espeak-ng") == 0
    assert "apt: libsndfile1, espeak-ng" in capsys.readouterr().err
    path = tmp_path / "portrait.lock"
    path.write_text(path.read_text().replace('"libsndfile1"', '"libsndfile1", "ffmpeg"'))
    assert here(*line, "--json") == 0
    assert envelope(capsys.readouterr().out)["data"]["apt"] == ["libsndfile1", "ffmpeg", "espeak-ng"], "also what was added by hand"
    assert here(*line, "--update", "apt") == 0
    assert "changed: apt ffmpeg present -> absent" in capsys.readouterr().err
    assert read_graph_lock(path).apt == ()
