"""``ryla-gen batch``: all rows checked first, each done once, whatever stopped the run before."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Flux, load
from ryla_gen.comfy.client import ComfyClient
from ryla_gen.contract import new_job_id
from ryla_gen.emulator.server import Emulator
from tests.characters.elsewhere import AWAY, Worker
from tests.comfy.proxy import proxied
from tests.runpod_loopback import RunpodLoopback
from tests.runpod_loopback.server import Fault
from tests.support.hooks import RULE, install, known_here

from .emulated import hold_after_the_first, wait_until_left
from .shell import COMMAND, SECONDS, envelope, environment, here, lines, picture, ryla

SMALL = {"width": 256, "height": 256, "steps": 1}


@pytest.fixture
def server() -> Iterator[Emulator]:
    """A server that outlives the command."""
    with Emulator() as emulator:
        yield emulator


def listed(path: Path, *rows: dict[str, Any]) -> str:
    """Write a list; the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(prompt: str, **more: Any) -> dict[str, Any]:
    return {"workflow": "flux", "prompt": prompt, **SMALL, **more}


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a batch to its end; its report."""
    capsys.readouterr()
    assert here("batch", *arguments, "--json") == code
    data: dict[str, Any] = envelope(capsys.readouterr().out)["data"]
    return data


def jobs(capsys: pytest.CaptureFixture[str]) -> int:
    """How many jobs this machine ever submitted."""
    capsys.readouterr()
    here("jobs", "list", "--limit", "1000", "--json")
    return len(envelope(capsys.readouterr().out)["data"]["items"])


def test_every_row_becomes_a_file_and_the_second_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = listed(tmp_path / "list.jsonl", row("fox", output="fox.png", seed=3), row("bear"), row("wolf", output="deep/wolf.webp"))
    out = tmp_path / "out"
    data = ran(capsys, file, "-o", str(out))
    assert (data["succeeded"], data["failed"], data["present"], data["cost_usd"]) == (3, 0, 0, 0)
    names = [item["files"][0] for item in data["items"]]
    assert (names[0], names[2]) == ("fox.png", "deep/wolf.webp")
    assert names[1].startswith("0002-flux-")
    assert [load(out / name).to_plain()["prompt"] for name in names] == ["fox", "bear", "wolf"]
    assert load(out / "fox.png").to_plain()["seed"] == 3
    assert picture(out / names[2]).format == "WEBP"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    again = ran(capsys, file, "-o", str(out))
    assert (again["present"], again["succeeded"], jobs(capsys)) == (3, 0, 3)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == before


def test_only_new_changed_and_lost_rows_are_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    first = ran(capsys, listed(tmp_path / "a.jsonl", row("fox"), row("bear"), row("wolf")), "-o", str(out))
    (out / first["items"][2]["files"][0]).unlink()
    # Another order, one row changed, one new in front: rows are known by what they say, not by where they stand.
    file = listed(tmp_path / "b.jsonl", row("owl"), row("bear", steps=2), row("fox"), row("wolf"))
    states = [item["state"] for item in ran(capsys, file, "-o", str(out))["items"]]
    assert states == ["succeeded", "succeeded", "present", "succeeded"]
    assert jobs(capsys) == 6
    assert len(list(out.glob("*.png"))) == 5


def test_equal_rows_are_two_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = listed(tmp_path / "a.jsonl", row("fox"), row("fox"))
    data = ran(capsys, file, "-o", str(tmp_path))
    assert len({item["files"][0] for item in data["items"]}) == 2
    assert ran(capsys, file, "-o", str(tmp_path))["present"] == 2


def test_csv_columns_are_fields_with_the_types_of_the_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], face: bytes
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "face.png").write_bytes(face)
    file = tmp_path / "lists" / "a.csv"
    file.write_text(
        "workflow,prompt,width,height,steps,guidance,loras,reference_image,output\r\n"
        'flux-lora,"a fox, red\nand small",256,256,1,2.5,"character:0.5,example-style",,fox.png\r\n'
        ",,,,,,,,\r\n"
        "instantid,astronaut,256,256,1,,,face.png,\r\n",
        encoding="utf-8-sig",
    )
    data = ran(capsys, str(file), "-o", str(tmp_path / "out"))
    assert [(item["line"], item["state"]) for item in data["items"]] == [(2, "succeeded"), (5, "succeeded")]
    made = load(tmp_path / "out" / "fox.png").to_plain()
    assert (made["prompt"], made["guidance"], made["steps"]) == ("a fox, red\nand small", 2.5, 1)
    assert made["loras"] == ({"id": "character", "strength": 0.5}, {"id": "example-style", "strength": 1.0})


def test_every_bad_row_is_named_and_nothing_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken.png").write_bytes(b"mine")
    file = tmp_path / "list.jsonl"
    listed(
        file,
        row("fine"),
        row("bad", steps=0),
        {"workflow": "fluxx", "prompt": "fox"},
        {"prompt": "fox"},
        row("typed", steps="20"),
        row("field", stepz=3),
        row("one", output="same.png"),
        row("two", output="Same.png"),
        row("out", output="../x.png"),
        row("gif", output="x.gif"),
        row("taken", output="taken.png"),
        {"workflow": "instantid", "prompt": "fox", "reference_image": "nowhere.png"},
    )
    file.write_text(file.read_text() + "not json\n[1]\n")
    assert here("batch", str(file), "-o", str(tmp_path), "--json") == 2
    printed = capsys.readouterr()
    error = envelope(printed.out)["error"]
    assert [item["line"] for item in error["details"]["rows"]] == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]
    assert "flux" in error["details"]["rows"][1]["hint"]
    for said in ("line 2: ", "line 3: There is no workflow 'fluxx'", "line 8: ", "line 12: ", "line 14: "):
        assert said in printed.err
    assert jobs(capsys) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "list.jsonl", "taken.png"]
    assert here("batch", listed(tmp_path / "b.jsonl", row("taken", output="taken.png")), "-o", str(tmp_path), "--overwrite") == 0
    assert picture(tmp_path / "taken.png").size == (256, 256)


def test_a_dry_run_checks_and_counts_and_sends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    ran(capsys, listed(tmp_path / "a.jsonl", row("fox")), "-o", str(out))
    file = listed(tmp_path / "b.jsonl", row("fox"), row("bear"))
    data = ran(capsys, file, "-o", str(out), "--dry-run")
    assert (data["rows"], data["present"], data["to_do"], jobs(capsys)) == (2, 1, 1, 1)
    assert here("batch", listed(tmp_path / "c.jsonl", row("fox", steps=0)), "-o", str(out), "--dry-run") == 2


def test_a_failure_loses_nothing_else_and_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = listed(tmp_path / "a.jsonl", row("fox"), {**row("bear"), "workflow": "flux_lora", "lora_id": "nobody"}, row("wolf"))
    assert here("batch", file, "-o", str(tmp_path / "out")) == 1
    printed = capsys.readouterr()
    assert "2 of 3 rows done" in printed.out
    assert "error[lora_not_found]: 1 row of 3 failed. Line 2: " in printed.err
    data = ran(capsys, file, "-o", str(tmp_path / "out"), code=1)
    assert [item["state"] for item in data["items"]] == ["present", "failed", "present"]
    assert data["items"][1]["error"]["code"] == "lora_not_found"


def test_an_error_that_every_row_would_meet_stops_the_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = listed(tmp_path / "a.jsonl", *(row(f"fox {number}") for number in range(20)))
    data = ran(capsys, file, "-o", str(tmp_path / "out"), "--url", "http://127.0.0.1:9", "--in-flight", "2", code=1)
    assert data["stopped"]["code"] == "backend_unreachable"
    assert data["failed"] <= 4
    assert [item["state"] for item in data["items"]].count("missing") == 20 - data["failed"]


def test_json_has_a_line_for_each_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("batch", listed(tmp_path / "a.jsonl", row("fox"), row("bear")), "-o", str(tmp_path), "--json") == 0
    told = lines(capsys.readouterr().out)[:-1]
    assert [(item["type"], item["state"]) for item in told] == [("row", "succeeded")] * 2
    assert {item["line"] for item in told} == {1, 2}


def started(file: str, out: Path, url: str, *more: str) -> subprocess.Popen[bytes]:
    line = [*COMMAND, "batch", file, "-o", str(out), "--url", url, "--json", *more]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())


def test_ctrl_c_cancels_what_runs_and_keeps_what_is_done(
    server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_after_the_first(server)
    file = listed(tmp_path / "a.jsonl", *(row(f"fox {number}") for number in range(5)))
    out = tmp_path / "out"
    process = started(file, out, server.url, "--in-flight", "3")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())  # of those sent together, any may be first
    assert first["state"] == "succeeded"
    while server.queue.remaining() < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert envelope(rest)["error"]["code"] == "job_canceled"
    assert b"of 5 rows are done and kept" in said
    assert b"Traceback" not in said
    wait_until_left(server, 0)
    server.knobs.hold_nodes = False
    data = ran(capsys, file, "-o", str(out), "--url", server.url)
    assert [item["state"] for item in data["items"] if item["line"] == first["line"]] == ["present"]
    assert data["present"] + data["succeeded"] == 5


async def test_ctrl_c_while_the_job_of_an_earlier_run_is_looked_for_stops_it(server: Emulator, tmp_path: Path) -> None:
    server.knobs.hold_nodes = True
    file, out = listed(tmp_path / "a.jsonl", row("fox")), tmp_path / "out"
    async with ComfyClient(server.url) as other, proxied(server.url) as proxy:
        await other.submit(Flux(prompt="bear", width=256, height=256).build().to_api(), prompt_id=new_job_id())
        proxy.held_path = "/queue"
        process = started(file, out, proxy.url)
        while server.queue.remaining() < 2 or not proxy.waiting:  # it asks for the position, and has not heard that it was taken
            await asyncio.sleep(0.01)
        process.kill()
        await asyncio.to_thread(process.communicate)
        asked = proxy.waiting
        process = started(file, out, proxy.url)
        while proxy.waiting == asked:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        proxy.held_path = ""
        _, said = await asyncio.to_thread(process.communicate, timeout=SECONDS)
        assert process.returncode == 130
        assert b"Traceback" not in said
    assert server.queue.remaining() == 1, "the one of another"


def test_what_a_killed_batch_had_sent_is_fetched_and_not_paid_twice(
    server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.knobs.hold_nodes = True
    file, out = listed(tmp_path / "a.jsonl", row("fox"), row("bear")), tmp_path / "out"
    process = started(file, out, server.url)
    memory = out / "batch.jsonl"
    while not memory.exists() or memory.read_text().count('"sent"') < 2 or server.queue.remaining() < 2:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    server.knobs.hold_nodes = False
    sent = {json.loads(line)["job"] for line in memory.read_text().splitlines()}
    with memory.open("a") as file_of_memory:
        file_of_memory.write('{"key": "torn')  # what a machine that lost its power leaves
    data = ran(capsys, file, "-o", str(out), "--url", server.url)
    assert {item["job"] for item in data["items"]} == sent
    assert (data["succeeded"], jobs(capsys), len(list(out.glob("*.png")))) == (2, 2, 2)
    assert ran(capsys, file, "-o", str(out))["present"] == 2


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def endpoint(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunpodLoopback]:
    with RunpodLoopback(worker) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.mark.parametrize("fault", [AWAY, Fault(status=401)], ids=["no answer", "token refused"])
def test_a_row_that_nobody_heard_of_is_fetched_by_the_next_run_and_not_paid_twice(
    endpoint: RunpodLoopback, worker: Worker, fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [listed(tmp_path / "a.jsonl", row("fox")), "-o", str(tmp_path / "out"), "--backend", "runpod"]
    worker.ready.clear()
    for _ in range(2):
        endpoint.faults["status"] = [fault]
        assert ran(capsys, *line, code=1)["failed"] == 1
    worker.ready.set()
    assert ran(capsys, *line)["succeeded"] == 1
    assert (endpoint.count("run"), jobs(capsys)) == (1, 1)


def test_a_row_whose_job_is_lost_or_whose_worker_died_is_sent_again_by_the_next_run(
    endpoint: RunpodLoopback, worker: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [listed(tmp_path / "a.jsonl", row("fox")), "-o", str(tmp_path / "out"), "--backend", "runpod"]
    endpoint.faults["status"] = [AWAY]
    worker.answer = {"error": "the worker ran away"}
    ran(capsys, *line, code=1)
    endpoint.jobs.clear()
    assert ran(capsys, *line, code=1)["items"][0]["error"]["code"] == "server_unhealthy"
    assert endpoint.count("run") == 2, "the job was gone"
    worker.answer = None
    assert ran(capsys, *line)["succeeded"] == 1
    assert endpoint.count("run") == 3, "its worker had died"


def test_two_batches_do_not_share_a_folder(server: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.knobs.delay_per_node = 30.0
    file, out = listed(tmp_path / "a.jsonl", row("fox")), tmp_path / "out"
    process = started(file, out, server.url)
    try:
        while server.queue.remaining() < 1:
            time.sleep(0.02)
        assert here("batch", file, "-o", str(out), "--url", server.url) == 1
        assert "Another batch is running" in capsys.readouterr().err
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


@pytest.mark.parametrize(
    "entry",
    [
        '{"key": 5, "state": "done"}',
        '{"key": "a", "state": "done"}',
        '{"key": "a", "state": "done", "files": [{"name": 5, "bytes": 1}]}',
        '{"key": "a", "state": "done", "files": {"name": "x"}}',
        '{"key": "a", "state": "done", "files": [], "uploads": [1]}',
        '{"key": "a", "state": "sent", "job": ["x"]}',
        '{"key": "a", "state": "saving", "job": "x", "claims": 7}',
        '{"key": "a", "state": "failed", "error": "none"}',
        '{"key": "a", "state": "failed", "error": {"code": [], "details": [1]}}',
        '{"key": "a", "state": {}}',
    ],
)
def test_a_memory_of_another_shape_is_refused_with_its_line(entry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = listed(tmp_path / "a.jsonl", row("fox")), tmp_path / "out"
    out.mkdir()
    (out / "batch.jsonl").write_text(f'{{"key": "b", "state": "canceled"}}\n{entry}\n')
    assert here("batch", file, "-o", str(out), "--json") == 2
    error = envelope(capsys.readouterr().out)["error"]
    assert (error["code"], "(line 2)" in error["message"]) == ("invalid_input", True)
    assert jobs(capsys) == 0


def test_deep_and_endless_rows_are_named_and_a_deep_memory_is_a_torn_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep, out = "[" * 100_000, tmp_path / "out"
    file = tmp_path / "a.jsonl"
    file.write_text(f'{{"workflow": "flux", "prompt": {deep}\n{{"workflow": "flux", "seed": {"9" * 5000}}}\n{{"workflow": 7}}\n')
    assert here("batch", str(file), "-o", str(out), "--json") == 2
    error = envelope(capsys.readouterr().out)["error"]
    assert [item["line"] for item in error["details"]["rows"]] == [1, 2, 3]
    assert {item["code"] for item in error["details"]["rows"]} == {"invalid_input"}
    out.mkdir()
    (out / "batch.jsonl").write_text(f'{{"key": "b", "state": "canceled"}}\n{{"key": {deep}\n')
    assert ran(capsys, listed(tmp_path / "b.jsonl", row("fox")), "-o", str(out))["succeeded"] == 1


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.txt", "x", 2),
        ("a.jsonl", "", 2),
        ("batch.jsonl", '{"workflow": "flux"}\n', 2),
        ("nowhere/a.csv", None, 2),
        ("a.csv", "a\n\n", 2),
    ],
)
def test_what_is_no_list_is_refused(name: str, text: str | None, code: int, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    done = ryla("batch", str(tmp_path / name), "-o", str(tmp_path))
    assert done.returncode == code
    assert b"hint: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_refused_row_is_one_failed_row_of_which_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(tmp_path / "site", "ryla_hook_of_batches", RULE)
    file = listed(tmp_path / "list.jsonl", row("fox"), row("a forbidden fox"), row("bear"))
    with known_here(tmp_path / "site"):
        data = ran(capsys, file, "-o", str(tmp_path / "out"), code=1)
        assert [item["state"] for item in data["items"]] == ["succeeded", "failed", "succeeded"]
        assert data["items"][1]["error"]["code"] == "refused"
        assert len(list((tmp_path / "out").glob("*.png"))) == 2
        again = ran(capsys, file, "-o", str(tmp_path / "out"), code=1)
    assert [item["state"] for item in again["items"]] == ["present", "failed", "present"]
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
