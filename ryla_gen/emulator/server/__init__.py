"""Start, own and stop the emulated ComfyUI server, its worker and its folders.

Listens on the loopback unless told otherwise, and refuses requests that a foreign web page makes. Knows no workflow.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import shutil
import signal
import socket
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from ...comfy.schema import rename_classes
from ...models.node_schemas import GRAPH_VERSION, known_version, release_key
from ..base import Folders
from .catalog import Catalog, builtin_models
from .executor import Executor
from .knobs import Knobs, Stats
from .origins import refusal
from .queue import PromptQueue
from .routes import MAX_BODY, Routes
from .server_log import ShownLog
from .sockets import Hub

_log = logging.getLogger(__name__)
_http = logging.getLogger(f"{__name__}.http")
"""aiohttp's log of malformed requests; silent unless logging is set up, since clients often disconnect in mid-request."""
_http.addHandler(logging.NullHandler())

CANCELS = {("POST", "/interrupt"), ("POST", "/queue"), ("POST", "/api/interrupt"), ("POST", "/api/queue")}
"""Requests that stop prompts."""
CANCEL_JOB = re.compile(r"/api/jobs/[^/]+/cancel")
"""Another one of them, with the prompt's id in it."""
JOBS_SINCE = (0, 28)
"""Release that knows jobs, of those that are emulated."""
STOP_SECONDS = 5.0
"""How long ``close`` waits for a node that is deep in arithmetic; its thread is a daemon and ends with the process."""


