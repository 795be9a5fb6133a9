"""RunPod's serverless API as its documentation describes it: run, runsync, status, cancel, health. Computes nothing: a worker does.

Turn a knob (an attribute), talk to ``loopback.url``, then read ``loopback.calls`` and ``loopback.jobs``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

ENDPOINT = "abc123loopback"
KEY = "rpa_LOOPBACKKEY0123456789"
FINAL = ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED")

Report = Callable[[Any], None]
Work = Callable[[dict[str, Any], Report], Awaitable[Any]]
"""A worker's handler: takes the input, reports progress, returns the output; an ``error`` in it fails the job."""


@dataclass
class Held:
    """One job, as RunPod keeps it."""

    id: str
    input: dict[str, Any]
    policy: Mapping[str, Any]
    status: str = "IN_QUEUE"
    output: Any = None
    error: str | None = None
    arrived: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self) -> dict[str, Any]:
        """What ``/status`` says of it."""
        now = time.monotonic()
        found: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.started is not None:
            found["delayTime"] = round((self.started - self.arrived) * 1000)
            found["executionTime"] = round(((self.ended or now) - self.started) * 1000)
            found["workerId"] = "loopback-worker-1"
        if self.output is not None:
            found["output"] = self.output
        if self.error is not None:
            found["error"] = self.error
        return found


