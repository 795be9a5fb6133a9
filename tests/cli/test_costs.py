"""``ryla-gen estimate`` and ``ryla-gen costs``: what it would cost, what it has cost, as text, JSON, CSV and picture."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor

from ryla_gen import Client, Settings
from ryla_gen.errors import InvalidInputError
from ryla_gen.history import History
from ryla_gen.tools.plots import COLOURS

from .shell import envelope, here, picture, ryla

DAYS = ("2026-01-01", "2026-01-02", "2026-01-02")


@pytest.fixture
def journal(clean_environment: Path) -> Iterator[History]:
    """Three jobs of two days, and one of this minute that failed."""
    with contextlib.closing(History(Settings.load().history_path)) as history:
        for number, day in enumerate(DAYS):
            tags = ["character:mara", "sheet"] if number else []
            add(history, f"{day}T10:00:00.000Z", "flux_dev" if number else "wan2", 0.25 * (number + 1), tags=tags)
        add(history, None, "flux_lora", 0.125, state="failed", inputs={"prompt": "x", "lora_id": "mara-lora"})
        yield history


def add(history: History, at: str | None, workflow: str, usd: float, *, state: str = "succeeded", **more: Any) -> None:
    job, inputs = str(uuid.uuid4()), more.pop("inputs", {"prompt": "a fox"})
    history.record(job, backend="modal", workflow=workflow, inputs=inputs, **more)
    history.update(job, state=state, cost_usd=usd, gpu="L40S", gpu_seconds=usd * 1000)
    if at:
        assert history._connection is not None
        history._connection.execute("UPDATE jobs SET created_at = ? WHERE id = ?", (at, job))


def bars_in(shown: Image.Image, y: int) -> int:
    """How many bars a line of the picture goes through."""
    line = [shown.getpixel((x, y)) == ImageColor.getrgb(COLOURS["main"]) for x in range(shown.width)]
    return sum(before < after for before, after in itertools.pairwise(line))


def items(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert here("costs", *arguments, "--json") == 0
    found: list[dict[str, Any]] = envelope(capsys.readouterr().out)["data"]["items"]
    return found


def test_costs_are_summed_up_by_day(journal: History, capsys: pytest.CaptureFixture[str]) -> None:
    found = items(capsys)
    today = journal.list(workflow="flux_lora")[0].created_at[:10]  # as the journal has it: midnight may come meanwhile
    assert [item["key"] for item in found] == ["2026-01-01", "2026-01-02", today]
    assert found[1] == {
        "key": "2026-01-02",
        "jobs": 2,
        "succeeded": 2,
        "failed": 0,
        "gpu_seconds": 1250.0,
        "usd": 1.25,
        "usd_each": 0.625,
        "reserved_usd": 0.0,
    }
    assert (found[2]["failed"], found[2]["usd_each"]) == (1, None)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("workflow", ["flux_dev", "wan2", "flux_lora"]),
        ("character", ["mara", "", "mara-lora"]),
        ("backend", ["modal"]),
    ],
)
def test_costs_are_summed_up_by_other_things_the_dearest_first(
    journal: History, capsys: pytest.CaptureFixture[str], by: str, keys: list[str]
) -> None:
    assert [item["key"] for item in items(capsys, "--by", by)] == keys


def test_since_takes_a_date_or_how_long_ago(journal: History, capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(item["jobs"] for item in items(capsys, "--since", "2026-01-02")) == 3
    assert sum(item["jobs"] for item in items(capsys, "--since", "7d")) == 1
    assert here("costs", "--since", "yesterday") == 2
    assert "7d" in capsys.readouterr().err


def test_python_gives_the_same_rows(journal: History) -> None:
    with Client("emulator") as client:
        rows = client.costs(by="workflow", since="2026-01-02T00:00:00Z")
        assert [(row.key, row.usd) for row in rows] == [("flux_dev", 1.25), ("flux_lora", 0.125)]
        assert client.costs(since=datetime.now(UTC) + timedelta(seconds=60)) == []
        with pytest.raises(InvalidInputError, match="day, workflow, character, backend"):
            client.costs(by="moon")


def test_a_table_for_people_ends_with_the_sum(journal: History, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("costs", "--by", "character") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[:2] == ["character", "jobs"]
    assert "(no character)" in said[2]
    [whole] = [line for line in said if line.startswith("all ")]
    assert whole.split()[:2] == ["all", "4"]
    assert "$1.6250" in whole


def test_what_modal_bills_beside_the_jobs_is_estimated_and_said(journal: History, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("costs", "--json") == 0
    data = envelope(capsys.readouterr().out)["data"]
    items, usd = data["idle"]["items"], data["idle"]["usd"]
    assert {item["name"]: (item["jobs"], item["cold_starts"]) for item in items} == {"Flux": (3, 3), "Video": (1, 1)}
    assert 0 < usd == pytest.approx(sum(item["usd"] for item in items))
    assert f"about ${usd:.2f}" in data["not_included"][0]
    assert here("costs") == 0
    said = capsys.readouterr().out
    assert said.count("Not included:") == 2
    assert "by the gaps between these jobs" in " ".join(said.split())


def test_nothing_is_left_out_where_modal_was_not_used(clean_environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(History(Settings.load().history_path)) as history:
        history.record(str(uuid.uuid4()), backend="emulator", workflow="flux", inputs={})
    assert here("costs") == 0
    assert "Not included" not in capsys.readouterr().out
    assert here("costs", "--json") == 0
    data = envelope(capsys.readouterr().out)["data"]
    assert (data["idle"], data["not_included"]) == ({"items": [], "usd": 0}, [])


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_of_the_csv_is_no_formula(sign: str, clean_environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(History(Settings.load().history_path)) as history:
        add(history, None, "flux_dev", -0.25, tags=[f"character:{sign}cmd|'/c calc'!A1"])
    assert here("costs", "--by", "character", "--csv") == 0
    ((name, *_), row) = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert name == "character"
    assert row[0].startswith("'")
    assert "-0.25" in row, "a negative number is a number"


def test_csv_can_be_read_back(journal: History, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("costs", "--by", "workflow", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (rows[0]["workflow"], float(rows[0]["usd"]), rows[0]["usd_each"]) == ("flux_dev", 1.25, "0.625")
    assert rows[2]["usd_each"] == ""
    assert here("costs", "--csv", "--json") == 2


def test_a_plot_shows_one_bar_for_each_row(journal: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "costs.png"
    assert here("costs", "--by", "workflow", "--plot", str(target)) == 0
    shown = picture(target).convert("RGB")
    assert shown.width > 600
    assert max(bars_in(shown, y) for y in range(shown.height)) == 3
    assert next(bars_in(shown, y) for y in range(shown.height) if bars_in(shown, y)) == 1  # the dearest is the highest
    assert here("costs", "--plot", str(target)) == 1
    assert "output_exists" in capsys.readouterr().err
    assert here("costs", "--plot", str(tmp_path / "costs.txt")) == 2
    assert here("costs", "--since", "2100-01-01", "--plot", str(tmp_path / "empty.png")) == 2
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["costs.png"]


def test_a_plot_without_its_library_names_the_extra_and_writes_nothing(
    journal: History, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)  # as where the extra is not installed
    assert here("costs", "--plot", str(tmp_path / "costs.png"), "--json") == 1
    error = envelope(capsys.readouterr().out)["error"]
    assert (error["code"], error["hint"]) == ("backend_not_configured", "pip install 'ryla-gen[plots]'")
    assert "matplotlib" in error["message"]
    assert not (tmp_path / "costs.png").exists()
    assert here("costs") == 0, "the table needs nothing"


def test_prices_say_when_they_were_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("costs", "prices", "--json") == 0
    said = envelope(capsys.readouterr().out)
    assert (said["command"], said["data"]["prices_as_of"]) == ("costs prices", "2026-09-01")
    assert {"name": "L40S", "usd_per_second": 0.000542} in said["data"]["items"]
    assert here("costs", "prices") == 0
    assert "read on 2026-09-01" in capsys.readouterr().out


def test_nothing_yet_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("costs") == 0
    assert capsys.readouterr().out == "No jobs yet.\n"


def test_an_estimate_takes_the_options_of_the_workflow_and_needs_no_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("estimate", "flux-dev", "--steps", "28", "--backend", "modal", "--json") == 0
    data = envelope(capsys.readouterr().out)["data"]
    assert (data["workflow"], data["gpu"], data["source"], data["runs"]) == ("flux_dev", "L40S", "table", 0)
    assert data["usd"]["low"] < data["usd"]["likely"] < data["usd"]["high"]
    assert here("estimate", "flux-dev", "a fox", "--steps", "0") == 2
    assert "steps" in capsys.readouterr().err


def test_an_estimate_for_people_says_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("estimate", "wan2", "waves", "--backend", "modal") == 0
    said = capsys.readouterr().out
    for word in (
        "wan2 on modal (L40S)",
        "cost   $",
        "time   60 s",
        "cold   60 s more",
        "Basis: There is no earlier run here",
        "Not included:",
    ):
        assert word in said
    assert here("estimate", "wan22", "waves", "--backend", "modal") == 0
    assert "time   400 s   (120 to 1200 s)" in capsys.readouterr().out
    assert here("estimate", "flux", "--backend", "emulator") == 0
    assert "cost   free of charge" in capsys.readouterr().out


def test_a_run_writes_down_where_its_files_went_and_what_backends_are_named_with_commas(tmp_path: Path) -> None:
    target = tmp_path / "fox.png"
    line = ["run", "flux", "a fox", "--width", "256", "--height", "256", "--steps", "1", "-o", str(target)]
    done = ryla(*line, "--backend", "comfyui,emulator", "--url", "http://127.0.0.1:9", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"warning[fallback]: comfyui did not run this (backend_unreachable)" in done.stderr
    with contextlib.closing(History(Settings.load().history_path)) as history:
        record = history.list()[0]
    assert (record.saved, record.backend) == ([str(target)], "emulator")
