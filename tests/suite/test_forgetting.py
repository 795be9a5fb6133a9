"""Forgetting jobs of Modal: claims and events go, what Modal keeps is said, and a job's cost stays counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import modal as sdk
import pytest
from grpclib import Status

from ryla_gen import Client, Flux
from ryla_gen.errors import BackendError
from ryla_gen.names import CLAIMS_DICT, EVENTS_QUEUE
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected

from .test_contract_suite import SMALL
from .test_stopping import eventually

ANA = "ana@example.org"


@pytest.fixture
def modal(modal_app: Loopback, clean_environment: Path) -> Iterator[Loopback]:
    """The shared app, with this process as its client and all knobs as they were."""
    with connected(modal_app):
        yield modal_app
    modal_app.knobs.reset()


def test_claims_and_events_of_a_forgotten_job_go_and_the_rest_of_modal_is_said(modal: Loopback) -> None:
    claims, events = sdk.Dict.from_name(CLAIMS_DICT), sdk.Queue.from_name(EVENTS_QUEUE)
    with Client("modal") as client:
        job = client.run(Flux(**SMALL), user=ANA).job
        other = client.run(Flux(**{**SMALL, "seed": 8})).job
        for one in (job, other):  # its last event may arrive after the reply
            eventually(lambda one=one: "finished" in [item["type"] for item in events.iterate(partition=one, item_poll_timeout=0)])
        assert claims.contains(job)
        assert events.len(partition=job) > 0
        spent = sum(row.usd for row in client.costs())
        assert spent > 0
        told = client.jobs.forget_user(ANA)
        assert told.erased
        assert not claims.contains(job)
        assert events.len(partition=job) == 0
        assert claims.contains(other)
        assert events.len(partition=other) > 0
        (kept,) = told.stays
        assert "7 days" in kept
        assert [item.id for item in client.jobs.list()] == [other]
        assert sum(row.usd for row in client.costs()) == pytest.approx(spent)
        assert client.jobs.forget_user(ANA).empty


def test_the_user_is_not_told_to_modal(modal: Loopback) -> None:
    with Client("modal") as client:
        client.run(Flux(**SMALL), user=ANA)
    sent = [item.payload.SerializeToString() for call in modal.calls for item in call.inputs.values()]
    assert any(str(SMALL["prompt"]).encode() in data for data in sent)
    assert not any(ANA.encode() in data for data in sent)


def test_nothing_is_erased_here_while_modal_does_not_answer(modal: Loopback) -> None:
    with Client("modal") as client:
        job = client.run(Flux(**SMALL), user=ANA).job
        modal.knobs.refuse["DictContains"] = Status.FAILED_PRECONDITION
        with pytest.raises(BackendError) as caught:
            client.jobs.forget(job)
        assert "--no-servers" in caught.value.hint
        assert len(client.jobs.list(user=ANA)) == 1
