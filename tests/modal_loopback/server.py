"""The loopback itself: starts everything in a thread of its own, shows tests what happened, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from grpclib import GRPCError, Status
from grpclib.config import Configuration

from tests.modal_loopback import registered as snapshots
from tests.modal_loopback.apps import Apps, Sessions
from tests.modal_loopback.blobs import Blobs
from tests.modal_loopback.calls import Calls
from tests.modal_loopback.containers import Containers
from tests.modal_loopback.functions import Functions, deployed
from tests.modal_loopback.images import Images
from tests.modal_loopback.knobs import Knobs
from tests.modal_loopback.logs import Logs
from tests.modal_loopback.process import Processes
from tests.modal_loopback.rpc import Listener, Router
from tests.modal_loopback.state import Call, Container, World
from tests.modal_loopback.stores import Dicts, Queues, Secrets
from tests.modal_loopback.volumes import Volumes

T = TypeVar("T")

WINDOW = 64 * 1024 * 1024
"""Bytes in flight per connection, as Modal's client sets it."""


class Loopback:
    """A control plane on this machine, for any process that has ``loopback.env`` in its environment.

    Args:
        python: the Python that containers run; what is not installed there cannot be imported in them.
        container_env: further variables of every container, over those of its image and secrets.
        secrets: the secrets that exist, in the environment ``main``: name → variables.
        workspace: the name of the token's workspace.
        environments: the environments that exist.
        token: id and secret that clients have to show.
        max_containers: containers of one function at most, whatever the app asks for.
        scaledown: seconds an idle container stays, instead of what the app asks for.
        heartbeat: seconds between the heartbeats of a container.
        volume_variable: variable that tells a container where its volumes are: a folder with one folder for each, by name.

    """

    def __init__(
        self,
        *,
        python: Path | str = sys.executable,
        container_env: Mapping[str, str] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        workspace: str = "loopback",
        environments: Sequence[str] = ("main",),
        token: tuple[str, str] = ("ak-loopback", "as-loopback"),
        max_containers: int = 2,
        scaledown: float | None = None,
        heartbeat: float = 1.0,
        volume_variable: str = "RYLA_VOLUME_ROOT",
    ) -> None:
        self.knobs = Knobs()
        self._token = token
        self._world = world = World(self.knobs)
        self._volumes = Volumes(world)
        self._blobs = Blobs(world, self._volumes.file)
        self._logs = logs = Logs(world)
        mount = self._volumes.mount
        self._processes = Processes(world, Path(python), container_env or {}, volume_variable, heartbeat, mount, logs)
        self._containers = containers = Containers(world, self._processes, max_containers, scaledown, heartbeat)
        stored_secrets = Secrets(world, secrets or {})
        self._processes.secrets = stored_secrets.of
        sessions = Sessions(world, workspace, tuple(environments), token)
        functions = Functions(world, containers.scale)
        apps = Apps(world, containers, workspace)
        nouns = [sessions, apps, functions, Images(world, self._blobs, logs), Calls(world, containers), containers, logs]
        self._router = Router(world, token, [*nouns, self._blobs, self._volumes, stored_secrets, Queues(world), Dicts(world)])
        self._outside: Listener | None = None
        self._inside: Listener | None = None
        self._port = 0
        self._kept: socket.socket | None = None
        """Has the port while nobody listens there, so that no other process gets it."""

    # -- what a client needs ---------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the control plane listens; the same after it was away."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of a client process."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": self._token[0],
            "MODAL_TOKEN_SECRET": self._token[1],
            "MODAL_CONFIG_PATH": os.devnull,  # never the settings of the person who runs the tests
            "MODAL_DISABLE_API_PROXY": "1",  # a proxy would apply to 127.0.0.1 too
        }

    # -- what happened ---------------------------------------------------------------------------------

    @property
    def counts(self) -> Counter[str]:
        """How often each RPC was called."""
        return self._world.counts

    @property
    def unknown_rpcs(self) -> list[str]:
        """RPCs that were called and that the loopback does not have: the test has to fail."""
        return self._world.unknown

    @property
    def bugs(self) -> list[str]:
        """Faults of the loopback itself."""
        return self._world.bugs

    @property
    def containers(self) -> list[Container]:
        """All containers there ever were, in the order of their start."""
        return list({item.id: item for item in self._world.containers.values()}.values())  # one may have two names

    @property
    def calls(self) -> list[Call]:
        """All function calls, oldest first."""
        return list(self._world.calls.values())

    @property
    def images(self) -> list[str]:
        """The ids of all images, in the order in which they were asked for."""
        return list(self._world.images)

    @property
    def deliveries(self) -> dict[str, int]:
        """Input id → how many times it was handed to a container."""
        return {item.id: len(item.handed_to) for item in list(self._world.inputs.values())}

    @property
    def log(self) -> str:
        """What all containers printed."""
        logs = (container.log for container in self.containers)
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def volume(self, name: str, environment: str = "main") -> Path:
        """The folder of a volume, as it is committed; made when it is missing."""

        async def folder() -> Path:
            return self._volumes.folder(name, environment)

        return self._run(folder())

    def registered(self, app: str, environment: str = "main") -> dict[str, Any]:
        """What the deploy of an app registered, as plain data."""
        known = deployed(self._world, app, environment)
        if known is None:
            raise GRPCError(Status.NOT_FOUND, f"App '{app}' is not deployed")
        return snapshots.registered(self._world, known)

    # -- faults that are events, beside the knobs ------------------------------------------------------

    def away(self, seconds: float | None = None) -> None:
        """Be unreachable for clients, for some seconds or until ``come_back``; containers have a line of their own, as on Modal."""
        self._run(self._go())
        if seconds is not None:
            asyncio.run_coroutine_threadsafe(self._return_after(seconds), self._loop)

    def come_back(self) -> None:
        """Be reachable again, on the same port."""
        self._run(self._listen())

    def kill_container(self, container: Container | None = None) -> None:
        """Kill a container as if its machine were gone; without a name, every one that runs."""

        async def kill() -> None:
            for each in [container] if container else self.containers:
                if each.exit_code is None:
                    self._processes.kill(each)

        self._run(kill())

    def preempt(self, container: Container) -> None:
        """Take a container's machine away as Modal does: an interrupt signal, and what it ran goes on elsewhere; see the knobs."""

        async def preempt() -> None:
            self._containers.preempt(container)

        self._run(preempt())

    # -- its own life ----------------------------------------------------------------------------------

    def __enter__(self) -> Loopback:
        self._world.folder = Path(tempfile.mkdtemp(prefix="modal-loopback-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="modal-loopback", daemon=True)
        self._thread.start()
        try:
            self._run(self._start())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._world.folder)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        await self._blobs.start()
        await self._listen()
        self._inside = await self._listener(0)
        self._processes.url = f"http://127.0.0.1:{self._inside.port}"
        self._watch = asyncio.create_task(self._containers.watch())  # kept: the loop holds its tasks weakly

    async def _stop(self) -> None:
        await self._containers.close()
        await self._go()
        self._free()
        if self._inside is not None:
            await self._inside.stop()
        await self._blobs.stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _listener(self, port: int) -> Listener:
        listener = Listener(
            [self._router], config=Configuration(http2_connection_window_size=WINDOW, http2_stream_window_size=WINDOW)
        )
        await listener.start("127.0.0.1", port)
        return listener

    async def _listen(self) -> None:
        if self._outside is None:
            self._free()
            self._outside = await self._listener(self._port)
            self._port = self._outside.port

    async def _go(self) -> None:
        outside, self._outside = self._outside, None
        if outside is not None:
            await outside.stop()
            self._kept = socket.socket()
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._kept.bind(("127.0.0.1", self._port))

    def _free(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    async def _return_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()
