"""Jobs of Modal that another machine handed in, named by their handles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ryla_gen import Client, Flux
from ryla_gen.errors import JobCanceledError, JobExpiredError, JobNotFoundError
from ryla_gen.events import Started
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

from .test_contract_suite import LONG, SMALL


@pytest.fixture
def modal(modal_app: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The shared app, with this process as its client and all knobs as they were."""
    with connected(modal_app):
        yield modal_app
    modal_app.knobs.reset()


def test_a_handle_is_enough_on_another_machine(modal: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Client("modal") as client:
        job = client.submit(Flux(**SMALL))
        made = job.result()
    monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "elsewhere"))
    with Client("modal") as client:
        found = client.jobs.get(job.handle)
        assert (found.id, found.workflow) == (job.id, Flux(**SMALL))
        assert found.result().output.data == made.output.data
        (record,) = client.jobs.list()
        assert (record.id, record.handle, record.state, record.seed) == (job.id, job.handle, "succeeded", 7)


def test_a_second_job_of_a_client_looks_nothing_up_again(modal: Loopback) -> None:
    with Client("modal") as client:
        client.run(Flux(**SMALL))
        before = Counter(modal.counts)
        client.run(Flux(**{**SMALL, "seed": 8}))
        asked = Counter(modal.counts) - before
    assert [
        name for name in asked if name.endswith(("GetOrCreate", "FromId", "BindParams")) or name in ("ClassGet", "FunctionGet")
    ] == []


def test_a_call_that_has_not_ended_says_what_is_missing(modal: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Client("modal") as here:
        job = here.submit(LONG)
        next(event for event in job.events() if isinstance(event, Started))
        monkeypatch.setenv("RYLA_GEN_HOME", str(tmp_path / "elsewhere"))
        with Client("modal") as there:
            with pytest.raises(JobNotFoundError, match="only with the reply") as caught:
                there.jobs.get(job.handle)
            assert caught.value.details == {"handle": job.handle, "missing": "request"}
            job.cancel()
            with pytest.raises(JobCanceledError):
                there.jobs.get(job.handle)
            assert there.jobs.list() == []


def test_a_call_that_modal_does_not_know_is_gone(modal: Loopback) -> None:
    with Client("modal") as client, pytest.raises(JobExpiredError, match="does not know the call"):
        client.jobs.get("modal:fc-01NOBODY")
