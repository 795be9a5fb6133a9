"""A small ComfyUI look-alike for tests of the client: real sockets, recorded messages, knobs for faults, counters.

It computes nothing. Turn a knob (an attribute), talk to ``stub.url``, then read ``stub.counts`` and ``stub.posts``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from aiohttp import WSMsgType, web

DATA = Path(__file__).parent / "data"
RUNS: dict[str, list[dict[str, Any]]] = json.loads((DATA / "runs.json").read_text())
ANSWERS: dict[str, dict[str, Any]] = json.loads((DATA / "answers.json").read_text())
REST: dict[str, Any] = json.loads((DATA / "rest.json").read_text())
JPEG = b"\xff\xd8\xff\xe0 a preview"
PNG = b"\x89PNG\r\n\x1a\n a picture"


class StubServer:
    """One server on a loopback port; ``stop`` kills it, ``start`` brings it back on the same port without its memory."""

    def __init__(self) -> None:
        self.run = "image"
        """Name of the recorded run that every prompt replays."""
        self.hold_at = ""
        """Message type before which a run waits until ``release`` is set (or it is interrupted)."""
        self.release = asyncio.Event()
        self.held = asyncio.Event()
        """Set when a run has come to where it is held."""
        self.answer: dict[str, Any] | None = None
        """Answers ``POST /prompt`` without queueing: {"status", "content_type", "body"}."""
        self.node_errors: dict[str, Any] = {}
        """Sent along with a 200, while the prompt is queued."""
        self.after_post = ""
        """What goes wrong once a prompt arrives.

        "reset" cuts the connection after queueing, "reset_unqueued" before; "late" queues a moment after cutting; "hang" never
        answers.
        """
        self.own_ids = False
        """Ignores the client's prompt id, as old versions do."""
        self.metadata = True
        """Understands supports_preview_metadata."""
        self.forgets_interrupts = False
        """Loses an interrupt that comes before the prompt has started."""
        self.require: dict[str, str] = {}
        """Headers without which everything is 401."""
        self.redirect_to = ""
        self.no_websockets = False
        """Answers 503 to websockets, as a proxy in front of a restarting server."""
        self.silent = False
        """Accepts connections and answers nothing."""
        self.deafen = False
        """A socket that reconnects gets nothing but its first status."""
        self.garbage: list[str | bytes] = []
        """Frames sent at the beginning of every run."""
        self.odd_frames: Callable[[str], Sequence[str | bytes]] | None = None
        """Makes frames of a prompt's id, sent after its start; this and the next four are for ids that begin with ``odd`` alone."""
        self.odd_entry: Any = None
        """Takes the place of the history entry."""
        self.odd_body = ""
        """What ``/view``, ``/history`` or ``/object_info`` answers, as place and kind: ``view bomb``, ``history drip``.

        "bomb" is gzip of which a kilobyte holds a megabyte, "drip" sends a byte a tenth of a second, "endless" never stops, "huge"
        declares a length that nobody has room for.
        """
        self.dies_at = ""
        """Message before which the thread that runs prompts dies, as of a SystemExit in a node: HTTP answers, nothing runs."""
        self.asleep = False
        """The thread that runs prompts is dead: it takes nothing from the queue."""
        self.loses_at = ""
        """Message before which a prompt vanishes from queue and history, while the socket stays open and silent."""
        self.messages: list[dict[str, Any]] | None = None
        """Messages of every prompt, instead of a recorded run."""
        self.nodes: dict[str, Any] = {}
        """Further classes of /object_info."""
        self.log: list[dict[str, Any]] = []
        """What /internal/logs/raw shows."""
        self.sent_bytes = 0
        """Bytes of odd bodies that went out."""
        self.preview = JPEG
        self.model_files: dict[str, list[str]] = {}
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.counts: Counter[str] = Counter()
        self.posts: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.first_frames: list[Any] = []
        self.events: list[str] = []
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._forget()

    def _forget(self) -> None:
        self.running: list[list[Any]] = []
        self.pending: list[list[Any]] = []
        self.history: dict[str, Any] = {}
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.flags: dict[str, Any] = {}
        self._all: set[web.WebSocketResponse] = set()
        self._interrupted = ""
        self._number = 0
        self._more = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._forget()
        app = web.Application(client_max_size=2**27, middlewares=[self._gate])
        for prefix in ("", "/some/prefix"):
            app.router.add_get(prefix + "/ws", self._ws)
            app.router.add_post(prefix + "/prompt", self._prompt)
            app.router.add_get(prefix + "/queue", self._get_queue)
            app.router.add_post(prefix + "/queue", self._delete)
            app.router.add_post(prefix + "/interrupt", self._interrupt)
            app.router.add_get(prefix + "/history/{id}", self._history)
            app.router.add_post(prefix + "/upload/image", self._upload)
            app.router.add_get(prefix + "/view", self._view)
            app.router.add_get(prefix + "/models/{folder}", self._models)
            app.router.add_get(prefix + "/object_info", self._object_info)
            app.router.add_get(prefix + "/system_stats", self._stats)
            app.router.add_get(prefix + "/internal/logs/raw", self._log)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Die as with kill -9: every connection is cut, the queue and the history are lost."""
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        self.drop_sockets()
        assert self._runner is not None
        await self._runner.cleanup()

    def drop_sockets(self) -> None:
        """Cut every websocket without a goodbye (1006)."""
        for socket in list(self._all):
            transport = socket._req.transport if socket._req else None
            if transport is not None:
                transport.abort()

    def go_on(self, until: str = "") -> None:
        """Let a held run go on, to its end or to another kind of message."""
        before, self.hold_at = self.release, until
        self.release, self.held = asyncio.Event(), asyncio.Event()
        before.set()

    # HTTP

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.counts[f"{request.method} {request.path.rsplit('/', 1)[0] if '/history/' in request.path else request.path}"] += 1
        self.headers.append(dict(request.headers))
        if self.silent:
            await asyncio.sleep(3600)
        if self.redirect_to:
            raise web.HTTPFound(self.redirect_to)
        if any(request.headers.get(name) != value for name, value in self.require.items()):
            return web.Response(status=401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _prompt(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.posts.append(body)
        if self.answer is not None:
            return _answer(self.answer)
        prompt_id = "00000000-server-made" if self.own_ids else body["prompt_id"]
        if self.after_post in ("reset_unqueued", "late"):
            _cut(request)
            await asyncio.sleep(0.3)
        if self.after_post != "reset_unqueued":
            await self._enqueue(prompt_id, body)
        if self.after_post == "reset":
            _cut(request)
        if self.after_post == "hang":
            await asyncio.sleep(3600)
        return web.json_response({"prompt_id": prompt_id, "number": self._number, "node_errors": self.node_errors})

    async def _enqueue(self, prompt_id: str, body: dict[str, Any]) -> None:
        self._number += 1
        self.pending.append([self._number, prompt_id, {}, {"client_id": body["client_id"]}, ["9"]])
        self._more.set()
        await self._queue_updated()

    async def _get_queue(self, request: web.Request) -> web.Response:
        return web.json_response({"queue_running": self.running, "queue_pending": self.pending[::-1]})

    async def _delete(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json())["delete"]:
            self.events.append(f"delete {prompt_id}")
            self.pending = [item for item in self.pending if item[1] != prompt_id]
        await self._queue_updated()
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        prompt_id = (await request.json())["prompt_id"]
        self.events.append(f"interrupt {prompt_id}")
        if any(item[1] == prompt_id for item in self.running):
            self._interrupted = prompt_id
            self.release.set()
        return web.Response()

    async def _history(self, request: web.Request) -> web.StreamResponse:
        prompt_id = request.match_info["id"]
        if self._odd("history", prompt_id):
            return await self._flood(request)
        return web.json_response({prompt_id: self.history[prompt_id]} if prompt_id in self.history else {})

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        image, subfolder = form["image"], str(form.get("subfolder", ""))
        if ".." in subfolder:
            return web.Response(status=400)
        assert isinstance(image, web.FileField)
        data, name, copy = image.file.read(), image.filename, 0
        while self.files.get((name, subfolder, "input"), data) != data and form.get("overwrite") != "true":
            copy += 1
            stem, dot, end = image.filename.rpartition(".")
            name = f"{stem} ({copy}){dot}{end}"
        self.files[(name, subfolder, "input")] = data
        return web.json_response({"name": name, "subfolder": subfolder, "type": "input"})

    async def _view(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if self._odd("view", query["filename"]):
            return await self._flood(request)
        data = self.files.get((query["filename"], query.get("subfolder", ""), query.get("type", "output")))
        return web.Response(status=404) if data is None else web.Response(body=data, content_type="image/png")

    async def _models(self, request: web.Request) -> web.Response:
        names = self.model_files.get(request.match_info["folder"])
        return web.Response(status=404) if names is None else web.json_response(names)

    async def _object_info(self, request: web.Request) -> web.StreamResponse:
        if self._odd("nodes", "odd"):
            return await self._flood(request)
        saves = {"input": {"required": {}}, "output": [], "output_is_list": [], "output_node": True}
        return web.json_response({"SaveImage": saves, "PreviewAny": saves, "SaveImageWebsocket": saves, **self.nodes})

    async def _log(self, request: web.Request) -> web.Response:
        return web.json_response({"entries": self.log, "size": {}}) if self.log else web.Response(status=404)

    def _odd(self, place: str, name: str) -> bool:
        return self.odd_body.startswith(f"{place} ") and name.startswith("odd")

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        kind = self.odd_body.partition(" ")[2]
        answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        if kind == "bomb":
            answer.headers["Content-Encoding"] = "gzip"
        if kind == "huge":
            answer.content_length = 2**50
        await answer.prepare(request)
        packer = zlib.compressobj(9, wbits=31)
        while True:
            piece = packer.compress(bytes(2**24)) if kind == "bomb" else b" " if kind == "drip" else b" " * 2**16
            self.sent_bytes += len(piece)
            await answer.write(piece)
            await asyncio.sleep(0.1 if kind == "drip" else 0)

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "0.3.71"}, "devices": []})

    # Websocket

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        if self.no_websockets:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        sid, again = request.query["clientId"], request.query["clientId"] in self.flags
        self._all.add(socket)
        self.sockets[sid] = socket
        self.flags.setdefault(sid, {})
        await self._send(sid, "status", {**self._status(), "sid": sid})
        if again and self.deafen:
            self.sockets.pop(sid)
        try:
            first = True
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._heard(sid, json.loads(message.data), first)
                    first = False
        finally:
            self._all.discard(socket)
            self.sockets.pop(sid, None)  # as ComfyUI: by id, even when a newer socket has it by now
        return socket

    async def _heard(self, sid: str, message: dict[str, Any], first: bool) -> None:
        if first:
            self.first_frames.append(message)
        if first and message["type"] == "feature_flags" and self.metadata:
            self.flags[sid] = message["data"]
            await self._send(sid, "feature_flags", {"supports_preview_metadata": True, "max_upload_size": 104857600})

    def _status(self) -> dict[str, Any]:
        return {"status": {"exec_info": {"queue_remaining": len(self.running) + len(self.pending)}}}

    async def _queue_updated(self) -> None:
        for sid in list(self.sockets):
            await self._send(sid, "status", self._status())

    async def _send(self, sid: str, kind: str, data: dict[str, Any]) -> None:
        await self._push(sid, json.dumps({"type": kind, "data": data}))

    async def _push(self, sid: str, frame: str | bytes) -> None:
        socket = self.sockets.get(sid)
        if socket is None or socket.closed:
            return
        try:
            await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
        except ConnectionError:
            self.sockets.pop(sid, None)

    # The prompt worker

    async def _work(self) -> None:
        while True:
            while not self.pending or self.asleep:
                self._more.clear()
                await self._more.wait()
            item = self.pending.pop(0)
            self.running = [item]
            entry = await self._execute(item[1], item[3]["client_id"])
            self.running = []
            if entry is None:
                continue
            self.history[item[1]] = self.odd_entry if self.odd_entry is not None and item[1].startswith("odd") else entry
            await self._queue_updated()
            await self._send(item[3]["client_id"], "executing", {"node": None, "prompt_id": item[1]})

    async def _execute(self, prompt_id: str, sid: str) -> dict[str, Any] | None:
        outputs: dict[str, Any] = {}
        kept: list[Any] = []
        for frame in self.garbage:
            await self._push(sid, frame)
        for message in RUNS[self.run] if self.messages is None else self.messages:
            kind = message.get("type", "binary")
            if kind == "status" or kind == "feature_flags" or (kind == "executing" and message["data"]["node"] is None):
                continue
            if kind == self.dies_at and prompt_id.startswith("odd"):
                self.held.set()
                await asyncio.Event().wait()
            if kind == self.loses_at and prompt_id.startswith("odd"):
                return None
            if kind == self.hold_at:
                self.held.set()
                await self.release.wait()
            if kind == "execution_start" and self.forgets_interrupts:
                self._interrupted = ""
            if self._interrupted == prompt_id and kind != "execution_start":
                data = {"prompt_id": prompt_id, "node_id": "7", "node_type": "KSampler", "executed": [], "timestamp": 1}
                await self._send(sid, "execution_interrupted", data)
                return _entry("error", [*kept, ["execution_interrupted", data]], {})
            if "frame" in message:
                await self._push(sid, message["frame"])
                continue
            if kind == "binary":
                await self._push(sid, self._picture(prompt_id, message, bool(self.flags.get(sid))))
                continue
            data = {**message["data"], "prompt_id": prompt_id}
            if kind == "executed":
                outputs[data["node"]] = data["output"]
            if kind.startswith("execution_"):
                kept.append([kind, data])
            await self._send(sid, kind, data)
            if kind == "execution_start" and self.odd_frames is not None and prompt_id.startswith("odd"):
                for frame in self.odd_frames(prompt_id):
                    await self._push(sid, frame)
        return _entry("error" if kept[-1][0] == "execution_error" else "success", kept, outputs)

    def _picture(self, prompt_id: str, message: dict[str, Any], metadata: bool) -> bytes:
        recorded = base64.b64decode(message["binary"] or "")
        png = recorded[recorded.find(b"\x89PNG") :] if recorded else b""
        if not metadata:
            return (b"\0\0\0\1\0\0\0\2" + png) if png else b"\0\0\0\1\0\0\0\1" + self.preview
        about = {"node_id": "7", "prompt_id": prompt_id, "display_node_id": "7", "image_type": "image/png" if png else "image/jpeg"}
        head = json.dumps(about).encode()
        return b"\0\0\0\4" + len(head).to_bytes(4, "big") + head + (png or self.preview)


def _entry(status: str, messages: Sequence[Any], outputs: dict[str, Any]) -> dict[str, Any]:
    told = {"status_str": status, "completed": status == "success", "messages": list(messages)}
    return {"prompt": [], "outputs": outputs, "status": told, "meta": {}}


def _answer(recorded: dict[str, Any]) -> web.Response:
    body = recorded["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(status=recorded["status"], text=text, content_type=recorded["content_type"].split(";")[0])


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
