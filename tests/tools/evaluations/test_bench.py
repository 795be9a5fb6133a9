"""``ryla-gen bench`` on real servers: counts, targets, interrupts, and a report that loads nothing."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from ryla_gen import AsyncClient, FluxDev, InstantID, Wan2
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BackendUnreachableError, FaceNotFoundError
from ryla_gen.tools.evaluations.measures import Evaluation
from ryla_gen.tools.evaluations.report import report
from ryla_gen.tools.evaluations.trials import Trial, TrialOptions, trials
from ryla_gen_cli.commands.bench.run import BenchPlan, conclude
from ryla_gen_cli.screen import Screen
from tests.cli.shell import envelope, here, started

SMALL = ["--set", "width=256", "--set", "height=256", "--set", "steps=1"]
FIELDS: dict[str, Any] = {"prompt": "a fox", "width": 256, "height": 256, "steps": 1}

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A server of its own, with knobs."""
    with Emulator() as made:
        made.start()
        monkeypatch.setenv("COMFYUI_POD_URL", made.url)
        yield made


def told(capsys: Capsys, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a bench; the last line of its JSON."""
    capsys.readouterr()
    assert here("bench", *arguments, "--yes", "--json") == code
    return envelope(capsys.readouterr().out)


class Page(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def loads(text: str) -> list[str]:
    """Whatever the page would fetch from outside itself."""
    page = Page(text)
    named = [value for name, value in page.attributes if name in ("src", "href", "srcset", "data", "action")]
    styled = re.findall(r"url\((?!#)([^)]*)\)|@import\s+(\S+)", text)  # "#" is a place in the page itself
    return [value for value in named if not value.startswith("data:image/jpeg;base64,")] + [str(item) for item in styled]


def test_a_workflow_that_works_meets_the_target(server: Emulator, capsys: Capsys) -> None:
    found = told(capsys, "success-rate", "flux", "--count", "4", *SMALL, "--seed", "7", "--in-flight", "2")
    data = found["data"]
    assert (found["ok"], found["command"], data["passed"]) == (True, "bench success-rate", True)
    assert (data["success"]["successes"], data["success"]["of"], data["backend"]) == (4, 4, "comfyui")
    assert [item["seed"] for item in data["items"]] == [7, 8, 9, 10]
    assert len({item["prompt"] for item in data["items"]}) == 4
    assert all(item["ok"] and item["files"] == 1 and item["seconds"] >= item["running"] > 0 for item in data["items"])
    assert data["errors"] == {}
    assert any("cannot prove" in text for text in data["remarks"])
    assert here("jobs", "list", "--tag", "bench-success-rate", "--json") == 0
    assert len(envelope(capsys.readouterr().out)["data"]["items"]) == 4


def test_failures_miss_it_with_exit_1_and_say_why(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    server.knobs.out_of_memory_at = "KSampler"
    page = tmp_path / "report.html"
    found = told(capsys, "success-rate", "flux", "--count", "2", *SMALL, "--report", str(page), code=1)
    assert (found["ok"], found["error"]["code"], found["data"]["passed"]) == (False, "out_of_memory", False)
    assert found["data"]["errors"] == {"out_of_memory": 2}
    assert found["data"]["success"]["rate"] == 0.0
    assert "out_of_memory" in page.read_text(encoding="utf-8")


def test_the_target_can_be_chosen_and_exactly_reaching_it_is_not_enough(server: Emulator, capsys: Capsys) -> None:
    assert told(capsys, "success-rate", "flux", "--count", "1", *SMALL, "--target", "0.5")["data"]["passed"] is True
    server.knobs.out_of_memory_at = "KSampler"
    assert told(capsys, "success-rate", "flux", "--count", "1", *SMALL, "--target", "0", code=1)["data"]["passed"] is False


def test_performance_tells_cold_from_warm_with_percentiles_and_a_price(
    server: Emulator, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    data = told(capsys, "performance", "flux", "--count", "3", *SMALL)["data"]
    assert (data["cold"]["seconds"]["count"], data["warm"]["seconds"]["count"]) == (1, 2)
    warm = data["warm"]["seconds"]
    assert warm["low"] <= warm["p50"] <= warm["p95"] <= warm["high"]
    ran = sum(item["running"] for item in data["items"])
    assert data["cost_usd"] == pytest.approx(ran, rel=1e-6)
    assert data["usd_per_file"] == pytest.approx(ran / 3, rel=1e-6)
    assert data["passed"] is None
    assert data["per_minute"] > 0


def test_the_screen_says_that_the_emulator_is_no_model(capsys: Capsys, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    line = ["bench", "performance", "flux", "--count", "2", *SMALL, "--backend", "emulator", "--yes", "--report", str(page)]
    assert here(*line) == 0
    said = capsys.readouterr()
    assert "say nothing about a model" in said.out
    assert "2/2" in said.err
    assert "say nothing about a model" in page.read_text(encoding="utf-8")
    assert here(*line) == 1  # it is there already
    assert "output_exists" in capsys.readouterr().err


def test_it_asks_first_and_says_what_it_costs(server: Emulator, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    assert here("bench", "performance", "flux", "--count", "3", *SMALL) == 2
    said = capsys.readouterr().err
    assert "Run flux 3 times on comfyui, for about $" in said
    assert "--yes" in said
    assert server.stats.prompts == 0


@pytest.mark.parametrize(
    "line",
    [
        "success-rate nope --yes",
        "success-rate flux --set steps --yes",
        "success-rate flux --set nope=1 --yes",
        "success-rate flux --count 0 --yes",
        "success-rate flux --target 2 --yes",
        "success-rate flux --target 1 --yes",
        "success-rate flux --target nan --yes",
        "success-rate flux --timeout 0 --yes",
        "performance instantid --yes",
        "consistency nowhere.png --yes",
        "consistency nowhere.png --workflow flux --yes",
    ],
)
def test_a_wrong_line_is_exit_2_before_anything_runs(line: str, server: Emulator, capsys: Capsys) -> None:
    assert here("bench", *line.split()) == 2
    assert re.match(r"error\[invalid_input\]: \S.*\n  hint: \S", capsys.readouterr().err)
    assert server.stats.prompts == 0


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "folder" / "report.html"):
        assert here("bench", "performance", "flux", "--yes", "--report", str(target)) == 1
        assert "storage_failed" in capsys.readouterr().err
    assert server.stats.prompts == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root, or the system, may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert here("bench", "performance", "flux", "--yes", "--report", str(tmp_path / "report.html")) == 1
    assert "storage_failed" in capsys.readouterr().err
    assert server.stats.prompts == 0


def test_a_folder_that_is_not_there_is_made_for_the_report(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    page = tmp_path / "new" / "folder" / "report.html"
    told(capsys, "performance", "flux", "--count", "1", *SMALL, "--report", str(page))
    assert page.exists()


@pytest.mark.parametrize("more", [["--json"], []])
def test_a_report_that_cannot_be_written_after_all_loses_nothing(more: list[str], server: Emulator, tmp_path: Path) -> None:
    server.knobs.delay_per_node = 3.0
    page = tmp_path / "report.html"
    process = started("bench", "performance", "flux", "--count", "3", *SMALL, "--yes", "--report", str(page), *more)
    while server.queue.remaining() == 0:  # by then it has looked whether the report can be written
        assert process.poll() is None
        time.sleep(0.02)
    page.write_text("somebody else's")
    server.knobs.delay_per_node = 0.0
    out, said = process.communicate(timeout=600)
    assert process.returncode == 1
    assert b"error[output_exists]" in said
    if more:
        found = envelope(out)
        assert (found["ok"], found["error"]["code"], found["data"]["report"]) == (False, "output_exists", None)
        assert [item["ok"] for item in found["data"]["items"]] == [True, True, True]
    else:
        assert re.search(rb"runs +3\n", out)
    assert page.read_text() == "somebody else's"


def test_a_mean_below_the_target_is_exit_1_and_no_fault_of_anybody(capsys: Capsys) -> None:
    found = evaluated(kind="consistency", trials=evaluated().trials[:3], target=0.6)
    plan = BenchPlan("consistency", "instantid", 3, (), (), None, target=0.6)
    with pytest.raises(typer.Exit) as stop:
        conclude(Screen("bench consistency", as_json=True), plan, found, 0, None)
    said = capsys.readouterr()
    told = envelope(said.out)
    assert (stop.value.exit_code, told["ok"], told["error"], told["data"]["passed"]) == (1, True, None, False)
    assert "mean similarity 0.50 is below the target 0.6" in said.err
    assert "error[" not in said.err


def test_where_nothing_answers_it_ends_at_once_with_that_error(capsys: Capsys) -> None:
    found = told(capsys, "success-rate", "flux", "--count", "50", "--url", "http://127.0.0.1:9", code=1)
    assert (found["error"]["code"], found["data"]) == ("backend_unreachable", None)


def test_consistency_without_what_compares_faces_says_so_before_anything_runs(
    server: Emulator, capsys: Capsys, face: bytes, tmp_path: Path
) -> None:
    reference = tmp_path / "face.png"
    reference.write_bytes(face)
    found = told(capsys, "consistency", str(reference), code=1)
    assert found["error"]["code"] in ("backend_not_configured", "model_not_found")
    assert found["error"]["hint"]
    assert server.stats.prompts == 0


def test_stopping_keeps_what_was_measured_and_writes_the_report(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    process = started("bench", "success-rate", "flux", "--count", "1000", *SMALL, "--yes", "--json", "--report", str(page))
    assert process.stdout is not None and process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"2/1000"):
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=600)
    found = json.loads(out.splitlines()[-1])
    assert process.returncode == 130
    assert (found["ok"], found["error"]["code"]) == (False, "job_canceled")
    kept = found["data"]["items"]
    assert 2 <= len(kept) < 1000
    assert f"Stopped after {len(kept)} of 1000 runs." in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert here("jobs", "list", "--tag", "bench", "--json") == 0
    assert {item["state"] for item in envelope(capsys.readouterr().out)["data"]["items"]} <= {"succeeded", "canceled"}


def test_stopping_before_the_first_run_ended_claims_nothing(server: Emulator, capsys: Capsys) -> None:
    server.knobs.delay_per_node = 30.0
    process = started("bench", "success-rate", "flux", "--count", "3", *SMALL, "--yes", "--json")
    while server.queue.remaining() == 0:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=600)
    found = envelope(out)
    assert process.returncode == 130, said
    assert (found["error"]["code"], found["data"]) == ("job_canceled", None)
    assert "canceled" in found["error"]["message"]
    assert b"kept" not in said
    while server.queue.remaining():  # shown until its thread is at its end
        time.sleep(0.02)


@pytest.fixture
async def client(server: Emulator) -> AsyncIterator[AsyncClient]:
    """An async client of the server."""
    async with AsyncClient(url=server.url) as made:
        yield made


async def test_a_face_is_compared_where_the_backend_does_not_do_so(client: AsyncClient, face: bytes) -> None:
    def compare(picture: bytes) -> float:
        with Image.open(io.BytesIO(picture)) as opened:
            if opened.size == (256, 272):
                raise FaceNotFoundError("No face.")
        return 0.5

    workflows = [InstantID(**FIELDS | {"height": height}, reference_image=face, seed=1) for height in (256, 272)]
    found = [trial async for trial in trials(client, workflows, TrialOptions(compare=compare, pictures=True))]
    assert [(trial.ok, trial.similarity) for trial in found] == [(True, 0.5), (True, None)]
    evaluation = Evaluation("consistency", "instantid", "comfyui", 2, 0.6, trials=found)
    assert (evaluation.similarity.mean, evaluation.passed) == (0.5, False)
    assert evaluation.remarks() == ["1 of 2 pictures without a face that could be compared."]
    evaluation.trials = [replace(trial, backend="emulator") for trial in found]
    assert "does not measure a model" in evaluation.remarks()[0]


async def test_a_server_that_dies_later_is_a_failure_and_not_the_end(server: Emulator, client: AsyncClient) -> None:
    coming = trials(client, (FluxDev(**FIELDS, seed=seed) for seed in range(3)), TrialOptions())
    assert (await anext(coming)).ok
    server.close()
    rest = [trial async for trial in coming]
    assert [trial.ok for trial in rest] == [False, False]
    assert {trial.code for trial in rest} <= {"backend_unreachable", "server_unhealthy"}


async def test_a_server_that_was_never_there_is_the_end(client: AsyncClient, server: Emulator) -> None:
    server.close()
    with pytest.raises(BackendUnreachableError):
        await anext(trials(client, [FluxDev(**FIELDS)], TrialOptions()))


async def test_leaving_early_cancels_what_runs(server: Emulator, client: AsyncClient) -> None:
    server.knobs.delay_per_node = 0.2
    coming = trials(client, (FluxDev(**FIELDS, seed=seed) for seed in range(9)), TrialOptions(in_flight=3))
    assert (await anext(coming)).ok
    server.knobs.delay_per_node = 60.0  # an interrupt ends it
    await coming.aclose()
    states = [record.state for record in client.jobs.list()]
    assert set(states) <= {"succeeded", "canceled"}
    assert states.count("canceled") >= 2


async def test_a_video_shows_its_first_frame(client: AsyncClient) -> None:
    request = Wan2(prompt="waves", width=256, height=256, steps=1, length=5)
    (found,) = [trial async for trial in trials(client, [request], TrialOptions(pictures=True))]
    assert found.picture is not None
    with Image.open(io.BytesIO(found.picture)) as opened:
        assert (opened.format, max(opened.size)) == ("JPEG", 256)


NASTY = '"><script>alert(1)</script><img src=https://example.com/x>'


def evaluated(**more: Any) -> Evaluation:
    """An evaluation with everything in it that a page can show."""
    small = io.BytesIO()
    Image.new("RGB", (40, 30), "#445566").save(small, "JPEG")
    good = [
        Trial(index, True, 1.0 + index, seed=index, prompt=NASTY, similarity=0.5, files=1, picture=small.getvalue())
        for index in range(70)
    ]
    bad = Trial(70, False, 2.0, prompt=NASTY, code="node_failed", message=NASTY)
    values: dict[str, Any] = {"kind": "success-rate", "workflow": "flux", "backend": NASTY, "wanted": 71, "target": 0.95}
    return Evaluation(**values | {"trials": [*good, bad], "inputs": {NASTY: NASTY}, "reference": small.getvalue()} | more)


@pytest.mark.parametrize("kind", ["success-rate", "consistency", "performance"])
def test_the_page_loads_nothing_and_runs_nothing_whatever_stands_in_it(kind: str) -> None:
    text = report(evaluated(kind=kind))
    assert loads(text) == []
    assert "script" not in Page(text).tags
    assert "default-src 'none'" in text
    assert text.count("<img ") == 61  # the reference, and as many as a page can bear
    assert "The first 60 of 70." in text
    assert not [name for name, _ in Page(text).attributes if name.startswith("on")]


@pytest.mark.parametrize("kind", ["success-rate", "consistency", "performance"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_page_of_few_runs_is_whole(kind: str, count: int) -> None:
    text = report(evaluated(kind=kind, trials=evaluated().trials[:count], inputs={}))
    assert text.endswith("</html>\n")
    for word in ("nan", "None", "inf"):
        assert not re.search(rf"[>\"]{word}\b", text), word


def test_the_plots_are_drawn_in_the_pages_colours_and_the_same_for_the_same_numbers() -> None:
    text = report(evaluated(kind="performance"))
    assert Page(text).tags.count("svg") == 3  # success rate, since a run failed; seconds; warm runs
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert {"var(--main)", "var(--bad)", "var(--soft)", "var(--mark)"} <= set(re.findall(r"var\(--\w+\)", drawn))
    assert ">target 95 %</text>" in drawn
    assert report(evaluated(kind="performance")) == text


@pytest.mark.parametrize("kind", ["success-rate", "consistency", "performance"])
def test_without_matplotlib_the_page_has_its_tables_and_names_the_extra(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    text = report(evaluated(kind=kind))
    assert "svg" not in Page(text).tags
    assert {"table", "img"} <= set(Page(text).tags)
    assert "pip install 'ryla-gen[plots]'" in text
    assert text.endswith("</html>\n")


def test_the_data_of_an_evaluation_is_json() -> None:
    assert json.loads(json.dumps(evaluated().to_data()))["errors"] == {"node_failed": 1}
