"""A server, its client, and a face for the tests of characters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ryla_gen import Client
from ryla_gen.characters import Characters
from ryla_gen.emulator.server import Emulator


@pytest.fixture
def client(server: Emulator) -> Iterator[Client]:
    """A client of it."""
    with Client(url=server.url) as made:
        yield made


@pytest.fixture
def runner(client: Client) -> Characters:
    """What makes characters with it."""
    return Characters(client)


@pytest.fixture
def photo(face: bytes, tmp_path: Path) -> Path:
    """The file of a face."""
    path = tmp_path / "face.png"
    path.write_bytes(face)
    return path
