"""Budgets of a server for agents: nothing is spent above them, and what is dear waits for the person."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.types import ElicitResult, InputRequiredResult

from ryla_gen.emulator.server import Emulator
from ryla_gen.settings import set_value
from tests.cli.shell import here

from .agents import A_DOLLAR_A_SECOND, ERAS, SMALL, Person, agent, error, facts, jobs

FOX: dict[str, Any] = {"prompt": "a fox", **SMALL}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A server that costs a dollar a second."""
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", A_DOLLAR_A_SECOND)
    with Emulator() as made:
        made.start()
        yield made


def held_and_spent() -> float:
    return sum((record.cost_usd or 0.0) if record.finished_at else (record.reserved_usd or 0.0) for record in jobs())


@pytest.mark.parametrize("mode", ERAS)
async def test_a_dear_call_runs_once_the_person_agrees(server: Emulator, mode: str, clean_environment: Path) -> None:
    person = Person("accept")
    async with agent("--url", server.url, "--max-usd", "500", "--confirm-above", "0.01", mode=mode, person=person) as client:
        told = facts(await client.call_tool("flux_dev", FOX))
        assert told["usd"] > 0
        assert ("flux_dev" in person.asked[0], "$" in person.asked[0]) == (True, True)
        left = facts(await client.call_tool("costs"))["budgets"]["server"]
        assert left["left_usd"] == pytest.approx(500 - told["usd"], abs=1e-4)
    assert (len(person.asked), server.stats.prompts) == (1, 1)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_that_the_person_declines_sends_nothing(server: Emulator, mode: str, clean_environment: Path) -> None:
    person = Person("decline")
    async with agent("--url", server.url, "--max-usd", "500", "--confirm-above", "0.01", mode=mode, person=person) as client:
        for person.action in ("decline", "cancel"):
            assert error(await client.call_tool("flux_dev", FOX))["code"] == "job_canceled"
    assert (len(person.asked), server.stats.prompts, jobs()) == (2, 0, [])


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_cannot_ask_is_told_what_the_person_can_do(
    server: Emulator, mode: str, clean_environment: Path
) -> None:
    async with agent("--url", server.url, "--max-usd", "500", "--confirm-above", "0.01", mode=mode) as client:
        refused = error(await client.call_tool("flux_dev", FOX))
        told = facts(await client.call_tool("estimate", {"workflow": "flux_dev", "fields": FOX}))
    assert (refused["code"], refused["details"]["setting"]) == ("budget_exceeded", "confirm_above")
    assert "--confirm-above" in refused["hint"]
    assert told["person_is_asked"]
    assert (server.stats.prompts, jobs()) == (0, [])


async def test_a_person_is_asked_where_only_the_second_backend_is_dear(clean_environment: Path) -> None:
    """The first one is free, and may refuse the job: it then goes to the next without another question."""
    with Emulator() as free:
        free.start()
        told_of = {"RYLA_GEN_BACKEND": "comfyui,modal", "RYLA_GEN_COMFYUI_URL": free.url}
        async with agent("--max-usd", "5", "--confirm-above", "0.00001", **told_of) as client:
            assert facts(await client.call_tool("estimate", {"workflow": "flux_dev", "fields": FOX}))["person_is_asked"]
            refused = error(await client.call_tool("flux_dev", FOX))
        assert refused["details"]["setting"] == "confirm_above"
        assert free.stats.prompts == 0


async def test_a_container_that_has_to_start_counts(clean_environment: Path) -> None:
    """The graph alone is below what needs a person, and with its cold start it is not."""
    person, modal = Person("decline"), {"RYLA_GEN_BACKEND": "modal"}
    call = {"workflow": "flux_dev", "fields": FOX}
    async with agent("--max-usd", "5", **modal) as client:
        found = facts(await client.call_tool("estimate", call))
    graph, start = found["usd"]["likely"], found["cold_start_usd"]["likely"]
    above = f"{graph + start / 2:.6f}"
    async with agent("--max-usd", "5", "--confirm-above", above, person=person, **modal) as client:
        assert facts(await client.call_tool("estimate", call))["person_is_asked"]
        assert error(await client.call_tool("flux_dev", FOX))["code"] == "job_canceled"
    assert "for a container that may have to start" in person.asked[0]
    assert jobs() == []


async def test_a_cheap_call_asks_nobody(server: Emulator, clean_environment: Path) -> None:
    person = Person("decline")
    async with agent("--url", server.url, "--max-usd", "500", "--confirm-above", "400", person=person) as client:
        facts(await client.call_tool("flux_dev", FOX))
    assert person.asked == []


