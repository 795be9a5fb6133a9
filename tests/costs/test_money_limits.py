"""Money that ends a job says so, and the budget of a batch is for all of its rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, Flux, Settings
from ryla_gen.costs.budget import expiry, today
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import GenerationTimeoutError
from ryla_gen.history import History, Reservation
from ryla_gen.settings.allowance import Allowance
from ryla_gen_cli import app

pytestmark = pytest.mark.usefixtures("one_day")

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A server whose seconds cost a dollar."""
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    with Emulator() as made:
        yield made


def fox() -> Flux:
    return Flux(prompt="a fox", width=256, height=256, seed=7)


def stopped(server: Emulator, client: Client, timeout: float | None = None) -> GenerationTimeoutError:
    """Run a graph that would never end, and return what it ended with."""
    server.knobs.delay_per_node = 600.0  # an interrupt ends it
    with pytest.raises(GenerationTimeoutError) as caught:
        client.run(fox(), timeout=timeout)
    return caught.value


@pytest.mark.parametrize(
    ("limits", "setting", "advice"),
    [
        ({"max_usd": 0.6}, "max_usd", "--max-usd USD"),
        ({"max_usd_per_day": 0.6}, "max_usd_per_day", "config set max_usd_per_day"),
        ({"allowance": Allowance("mine", 0.6, "Ask the owner.")}, "allowance", "Ask the owner."),
    ],
    ids=["call", "day", "program"],
)
def test_a_job_that_its_money_ended_is_not_told_to_take_more_time(
    server: Emulator, limits: dict[str, Any], setting: str, advice: str
) -> None:
    loaded = Settings.load(backend="comfyui", comfyui_url=server.url)
    with Client(settings=replace(loaded, **limits)) as client:
        error = stopped(server, client)
        (row,) = client.jobs.list()
    assert "that it could spend" in error.message and advice in error.hint and "timeout" not in error.hint
    assert error.details["setting"] == setting
    assert 0 < error.details["limit_usd"] <= 0.6
    assert row.error is not None and row.error["hint"] == error.hint
    assert row.cost_usd is not None and row.cost_usd <= 0.6 + 1e-6


def test_a_job_that_its_time_limit_ended_is(server: Emulator) -> None:
    with Client(settings=Settings.load(backend="comfyui", comfyui_url=server.url, max_usd=500.0)) as client:
        error = stopped(server, client, timeout=0.3)
    assert "timeout=SECONDS" in error.hint and "setting" not in error.details


def rows(tmp_path: Path, count: int) -> str:
    """Write a list whose rows are known to take 100 s each: what they really take bounds nothing in these tests."""
    path, row = tmp_path / "rows.jsonl", {"width": 256, "height": 256, "steps": 1}
    path.write_text("".join(json.dumps({"workflow": "flux", **row, "prompt": f"fox {number}"}) + "\n" for number in range(count)))
    with contextlib.closing(History(Settings.load().history_path)) as history:
        for number in range(5):
            inputs = Flux(prompt="a fox", seed=1, **row).described()
            history.record(str(number), backend="comfyui", workflow="flux", inputs=inputs, seed=1)
            history.update(str(number), state="succeeded", gpu_seconds=100.0, cost_usd=0.0)
    return str(path)


def ended(capsys: Capsys, line: list[str], code: int) -> dict[str, Any]:
    """Run a batch; what its last line says."""
    assert app.run(line) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def test_the_rows_of_a_batch_share_its_budget_and_wait_for_one_another(server: Emulator, tmp_path: Path, capsys: Capsys) -> None:
    line = ["batch", rows(tmp_path, 6), "-o", str(tmp_path / "out"), "--url", server.url, "--json"]
    assert ended(capsys, [*line, "--dry-run"], 0)["data"]["estimate_usd"] == pytest.approx(600)
    error = ended(capsys, [*line, "--max-usd", "599"], 1)["error"]
    assert (error["code"], error["details"]["setting"], server.stats.requests) == ("budget_exceeded", "allowance", 0)
    # Each row holds up to three times its likely cost, so that not all of them fit in at once.
    data = ended(capsys, [*line, "--max-usd", "601", "--in-flight", "6"], 0)["data"]
    assert (data["succeeded"], data["failed"]) == (6, 0)
    assert 0 < data["cost_usd"] < 601


def test_what_a_batch_may_not_spend_stays_for_the_next_run(server: Emulator, tmp_path: Path, capsys: Capsys) -> None:
    line = ["batch", rows(tmp_path, 3), "-o", str(tmp_path / "out"), "--url", server.url, "--json"]
    server.knobs.delay_per_node = 600.0  # an interrupt ends it
    assert ended(capsys, [*line, "--timeout", "0.5", "--max-usd", "1000"], 1)["data"]["failed"] == 3
    server.knobs.delay_per_node = 0.0
    assert ended(capsys, [*line, "--max-usd", "299"], 1)["error"]["code"] == "budget_exceeded"
    assert ended(capsys, line, 0)["data"]["succeeded"] == 3


def test_beside_what_others_hold_rows_take_turns_with_the_rest_of_the_day(server: Emulator, tmp_path: Path, capsys: Capsys) -> None:
    line = ["batch", rows(tmp_path, 3), "-o", str(tmp_path / "out"), "--url", server.url, "--in-flight", "3", "--json"]
    with contextlib.closing(History(Settings.load().history_path)) as history:
        asked = Reservation(100.0, 699.0, 699.0, expiry(3600), today(), 1000.0)
        assert history.reserve("0123", asked, {"backend": "modal", "workflow": "flux", "inputs": {}}) is not None
    assert app.run(["config", "set", "max_usd_per_day", "1000"]) == 0
    capsys.readouterr()
    assert ended(capsys, line, 0)["data"]["succeeded"] == 3
