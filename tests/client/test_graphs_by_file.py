"""A lock that is not deployed runs from Python by its file, and a name that only a file here has says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen import AsyncClient, Client
from ryla_gen.errors import InvalidInputError
from tests.locks.graphs import locked, picture_graph, write_lock_files


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, in which a lock lies."""
    monkeypatch.chdir(tmp_path)
    write_lock_files(tmp_path, locked(tmp_path, picture_graph()))
    return tmp_path


async def test_both_clients_run_a_lock_by_its_file(place: Path) -> None:
    async with AsyncClient("emulator") as client:
        made = await client.graphs["portrait.lock"]()
    assert (made.workflow.name, made.backend) == ("portrait", "emulator")


def test_a_name_that_is_not_deployed_is_told_by_the_file_that_lies_here(place: Path) -> None:
    with Client("emulator") as client:
        assert client.graphs["portrait.lock"]().image.size == client.graphs[str(place / "portrait.lock")]().image.size
        with pytest.raises(InvalidInputError, match="no workflow 'portrait'") as caught:
            client.graphs.portrait()
        assert "client.graphs['portrait.lock']" in caught.value.hint
        with pytest.raises(InvalidInputError, match="no workflow 'other'") as caught:
            client.graphs["other"]()
        assert "by its file" not in caught.value.hint
        with pytest.raises(InvalidInputError, match="Cannot read other.lock"):
            client.graphs["other.lock"]()
