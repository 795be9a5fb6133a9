"""Run ComfyUI in the background of this machine: any process may start, check or stop it. Installs nothing.

A running server holds the lock of a file that it got open from us. So a process that finds the lock free knows that no server runs,
whatever the pid file says, and two starts at once cannot both succeed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...comfy.client import ComfyClient
from ...comfy.messages import clean
from ...comfy.server import READY_SECONDS, free_port, run_probe
from ...errors import BackendError, NotDeployedError, RylaGenError, ServerUnhealthyError
from ...support.file_locks import lockable
from .folder import COMMAND_VARIABLE, Folder

State = Literal["not installed", "stopped", "died", "starting", "ready", "not answering"]
LOOK = 0.1
"""Seconds between two looks at a server that starts or stops."""
STOP_SECONDS = 10.0
"""How long a server may take to end by itself."""
LARGEST_LOG = 16 << 20
"""Bytes after which the log of earlier starts is put aside (once: ``comfyui.log.1``)."""
TAIL_BYTES = 4000

_children: list[subprocess.Popen[bytes]] = []
"""Servers that this process started: held, because they are meant to outlive the objects that stand for them."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The state of the server."""

    state: State
    folder: Path
    log: Path
    url: str | None = None
    pid: int | None = None
    comfyui: str | None = None
    """Its version, as it says itself."""
    device: str | None = None
    """What it computes on, as it says itself."""
    running: int = 0
    """Prompts that it runs."""
    waiting: int = 0

    def to_data(self) -> dict[str, Any]:
        """Return the status as plain data."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {"folder": str(self.folder), "log": str(self.log)}


class Local:
    """The server of one installation."""

    def __init__(self, folder: Folder, env: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._env = os.environ if env is None else env
        self._record = folder.state / "server.json"

    async def start(self, *, port: int, cpu: bool, ready_within: float = READY_SECONDS) -> ServerStatus:
        """Start it in the background and wait until it has run a graph; one that runs already is left alone.

        Args:
            port: where it listens, on the loopback only; 0 takes a free one.
            cpu: whether it is told that there is no GPU.
            ready_within: seconds it may take.

        Raises:
            NotDeployedError: it is not installed.
            ServerUnhealthyError: the port is taken, or it ended or hung while it started; nothing is left running.

        """
        if not self._installed:
            hint = f"Install it: ryla-gen local install flux{self._folder.option}"
            raise NotDeployedError(f"No ComfyUI is installed in {self._folder.root}.", hint)
        self._folder.state.mkdir(parents=True, exist_ok=True)
        with self._lock() as lock:
            if lock is None:
                return await self._ready(None, ready_within)
            child = self._spawn(_free(port, self._folder.option), cpu, lock)
        try:
            return await self._ready(child, ready_within)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int | None:
        """End it with every process it started; its id, or None when none ran.

        Raises:
            ServerUnhealthyError: what runs cannot be told to be ours, and was left alone; or it does not end.

        """
        if not self.held:
            self._record.unlink(missing_ok=True)
            return None
        pid = self._pid()
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)
            if self._wait_freed(seconds):
                self._record.unlink(missing_ok=True)
                return pid
        raise ServerUnhealthyError(f"ComfyUI (process {pid}) does not end.", f"Look at it: ps -g {pid}")

    async def status(self) -> ServerStatus:
        """Check whether the server runs and answers, and what it reports about itself."""
        if not self.held:
            died = self._record.exists()
            return self._status("died" if died else "stopped" if self._installed else "not installed")
        try:
            return await self._ask()
        except BackendError as error:
            return self._status("starting" if _is_refused(error) else "not answering")

    @property
    def held(self) -> bool:
        """Whether a server runs."""
        for child in _children:
            child.poll()  # reaps a child that has ended
        if not self._folder.state.is_dir():
            return False
        with self._lock() as lock:
            return lock is None

    @property
    def tail(self) -> str:
        """The end of its log."""
        try:
            with self._folder.log.open("rb") as file:
                file.seek(max(0, self._folder.log.stat().st_size - TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    @property
    def _installed(self) -> bool:
        return bool(self._env.get(COMMAND_VARIABLE)) or (self._folder.comfyui / "main.py").is_file()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int | None]:
        """Take the lock, or return None when a server holds it."""
        import fcntl  # Windows lacks it; there `ryla-gen local install` refuses, so that no folder comes here

        file = os.open(lockable(self._folder.state / "server.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
        except BlockingIOError:
            yield None
        finally:
            os.close(file)  # a child process that inherits the file keeps holding the lock

    def _spawn(self, port: int, cpu: bool, lock: int) -> subprocess.Popen[bytes]:
        places = self._folder.places(self._env, cpu=cpu)
        places.prepare()
        self._record.unlink(missing_ok=True)
        command = [part.replace("{port}", str(port)) for part in places.arguments()]
        if self._folder.log.exists() and self._folder.log.stat().st_size > LARGEST_LOG:
            self._folder.log.replace(self._folder.log.with_suffix(".log.1"))
        cwd = self._folder.comfyui if self._folder.comfyui.is_dir() else self._folder.root
        try:
            with self._folder.log.open("ab") as log:
                child = subprocess.Popen(  # noqa: S603 - the table's command, or the one of this machine's owner
                    command,
                    cwd=cwd,
                    env=places.environment(self._env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # it outlives us, and stopping it reaches what it started
                    pass_fds=(lock,),
                )
        except OSError as error:
            raise ServerUnhealthyError(
                f"ComfyUI could not be started: {error}.", f"Install it again: ryla-gen local install flux{self._folder.option}"
            ) from None
        _children.append(child)
        told = {"pid": child.pid, "born": _born(child.pid), "url": f"http://127.0.0.1:{port}", "command": command}
        temporary = self._record.with_suffix(".tmp")
        temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")
        temporary.replace(self._record)
        return child

    async def _ready(self, child: subprocess.Popen[bytes] | None, within: float) -> ServerStatus:
        try:
            async with asyncio.timeout(within):
                while True:
                    if not (self.held if child is None else child.poll() is None):
                        raise self._unhealthy("ComfyUI ended while it started.")
                    try:
                        found = await self._ask()
                        break
                    except BackendError:
                        await asyncio.sleep(LOOK)
                async with ComfyClient(str(found.url)) as client:
                    # An answer over HTTP is no proof of life: the thread that runs prompts may be dead behind it.
                    await run_probe(client)
                return found
        except TimeoutError:
            raise self._unhealthy(f"ComfyUI was not ready within {within:g} s.") from None
        except RylaGenError as error:
            raise error if error.details.get("log") else self._unhealthy(error.message) from None

    async def _ask(self) -> ServerStatus:
        url = str(self._read_record().get("url", ""))
        if not url:
            raise ServerUnhealthyError("It is starting now.")
        async with ComfyClient(url, connect_timeout=2.0, answer_timeout=10.0) as client:
            stats, queue = await client.system_stats(), await client.queue()
        version = clean((stats.get("system") or {}).get("comfyui_version") or "", 100)
        names = [clean(item.get("name", ""), 200) for item in stats.get("devices") or () if isinstance(item, dict)]
        about = {"comfyui": version or None, "device": ", ".join(names) or None}
        return self._status("ready", **about, running=len(queue.running), waiting=len(queue.pending))

    def _status(self, state: State, **about: Any) -> ServerStatus:
        told = self._read_record() if state not in ("stopped", "not installed") else {}
        return ServerStatus(state, self._folder.root, self._folder.log, told.get("url"), told.get("pid"), **about)

    def _read_record(self) -> dict[str, Any]:
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _pid(self) -> int:
        """Return the server's process group; never that of another process that has its number now."""
        told = self._read_record()
        pid = told.get("pid")
        born = _born(pid) if isinstance(pid, int) and pid > 1 else None
        if not isinstance(pid, int) or pid <= 1 or (born is not None and born != told.get("born")):
            hint = f"See which process holds it: fuser -v {lockable(self._folder.state / 'server.lock')}"
            raise ServerUnhealthyError("A server of this folder is running, but its process is not known.", hint)
        return pid

    def _wait_freed(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.held:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK / 2)
        return True

    def _unhealthy(self, message: str) -> ServerUnhealthyError:
        lines = self.tail.splitlines()
        last = f" Its last output: {clean(lines[-1], 300)}" if lines else ""
        return ServerUnhealthyError(message + last, f"See its log: {self._folder.log}", {"log": self.tail or "empty"})


def _is_refused(error: BackendError) -> bool:
    """Whether nothing listens yet, as opposed to a listener that is silent."""
    return not error.details.get("sent", False)


def _born(pid: int) -> str | None:
    """Return when a process began, in the system's own format; None when there is no process of that id."""
    try:
        # Everything after the name, which may hold anything; the 22nd field of all is the start in clock ticks (man 5 proc).
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return told.stdout.strip() or None


def _free(port: int, option: str) -> int:
    """Return the port when nothing listens there, and a free one for 0; raise otherwise."""
    if port == 0:
        return free_port()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            hint = f"Use another port: ryla-gen local start --port {port + 1 if port < 65535 else 0}{option} (0 chooses a free one)"
            raise ServerUnhealthyError(
                f"The port {port} cannot be used: {getattr(error, 'strerror', None) or error}.", hint
            ) from None
    return port
