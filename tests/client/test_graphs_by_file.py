"""A lock that is not deployed runs from Python by its file, and a name that only a file here has says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen import AsyncClient, Client
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import InvalidInputError, JobCanceledError
from ryla_gen.workflows.registry import workflow_class
from ryla_gen_cli import app
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


def test_the_job_of_a_lock_that_only_a_file_names_is_stopped_and_fetched_by_another_client(place: Path) -> None:
    with Emulator() as server:
        server.knobs.hold_nodes = True
        with Client(url=server.url) as client:
            stopped, kept = (client.submit(workflow_class("portrait.lock")()).id for _ in range(2))
        (place / "portrait.lock").unlink()
        with Client(url=server.url) as other:
            other.jobs.get(stopped).cancel()
            server.knobs.hold_nodes = False
            made = other.jobs.get(kept).result(timeout=60)
            states = {record.id: (record.workflow, record.state) for record in other.jobs.list()}
        assert states == {stopped: ("portrait", "canceled"), kept: ("portrait", "succeeded")}
        assert (made.workflow.name, made.graph) == ("workflow", made.workflow.graph), "what its server has is what ran"
        assert made.image.width > 0
        with Client(url=server.url) as third, pytest.raises(JobCanceledError):
            third.jobs.get(stopped).result()


def test_a_field_that_a_lock_has_not_is_told_with_the_command_that_knows_the_file(place: Path) -> None:
    with Client("emulator") as client:
        with pytest.raises(InvalidInputError) as caught:
            client.graphs["portrait.lock"](bogus=1)
        assert caught.value.hint.endswith("ryla-gen workflows show portrait.lock")
        with pytest.raises(InvalidInputError) as caught:
            client.graphs["portrait.lock"]("a fox")
        assert caught.value.hint.endswith("ryla-gen workflows show portrait.lock")
    assert app.run(["workflows", "show", "portrait.lock"]) == 0