class Emulator:
    """A ComfyUI server in this process, without a GPU and without models.

    >>> with Emulator() as server:
    ...     print(server.url)
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        models: Mapping[str, Sequence[str]] | None = None,
        schemas: Mapping[str, dict[str, Any]] | None = None,
        plain_previews: bool = False,
        models_folder: Path | None = None,
        log: Callable[[str], None] | None = None,
        comfyui: str = GRAPH_VERSION,
        allow_hosts: Sequence[str] = (),
        strict: bool | None = None,
    ) -> None:
        """Prepare a server. ``folder`` holds input, output, temp and models; a temporary one is made, and removed by ``close``.

        ``models`` names the weights that are there (models folder to file names); the files of the weights table otherwise.
        ``models_folder`` holds weights and LoRAs that outlive this server; ``folder/models`` otherwise.
        ``log`` takes each line that ComfyUI would write to its log, on the worker's thread; ``logging`` does otherwise.
        ``schemas`` adds node classes of your own, which you register with the ``node`` decorator.
        ``plain_previews`` sends previews also to clients that do not ask for metadata. ComfyUI sends them none either
        unless started with ``--preview-method``, and simple clients take every binary frame for a result.
        ``comfyui`` is the release whose node classes and judgement it has, one of ``ryla_gen.models.node_schemas.VERSIONS``.
        ``allow_hosts`` are names under which it may be asked for, beside addresses, ``host`` and this machine's own names.
        ``strict``: names of weights that it does not have are refused, as ComfyUI does; otherwise it goes by the names and says so.
        Where nothing is said, a server whose ``models`` are named is strict.
        """
        self.comfyui = known_version(comfyui)
        self.strict = models is not None if strict is None else strict
        self.host = host
        self.port = port
        self._names = frozenset(name.lower() for name in (host, *allow_hosts))
        self.knobs = Knobs()
        self.stats = Stats()
        self.folder = Path(tempfile.mkdtemp(prefix="ryla-emulator-")) if folder is None else Path(folder)
        self._clean: Callable[[], object] = lambda: None
        if folder is None:  # removes the folder also when the process ends without close()
            self._clean = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        models_at = models_folder or self.folder / "models"
        self.folders = Folders(self.folder / "input", self.folder / "output", self.folder / "temp", models_at)
        for path in (self.folders.input, self.folders.output, self.folders.temp, *(() if models_folder else (models_at,))):
            path.mkdir(parents=True, exist_ok=True)
        self.catalog = Catalog(builtin_models() if models is None else models, self.folders, schemas, self.comfyui)
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self.hub = Hub(self._loop, self.knobs, self.stats, plain_previews)
        self.queue = PromptQueue(lambda: self.hub.send("status", {"status": self.status()}, None))
        self.executor = Executor(self.queue, self.hub, self.folders, self.knobs, self.stats)
        self.executor.schemas = self.schemas
        self.executor.die = self._vanish
        self.log = ShownLog(self.hub)
        self.executor.log = self.log.before(log or self.executor.log)
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._stop = asyncio.Event()
        self._threads: list[threading.Thread] = []
        self._state = threading.Lock()
        self._closed = False

    # Life --------------------------------------------------------------------------------------------------------

    @property
    def has_jobs(self) -> bool:
        """Whether its release knows jobs: a route that cancels one, and ids that are UUIDs in their canonical form."""
        return (release_key(self.comfyui) or ()) >= JOBS_SINCE

    def start(self) -> str:
        """Start serving on threads of its own; returns the URL. Starting twice is the same as once."""
        with self._state:
            if self._closed:
                raise RuntimeError("this emulator was closed; make a new one")
            if not self._threads:
                self._launch()
        return self.url

    @property
    def url(self) -> str:
        """Where the server listens, such as ``http://127.0.0.1:41234``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def _launch(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family, backlog=128)
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        server = threading.Thread(target=self._serve, args=(listener, ready), name="ryla-emulator", daemon=True)
        worker = threading.Thread(target=self.executor.work, name="ryla-emulator-worker", daemon=True)
        self._threads = [server, worker]
        server.start()
        ready.wait()
        worker.start()

    def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live(listener, ready))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _live(self, listener: socket.socket, ready: threading.Event) -> None:
        try:
            await self._open(listener)
        finally:
            ready.set()
        await self._stop.wait()
        await self._shut()

    async def _open(self, listener: socket.socket) -> None:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.add_routes(Routes(self).table())
        self._runner = web.AppRunner(app, access_log=None, logger=_http, shutdown_timeout=0.5)
        await self._runner.setup()
        # Not a SockSite: vanishing needs the listener and the connections at hand.
        assert self._runner.server is not None, "setup() makes it"
        self._listening = await self._loop.create_server(self._runner.server, sock=listener)

    async def _shut(self) -> None:
        if self._listening is not None:
            # First no more are accepted, and those just accepted get their transport: one that is made for a closed
            # asyncio.Server fails an assertion halfway and leaves its socket open (CPython 3.11, Server._attach).
            for listener in self._listening.sockets:
                self._loop.remove_reader(listener.fileno())
            await _wait_accepted()
            self._listening.close()
        connections = [item.transport for item in self._runner.server.connections] if self._runner and self._runner.server else []
        await self.hub.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for transport in connections:  # one with unsent bytes waits for a client that may be gone
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        await asyncio.sleep(0)  # transports close their sockets one turn later

    def close(self) -> None:
        """Stop everything and leave nothing: no thread, no socket, no temporary file. Closing twice is the same as once."""
        with self._state:
            if self._closed:
                return
            self._closed = True
        self.queue.close()
        if self._threads:
            with contextlib.suppress(RuntimeError):  # the loop ended by itself: a knob made the server vanish
                self._loop.call_soon_threadsafe(self._stop.set)
            for thread in self._threads:
                thread.join(STOP_SECONDS)
        else:
            self._loop.close()
        self._clean()

    def serve_forever(self) -> None:
        """Start and stay until interrupted (Ctrl-C, or SIGTERM from its supervisor), then close."""
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, signal.default_int_handler)
            self.start()
            while self._threads[0].is_alive():
                self._threads[0].join(1.0)
        except KeyboardInterrupt:
            return
        finally:
            self.close()

    def _vanish(self) -> None:
        """End as abruptly as a killed process would; called by the worker."""
        self._loop.call_soon_threadsafe(self._break_everything)

    def _break_everything(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for connection in self._runner.server.connections if self._runner and self._runner.server else ():
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        self._stop.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # What the routes and the worker ask --------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return ComfyUI's status block."""
        return {"exec_info": {"queue_remaining": self.queue.remaining()}}

    def next_number(self) -> int:
        """Return the place of a new prompt in the queue."""
        return next(self._numbers)

    def schemas(self, graph: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the current schemas of the classes that a graph uses, and of their replacements."""
        now = rename_classes(graph, self.catalog.schemas, version=self.comfyui)
        classes = (node.get("class_type") for part in (graph, now) for node in part.values())
        return self.catalog.object_info(name for name in classes if isinstance(name, str))

    def schemas_for(self, graph: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Return the schemas to check a graph against, and the weights it names for which the emulator substitutes."""
        schemas = self.schemas(graph)
        if self.strict:
            return schemas, []
        return self.catalog.schemas_for(rename_classes(graph, self.catalog.schemas, version=self.comfyui), schemas)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse foreign web pages, and turn a stumble into ComfyUI's 500."""
        if self.knobs.away and request.transport is not None:
            request.transport.abort()
            return web.Response()
        self.stats.requests += 1
        if self.knobs.refuse_cancels is not None and _cancels(request):
            return web.Response(status=self.knobs.refuse_cancels, text="refused")
        if why := refusal(request.headers, self._names):
            return web.Response(status=403, text=why)
        try:
            return await handler(request)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OSError):
            _log.debug("%s %s", request.method, request.path, exc_info=True)
            return web.Response(status=500, text="500 Internal Server Error\n\nServer got itself in trouble")


async def _wait_accepted() -> None:
    """Wait until the runner knows the connections that were accepted a moment ago, so that it closes them."""
    await asyncio.sleep(0)
    taking = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == "_accept_connection2"]
    if taking:
        await asyncio.wait(taking, timeout=STOP_SECONDS)


def _cancels(request: web.Request) -> bool:
    return (request.method, request.path) in CANCELS or CANCEL_JOB.fullmatch(request.path) is not None
