"""Start the ComfyUI process, wait until it runs a graph, watch it, end it. Must not know a workflow, a job or a container."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import BackendUnreachableError, RylaGenError, ServerUnhealthyError
from .client import WITHDRAW_SECONDS, ComfyClient
from .log import ServerLog
from .messages import ExecutionError, ExecutionSuccess, clean

PROBE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
"""The smallest graph that runs: two core nodes, no weights, no GPU."""
READY_SECONDS = 300.0
"""A first start with cold disks and several node packs; measured without packs and warm it is 4.4 s."""
PROBE_SECONDS = 30.0
"""How long the probe may take once HTTP answers; it takes milliseconds, unless packs still load something."""
LOOK = 0.05
"""Seconds between two looks at a server that is starting."""
TERM_SECONDS = 5.0
"""How long a server may take to end by itself."""
TAIL_LINES = 60
"""Lines of the log that are kept for an error message."""
PORTS = range(20_000, 30_000)
"""Where servers listen that may choose their port: below those that systems give to whoever asks for any (Linux from 32768 on,
macOS and Windows from 49152 on), where another program may be given the port between our look and the server's start."""
PORT_LOOKS = 200
"""Ports that are tried before none counts as free."""
LONGEST_LINE = 2000
"""Characters of a kept line: progress bars write without an end of line."""


class ComfyServer:
    """A ComfyUI server as a child process; start it again after it died and it is a new one, under a new port.

    Args:
        command: the program and its arguments; ``{port}`` stands for the port.
        folder: working folder of the process.
        environment: its whole environment; None is this process's.
        log: takes each line it writes.
        ready_within: seconds it may take to start.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
        ready_within: float = READY_SECONDS,
    ) -> None:
        self._command = tuple(command)
        self._folder = folder
        self._environment = environment
        self._log = log
        self._ready_within = ready_within
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self.said = ServerLog()
        """What it wrote about LoRAs and ends of prompts, over all its lives."""
        self.url = ""
        """Where it listens, once started."""

    @property
    def pid(self) -> int | None:
        """Process id; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process is there. It may still hang: only progress is proof of life."""
        return self._process is not None and self._process.returncode is None

    @property
    def tail(self) -> str:
        """The last lines it wrote."""
        return "\n".join(self._lines)

    async def start(self, command: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> float:
        """Start it and wait until it has run a graph; returns the seconds that took.

        Args:
            command: for this life, instead of its own.
            environment: for this life, instead of its own.

        Raises:
            ServerUnhealthyError: it ended, or does not run the graph in time. The end of its log is in ``details``, and nothing is
                left running.
        """
        began = time.monotonic()
        await self._spawn(command or self._command, environment or self._environment)
        try:
            async with asyncio.timeout(self._ready_within):
                await self._ready()
        except TimeoutError:
            await self.kill()
            raise self._unhealthy(f"ComfyUI was not ready within {self._ready_within:g} s.") from None
        except BaseException:
            await self.kill()
            raise
        return time.monotonic() - began

    async def check(self) -> None:
        """Run the smallest graph, to see that it still works.

        Raises:
            ServerUnhealthyError: it does not, or not in time.
        """
        async with ComfyClient(self.url, connect_timeout=2.0) as client:
            await self._probe(client)

    async def wait(self) -> int:
        """Wait until the process has ended; its exit code, negative for a signal."""
        assert self._process is not None, "call start() first"
        return await self._process.wait()

    async def stop(self) -> None:
        """Terminate the process, and kill it if it does not end in time. Stopping twice is the same as once."""
        if self._process is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), TERM_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        """End it at once, with every process it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            # The whole group: node packs start helper processes, which may hold GPU memory.
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        if self._reader is not None:
            await self._reader

    async def _spawn(self, template: Sequence[str], environment: Mapping[str, str] | None) -> None:
        if self.alive:
            raise ServerUnhealthyError("This server is already running.", "Stop it first.")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [part.replace("{port}", str(port)) for part in template]
        self._lines.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._folder,
                env=None if environment is None else dict(environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that killing it also ends its children
            )
        except OSError as error:
            raise ServerUnhealthyError(f"ComfyUI could not be started: {error}.", "Check the command and its folder.") from None
        self._reader = asyncio.create_task(self._read(self._process), name="comfyui-log")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Keep reading: a full pipe would stop the server."""
        assert process.stdout is not None, "it is a pipe"
        rest = ""
        while data := await process.stdout.read(65536):
            *lines, rest = (rest + data.decode(errors="replace")).replace("\r", "\n").split("\n")
            for line in lines:
                self._note(line)
            # A progress bar may write for minutes without an end of line.
            rest = rest[-LONGEST_LINE:]
        self._note(rest)

    def _note(self, line: str) -> None:
        if line.strip():
            self._lines.append(line[:LONGEST_LINE])
            self.said.add(line[:LONGEST_LINE])
            if self._log is not None:
                self._log(line)

    async def _ready(self) -> None:
        async with ComfyClient(self.url, connect_timeout=2.0) as client:
            while True:
                if not self.alive:
                    assert self._process is not None, "it was spawned"
                    await self.kill()  # reads what it wrote to its end, which is the reason
                    raise self._unhealthy(f"ComfyUI ended while it started (exit code {self._process.returncode}).")
                try:
                    await client.system_stats()
                    break
                except BackendUnreachableError:
                    await asyncio.sleep(LOOK)
            await self._probe(client)

    async def _probe(self, client: ComfyClient) -> None:
        """Run a small prompt. An answer over HTTP is not enough: the thread that runs prompts may be dead."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await run_probe(client)
        except (TimeoutError, RylaGenError) as error:
            why = "it took too long" if isinstance(error, TimeoutError) else error.message
            raise self._unhealthy(f"ComfyUI answers, but cannot run the smallest graph: {why}") from None

    def _unhealthy(self, message: str) -> ServerUnhealthyError:
        last = f" Its last output: {clean(self._lines[-1], 300)}" if self._lines else ""
        return ServerUnhealthyError(message + last, "", {"log": self.tail})


async def run_probe(client: ComfyClient) -> None:
    """Run the smallest graph to its end.

    Raises:
        ServerUnhealthyError: it failed.
        RylaGenError: it was refused, or the server is gone.
    """
    prompt_id = str(uuid.uuid4())
    async with client.follow(prompt_id) as follower:
        await client.submit(PROBE, prompt_id=prompt_id)
        try:
            async for message in follower:
                if isinstance(message, ExecutionError):
                    raise ServerUnhealthyError(f"{message.node_type} raised {message.exception_type}: {message.exception_message}")
                if isinstance(message, ExecutionSuccess):
                    return
        except asyncio.CancelledError:  # it took too long: if not withdrawn, it would run later although its caller has left
            withdrawing = asyncio.ensure_future(client.cancel(prompt_id))
            await asyncio.wait([withdrawing], timeout=WITHDRAW_SECONDS)
            withdrawing.cancel()
            raise
    raise ServerUnhealthyError("The probe was interrupted.")


def free_port() -> int:
    """Find a loopback port that no process listens on, and that no system gives to another one before it is listened on.

    Raises:
        ServerUnhealthyError: none was found.
    """
    for _ in range(PORT_LOOKS):
        port = secrets.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
    message = f"No port between {PORTS.start} and {PORTS.stop - 1} is free on this machine."
    raise ServerUnhealthyError(message, "Stop what listens there: ss -ltnp")