async def test_an_answer_counts_once_and_for_its_own_call(server: Emulator, clean_environment: Path) -> None:
    async with agent("--url", server.url, "--max-usd", "500", "--confirm-above", "0.01", person=Person("accept")) as client:
        asked = await client.session.call_tool("flux_dev", FOX, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        yes: dict[str, Any] = {"confirm": ElicitResult(action="accept", content={})}

        async def answer(fields: dict[str, Any], state: str | None) -> object:
            return await client.session.call_tool(
                "flux_dev", fields, input_responses=yes, request_state=state, allow_input_required=True
            )

        for fields, state in (
            ({**FOX, "steps": 50}, asked.request_state),
            (FOX, asked.request_state),
            (FOX, "made up"),
            (FOX, None),
        ):
            assert isinstance(await answer(fields, state), InputRequiredResult)
        assert server.stats.prompts == 0
        fresh = await answer(FOX, None)
        assert isinstance(fresh, InputRequiredResult)
        assert not isinstance(await answer(FOX, fresh.request_state), InputRequiredResult)
        assert isinstance(await answer(FOX, fresh.request_state), InputRequiredResult)
    assert server.stats.prompts == 1


async def test_the_budget_of_the_process_refuses_what_is_above_it(server: Emulator, clean_environment: Path) -> None:
    async with agent("--url", server.url, "--max-usd", "0.01") as client:
        refused = error(await client.call_tool("flux_dev", FOX))
        assert (refused["code"], refused["details"]["setting"]) == ("budget_exceeded", "allowance")
        assert "--max-usd" in refused["hint"]
        assert facts(await client.call_tool("costs"))["budgets"]["server"]["left_usd"] == 0.01
    assert (server.stats.prompts, jobs()) == (0, [])


async def test_a_backend_that_costs_has_a_budget_even_where_none_is_given(server: Emulator, clean_environment: Path) -> None:
    async with agent("--url", server.url) as client:
        assert facts(await client.call_tool("costs"))["budgets"]["server"]["limit_usd"] == 1.0
        many = {"prompt": "a fox", "steps": 50}
        assert error(await client.call_tool("flux_dev", many))["code"] == "budget_exceeded"
    assert server.stats.prompts == 0


async def test_calls_at_once_share_the_budget(server: Emulator, clean_environment: Path) -> None:
    """Each reserves before it is sent: together they never hold more than there is."""
    async with agent("--url", server.url, "--max-usd", "500") as client:
        found = facts(await client.call_tool("estimate", {"workflow": "flux_dev", "fields": FOX}))
    budget = 4 * found["usd"]["likely"]
    server.knobs.delay_per_node = 0.05
    async with agent("--url", server.url, "--max-usd", f"{budget:.6f}") as client:
        calls = [client.call_tool("flux_dev", {**FOX, "seed": seed}) for seed in range(12)]
        ended = await asyncio.gather(*calls)
        left = facts(await client.call_tool("costs"))["budgets"]["server"]
    refused = [item for item in ended if item.is_error]
    assert {error(item)["code"] for item in refused} <= {"budget_exceeded", "generation_timeout"}
    assert [error(item) for item in refused if error(item)["code"] == "budget_exceeded"]
    assert 0 < server.stats.prompts < 12
    assert held_and_spent() <= budget * 1.0001
    assert left["left_usd"] >= 0


async def test_the_limits_of_the_settings_hold_besides(server: Emulator, clean_environment: Path) -> None:
    set_value("max_usd_per_day", "0.005")
    async with agent("--url", server.url, "--max-usd", "500") as client:
        refused = error(await client.call_tool("flux_dev", FOX))
        assert refused["details"]["setting"] == "max_usd_per_day"
        assert facts(await client.call_tool("costs"))["budgets"]["day"]["limit_usd"] == 0.005
    assert server.stats.prompts == 0


async def test_an_endpoint_without_a_price_is_not_served(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    monkeypatch.setenv("RUNPOD_ENDPOINT_ID", "abc")
    monkeypatch.setenv("RUNPOD_API_KEY", "key")
    assert here("mcp", "--backend", "runpod") == 1
    assert "runpod.usd_per_second" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["nan", "inf", "-1"])
def test_what_is_no_budget_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("mcp", f"--max-usd={given}") == 2
    assert "--max-usd" in capsys.readouterr().err
