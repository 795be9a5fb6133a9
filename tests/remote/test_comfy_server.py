"""The ComfyUI process under supervision; the emulator's process stands in its place."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from ryla_gen.comfy.client import ComfyClient
from ryla_gen.comfy.server import PORTS, ComfyServer, free_port, run_probe
from ryla_gen.errors import ServerUnhealthyError

EMULATOR = (sys.executable, "-m", "ryla_gen.emulator", "--port", "{port}")
ROOT = Path(__file__).resolve().parents[2]


def server(*more: str, command: tuple[str, ...] = EMULATOR, **options: float) -> ComfyServer:
    return ComfyServer([*command, *more], folder=ROOT, **options)  # type: ignore[arg-type]


def runs(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_it_is_ready_when_it_has_run_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryla_gen.comfy.server.TERM_SECONDS", 120.0)  # it ends by itself, however slow this machine is
    comfy = server("--folder", str(tmp_path))
    try:
        began = time.monotonic()
        seconds = await comfy.start()
        assert 0 < seconds <= time.monotonic() - began
        assert comfy.alive
        async with ComfyClient(comfy.url) as client:
            await run_probe(client)
        assert len(list((tmp_path / "temp").glob("*.png"))) == 1, "written by the probe at the start; ours was cached"
    finally:
        await comfy.stop()
    assert not comfy.alive
    assert await comfy.wait() == 0, "it ended by itself when it was asked to"


async def test_a_killed_server_is_noticed_and_starts_again_elsewhere() -> None:
    comfy = server()
    try:
        await comfy.start()
        first, gone = comfy.pid, asyncio.create_task(comfy.wait())
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert await asyncio.wait_for(gone, 60) == -signal.SIGKILL
        await comfy.start()
        assert comfy.pid != first
        async with ComfyClient(comfy.url) as client:
            await run_probe(client)
    finally:
        await comfy.stop()


async def test_kill_ends_a_stopped_server_and_its_children() -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    lines: list[str] = []
    comfy = ComfyServer([sys.executable, "-c", script], folder=ROOT, log=lines.append, ready_within=600)
    starting = asyncio.create_task(comfy.start())
    while not lines:
        await asyncio.sleep(0.02)
    assert comfy.pid is not None
    os.kill(comfy.pid, signal.SIGSTOP)
    await asyncio.wait_for(comfy.kill(), 60)
    with pytest.raises(ServerUnhealthyError):
        await starting
    async with asyncio.timeout(60):
        while runs(int(lines[0])):  # it was killed, and may not have been its turn since
            await asyncio.sleep(0.02)


async def test_one_that_ends_while_it_starts_says_why() -> None:
    comfy = server(command=(sys.executable, "-c", "import sys; sys.exit('no CUDA here')"))
    with pytest.raises(ServerUnhealthyError, match=r"exit code 1.*no CUDA here") as raised:
        await comfy.start()
    assert raised.value.details["log"] == "no CUDA here"


async def test_one_that_answers_but_runs_nothing_is_not_ready() -> None:
    comfy = server("--knob", "silent_seconds=600", ready_within=2.5)
    with pytest.raises(ServerUnhealthyError, match="not ready within 2.5 s"):
        await comfy.start()
    assert not comfy.alive


async def test_a_command_that_does_not_exist_is_a_typed_error() -> None:
    with pytest.raises(ServerUnhealthyError, match="could not be started"):
        await server(command=("no-such-program-anywhere",)).start()


def test_a_free_port_is_none_that_a_system_gives_away_before_the_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        assert given.getsockname()[1] >= PORTS.stop, "what this system gives to whoever asks for any"
    port = free_port()
    assert port in PORTS
    monkeypatch.setattr("ryla_gen.comfy.server.PORTS", range(port, port + 1))
    assert free_port() == port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ServerUnhealthyError, match=f"No port between {port} and"):
        free_port()