@dataclass
class Fault:
    """What goes wrong with the next call of one operation, in place of or after the right answer."""

    status: int = 0
    """Answered in place of the right answer; 0 is none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": "a knob was turned"}'
    cut: str = ""
    """Cuts the connection: "before" the request is acted upon, or "after" it."""
    until: threading.Event | None = None
    """Holds the answer back until this is set; the request was acted upon."""


class RunpodLoopback:
    """A server on a thread of its own, with one worker per ``workers``."""

    def __init__(self, work: Work, *, workers: int = 1) -> None:
        self.work = work
        self.workers = workers
        self.run_limit = 10_000_000
        self.runsync_limit = 20_000_000
        self.results_kept = 1800.0
        """Seconds for which a finished job is known."""
        self.faults: dict[str, list[Fault]] = {}
        """By operation (run, runsync, status, cancel, health), used up one by one."""
        self.calls: list[tuple[str, str]] = []
        """Operation and authorization header of every request."""
        self.jobs: dict[str, Held] = {}
        self.bucket: dict[str, bytes] = {}
        """Files served under ``/bucket/``, and the headers with which they were asked for."""
        self.bucket_headers: list[dict[str, str]] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="runpod-loopback", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process talk to this server."""
        return {
            "RUNPOD_API_KEY": KEY,
            "RUNPOD_ENDPOINT_ID": ENDPOINT,
            "RYLA_GEN_RUNPOD_URL": self.url,
            "RYLA_GEN_ALLOW_PRIVATE_ADDRESSES": "true",  # its bucket is here too
        }

    def count(self, operation: str) -> int:
        """How often an operation was asked for."""
        return sum(1 for name, _ in self.calls if name == operation)

    def forget(self, job_id: str) -> None:
        """Drop a job, as RunPod does when its time is up."""
        self.jobs.pop(job_id, None)

    # -- life ----------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.close()

    async def _live(self) -> None:
        self._queue: asyncio.Queue[Held] = asyncio.Queue()
        app = web.Application(client_max_size=2**28)
        prefix = "/v2/{endpoint}"
        app.router.add_post(f"{prefix}/{{operation:run|runsync}}", self._call)
        app.router.add_post(f"{prefix}/{{operation:cancel}}/{{id}}", self._call)
        app.router.add_get(f"{prefix}/{{operation:status}}/{{id}}", self._call)
        app.router.add_get(f"{prefix}/{{operation:health}}", self._call)
        app.router.add_get("/bucket/{name}", self._file)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v2"
        await web.SockSite(runner, listener).start()
        workers = [asyncio.create_task(self._worker()) for _ in range(self.workers)]
        self._ready.set()
        await self._stop.wait()
        for task in [*workers, *self._running.values()]:
            task.cancel()
        await asyncio.gather(*workers, *self._running.values(), return_exceptions=True)
        await runner.cleanup()

    # -- requests ------------------------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        operation = request.match_info["operation"]
        authorization = request.headers.get("Authorization", "")
        self.calls.append((operation, authorization))
        waiting = self.faults.get(operation)
        fault = waiting.pop(0) if waiting else Fault()
        if fault.cut == "before":
            return self._cut(request)
        if fault.status:
            return web.Response(status=fault.status, headers=fault.headers, text=fault.body)
        if authorization != f"Bearer {KEY}":
            return web.Response(status=401)
        if request.match_info["endpoint"] != ENDPOINT:
            return web.Response(status=404, text="404 page not found")
        body = await request.read()
        answer = await self._answer(operation, request, body)
        if fault.until is not None:
            await asyncio.to_thread(fault.until.wait, 120)
        return self._cut(request) if fault.cut == "after" else answer

    def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _answer(self, operation: str, request: web.Request, body: bytes) -> web.Response:
        if operation == "health":
            return self._health()
        if operation in ("run", "runsync"):
            limit = self.run_limit if operation == "run" else self.runsync_limit
            if len(body) > limit:
                return web.json_response({"error": f"Payload size {len(body)} exceeds limit of {limit}"}, status=400)
            return await self._take(body, float(request.query.get("wait", 90_000)) / 1000 if operation == "runsync" else None)
        held = self.jobs.get(request.match_info["id"])
        if held is None or (held.ended is not None and time.monotonic() - held.ended >= self.results_kept):
            return web.json_response({"error": "job not found"}, status=404)
        if operation == "cancel":
            await self._cancel(held)
        return web.json_response(held.answer())

    async def _take(self, body: bytes, wait: float | None) -> web.Response:
        try:
            asked = json.loads(body)
            held = Held(f"{'sync-' if wait else ''}{uuid.uuid4()}-u1", asked["input"], asked.get("policy", {}))
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": "the request has no input"}, status=400)
        self.jobs[held.id] = held
        self._queue.put_nowait(held)
        if wait is None:
            return web.json_response({"id": held.id, "status": held.status})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(held.done.wait(), wait)
        return web.json_response(held.answer())

    def _health(self) -> web.Response:
        states = [held.status for held in self.jobs.values()]
        counts = {"completed": "COMPLETED", "failed": "FAILED", "inProgress": "IN_PROGRESS", "inQueue": "IN_QUEUE"}
        jobs = {name: states.count(state) for name, state in counts.items()}
        busy = jobs["inProgress"]
        return web.json_response({"jobs": {**jobs, "retried": 0}, "workers": {"idle": self.workers - busy, "running": busy}})

    async def _file(self, request: web.Request) -> web.Response:
        self.bucket_headers.append(dict(request.headers))
        return web.Response(body=self.bucket[request.match_info["name"]], content_type="application/octet-stream")

    # -- workers -------------------------------------------------------------------------------------------------------

    async def _cancel(self, held: Held) -> None:
        if held.status in FINAL:
            return
        self._end(held, "CANCELLED")
        if task := self._running.get(held.id):
            task.cancel()
            await asyncio.wait([task])

    def _end(self, held: Held, status: str) -> None:
        held.status, held.ended = status, time.monotonic()
        held.done.set()

    async def _worker(self) -> None:
        while True:
            held = await self._queue.get()
            if held.status != "IN_QUEUE":
                continue
            held.status, held.started = "IN_PROGRESS", time.monotonic()
            task = self._running[held.id] = asyncio.create_task(self._worked(held))
            await asyncio.wait([task])
            del self._running[held.id]

    async def _worked(self, held: Held) -> None:
        def report(progress: Any) -> None:
            if held.status == "IN_PROGRESS":
                held.output = progress

        limit = held.policy.get("executionTimeout", 600_000) / 1000
        try:
            output = await asyncio.wait_for(self.work(held.input, report), limit)
        except TimeoutError:
            held.output = None
            self._end(held, "TIMED_OUT")
            return
        held.error = output.pop("error", None) if isinstance(output, dict) else None
        held.output = output or None
        self._end(held, "FAILED" if held.error else "COMPLETED")
