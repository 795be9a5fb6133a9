"""A server in the background: started, found again by another process, stopped, and never mistaken for something else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ryla_gen import Client
from ryla_gen.errors import NotDeployedError, ServerUnhealthyError
from ryla_gen.tools.local.folder import Folder
from ryla_gen.tools.local.process import Local
from tests.cli.shell import COMMAND, environment, lines, ryla

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="started on Linux and macOS only")
EMULATOR = f"{sys.executable} -m ryla_gen.emulator --port {{port}} --folder {{work}}"
SECONDS = 60


def local(folder: Path, command: str = EMULATOR) -> Local:
    return Local(Folder(folder), environment(RYLA_COMFYUI_COMMAND=command))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Local]:
    one = local(tmp_path)
    await one.start(port=0, cpu=True, ready_within=SECONDS)
    yield one
    one.stop()


def gone(pid: int) -> bool:
    """Whether a process has ended, collected by its parent or not."""
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


async def until_ended(pid: int) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                if os.waitpid(pid, os.WNOHANG) != (0, 0):  # noqa: ASYNC222 - returns at once
                    return
            except ChildProcessError:
                return
            await asyncio.sleep(0.02)


async def test_a_server_that_dies_by_itself_is_told_from_one_that_was_stopped(server: Local, tmp_path: Path) -> None:
    found = await server.status()
    assert found.state == "ready" and found.pid is not None
    os.kill(found.pid, signal.SIGKILL)
    await until_ended(found.pid)
    assert (await local(tmp_path).status()).state == "died"
    assert server.stop() is None
    assert (await server.status()).state == "stopped"


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        folder.state.mkdir()
        told = {"pid": stranger.pid, "born": "1", "url": "http://127.0.0.1:1", "command": []}
        (folder.state / "server.json").write_text(json.dumps(told))
        one = local(tmp_path)
        assert one.stop() is None, "nobody holds the lock: nothing runs"
        (folder.state / "server.json").write_text(json.dumps(told))
        with one._lock() as lock:
            assert lock is not None
            with pytest.raises(ServerUnhealthyError, match="its process is not known"):
                one.stop()
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n", timeout=SECONDS)


async def test_stopping_ends_what_the_server_started_even_when_it_ignores_a_polite_word(tmp_path: Path) -> None:
    child = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    (tmp_path / "child.py").write_text(child)
    parent = (
        "import os,subprocess,sys\n"
        f"p = subprocess.Popen([sys.executable, {str(tmp_path / 'child.py')!r}], close_fds=False)\n"
        "open(sys.argv[1], 'w').write(str(p.pid))\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n"
    )
    (tmp_path / "parent.py").write_text(parent)
    noted = tmp_path / "child.pid"
    command = f"{sys.executable} {tmp_path / 'parent.py'} {noted} -m ryla_gen.emulator --port {{port}} --folder {{work}}"
    one = local(tmp_path / "place", command)
    (tmp_path / "place").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ryla_gen.tools.local.process.STOP_SECONDS", 3.0)
        await one.start(port=0, cpu=True, ready_within=SECONDS)
        one.stop()
    assert not one.held
    assert gone(int(noted.read_text()))


async def test_a_server_that_ends_while_it_starts_shows_its_last_words(tmp_path: Path) -> None:
    one = local(tmp_path, f"{sys.executable} -c 'raise SystemExit(\"CUDA is not here\")'")
    with pytest.raises(ServerUnhealthyError, match="CUDA is not here") as caught:
        await one.start(port=0, cpu=False, ready_within=SECONDS)
    assert "comfyui.log" in caught.value.hint
    assert not one.held


async def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    one = local(tmp_path, f"{sys.executable} -c 'import time; time.sleep(600)'")
    with pytest.raises(ServerUnhealthyError, match="not ready within"):
        await one.start(port=0, cpu=False, ready_within=0.5)
    assert not one.held


async def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ServerUnhealthyError, match=f"port {port} cannot be used") as caught:
            await local(tmp_path).start(port=port, cpu=True)
    assert f"--port {port + 1}" in caught.value.hint


async def test_nothing_is_started_that_was_not_installed(tmp_path: Path) -> None:
    with pytest.raises(NotDeployedError, match="No ComfyUI is installed"):
        await Local(Folder(tmp_path), {}).start(port=0, cpu=True)


def test_hints_name_the_folder_they_are_about_unless_it_is_the_usual_one(tmp_path: Path) -> None:
    place = tmp_path / "two words"
    for arguments, option in ((["--folder", str(place)], f" --folder '{place}'"), ([], "")):
        assert ryla("local", "status", *arguments).stdout.decode().endswith(f"ryla-gen local install flux-dev{option}\n")
        said = ryla("local", "start", *arguments).stderr.decode()
        assert said.endswith(f"hint: Install it: ryla-gen local install flux{option}\n")
    place.mkdir()
    told = ryla("local", "status", "--folder", str(place), RYLA_COMFYUI_COMMAND=EMULATOR).stdout.decode()
    assert told.endswith(f"ryla-gen local start --folder '{place}'\n")


def test_the_command_starts_a_server_that_outlives_it_and_runs_pictures(tmp_path: Path) -> None:
    variables = {"RYLA_COMFYUI_COMMAND": EMULATOR}
    place = ["--folder", str(tmp_path / "place")]
    (tmp_path / "place").mkdir()
    started = ryla("local", "start", *place, "--port", "0", "--cpu", "--json", **variables)
    try:
        assert started.returncode == 0, started.stderr
        found = lines(started.stdout)[-1]["data"]
        told = ryla("local", "status", *place, **variables).stdout.decode()
        assert told.startswith("ready:") and f"export COMFYUI_POD_URL={found['url']}" in told
        with Client(url=found["url"]) as client:
            assert client.flux(prompt="a fox", width=256, height=256, steps=1).outputs
    finally:
        stopped = ryla("local", "stop", *place, "--json", **variables)
    assert lines(stopped.stdout)[-1]["data"] == {"stopped": True, "pid": found["pid"]}
    assert ryla("local", "stop", *place, **variables).stdout == b"It was not running.\n"


def test_a_start_that_is_interrupted_leaves_no_server(tmp_path: Path) -> None:
    variables = environment(RYLA_COMFYUI_COMMAND=f"{sys.executable} -c 'import time; time.sleep(600)'")
    command = [*COMMAND, "local", "start", "--folder", str(tmp_path), "--port", "0", "--cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables)
    deadline = time.monotonic() + SECONDS
    while not (tmp_path / ".ryla" / "server.json").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert not local(tmp_path).held
