"""``jobs logs`` of a ComfyUI server of one's own: what it shows, what comes while it is followed, and the file when it is gone."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from ryla_gen import AsyncClient, Client, FluxDev
from ryla_gen.backends.server_logs import LOCAL_LOG
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import NodeFailedError
from ryla_gen.settings import home_folder
from ryla_gen.tools.local.folder import Folder
from tests.comfy.proxy import proxied

from .shell import SECONDS, SMALL, envelope, here, lines, ryla, started

Capsys = pytest.CaptureFixture[str]

EVIL = "pack says \x1b]0;title\x07\x1b[31m\x9b2J and Authorization: Bearer abcdef"
"""A line that sets the title of the window, colours, clears the screen, and tells a secret."""


@pytest.fixture
def server() -> Iterator[Emulator]:
    """A server that outlives the commands."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def configured(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command uses that server."""
    monkeypatch.setenv("COMFYUI_POD_URL", server.url)


def made(capsys: Capsys, folder: Path) -> str:
    """Make a picture; the id of its job."""
    assert here("run", "flux", "a fox", *SMALL, "-o", str(folder / "fox.png"), "--json") == 0
    return str(envelope(capsys.readouterr().out)["data"]["job"])


def test_the_newest_lines_of_the_server_are_shown_and_obeyed_by_no_terminal(
    server: Emulator, capsys: Capsys, tmp_path: Path
) -> None:
    job = made(capsys, tmp_path)
    while "Prompt executed in" not in str(server.log.to_data()):  # written after the client was told of the end
        time.sleep(0.01)
    server.executor.log(EVIL)
    assert here("jobs", "logs", job) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[:1] == ["got prompt"]
    assert "Prompt executed in" in shown.out
    assert "pack says \\u009b2J and Authorization: [secret]" in shown.out
    assert not {"\x1b", "\x07", "\x9b"} & set(shown.out + shown.err)
    assert shown.err == f"── {server.url}\n"
    assert here("jobs", "logs", job, "--json") == 0
    *entries, _ = lines(out := capsys.readouterr().out)
    assert [item["part"] for item in entries] == ["comfyui"] * len(entries)
    assert envelope(out)["data"] == {"name": job, "lines": len(entries)}


def test_a_node_that_raises_is_found_in_the_log_with_its_trace(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    server.knobs.raise_at = "KSampler"
    assert here("run", "flux", "a fox", *SMALL, "-o", str(tmp_path / "fox.png")) == 1
    with Client(url=server.url) as client:
        (record,) = client.jobs.list()
        with pytest.raises(NodeFailedError):
            client.jobs.get(record.id).result()
    capsys.readouterr()
    assert here("jobs", "logs", record.id) == 0
    shown = capsys.readouterr().out
    assert "!!! Exception during processing !!!" in shown
    assert "Traceback (most recent call last)" in shown


def test_following_ends_with_the_job_and_shows_what_came_meanwhile(server: Emulator) -> None:
    server.knobs.hold_nodes = True
    said = []
    with Client(url=server.url) as client:
        job = client.submit(FluxDev(prompt="a fox", width=256, height=256, steps=1))
        for line in client.jobs.logs(job.id, follow=True):
            said.append(line.text)
            if len(said) == 1:
                server.executor.log("a node says something")
                server.knobs.hold_nodes = False
        assert job.done
    assert said[0] == "got prompt"
    assert "a node says something" in said  # the server's own last line may come after the end
    end = time.monotonic() + SECONDS
    while server.stats.sockets:  # the server notices a moment later
        assert time.monotonic() < end, "something is left open"
        time.sleep(0.01)


async def test_a_line_that_is_written_before_the_following_begins_is_shown_at_once(server: Emulator) -> None:
    server.knobs.hold_nodes = True
    async with proxied(server.url) as proxy, AsyncClient(url=proxy.url) as client:
        job = await client.submit(FluxDev(prompt="a fox", width=256, height=256, steps=1))
        proxy.held_path = "/internal/logs/subscribe"
        async with asyncio.timeout(SECONDS), aclosing(client.jobs.logs(job.id, follow=True)) as following:
            assert (await anext(following)).text == "got prompt"
            line = asyncio.ensure_future(anext(following))
            while not proxy.waiting:
                await asyncio.sleep(0.01)
            server.executor.log("a node says something")
            proxy.held_path = ""
            assert (await line).text == "a node says something", "although the job is held"
        await job.cancel()


def test_an_interrupt_stops_the_following_and_not_the_job(server: Emulator) -> None:
    server.knobs.silent_seconds = 600.0
    with Client(url=server.url) as client:
        job = client.submit(FluxDev(prompt="a fox", width=256, height=256, steps=1))
        process = started("jobs", "logs", job.id, "--follow")
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"got prompt"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 130
        assert b"Stopped." in err
        assert f"ryla-gen jobs logs {job.id} --follow".encode() in err
        assert job.state in ("queued", "running")
        job.cancel()


def test_a_server_without_a_log_is_an_empty_one(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    job = made(capsys, tmp_path)
    server.log._entries.clear()
    assert here("jobs", "logs", job) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"The log of {job} is empty" in shown.err


def test_when_the_server_of_this_machine_is_gone_its_file_is_read(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    job = made(capsys, tmp_path)
    server.close()
    assert here("jobs", "logs", job) == 1
    assert "look where it ran" in capsys.readouterr().err
    folder = Folder((home_folder() / "local").absolute())
    assert folder.log == home_folder() / LOCAL_LOG
    folder.root.mkdir(parents=True)
    folder.log.write_text("starting\n\x1b[31mHF_TOKEN=hf_secret\x1b[0m\n", encoding="utf-8")
    shown = ryla("jobs", "logs", job)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == b"starting\nHF_TOKEN=[secret]\n"
    assert str(folder.log).encode() in shown.stderr


def test_a_job_is_asked_of_the_server_that_had_it_unless_another_is_named(server: Emulator, capsys: Capsys, tmp_path: Path) -> None:
    job = made(capsys, tmp_path)
    with Emulator() as other:
        other.executor.log("of another server")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COMFYUI_POD_URL", other.url)
            assert here("jobs", "logs", job) == 0
            assert "of another server" not in capsys.readouterr().out
        assert here("jobs", "logs", job, "--url", other.url) == 0
        assert capsys.readouterr().out == "of another server\n"


def test_what_has_another_shape_than_a_log_is_left_out() -> None:
    from ryla_gen.comfy.log_stream import pieces_in

    for data in (None, [], {"entries": None}, {"entries": [1, {"m": 2}, {"t": "now"}]}):
        assert pieces_in(data) == []
    assert pieces_in({"entries": [{"t": 1, "m": "a"}]}) == [("1", "a")]
