"""Serve ComfyUI's HTTP routes and its websocket, with and without ``/api``. Translates requests; decides nothing about running."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import platform
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, WSMsgType, web

from ...comfy.schema import rename_classes, validate
from ...version import __version__
from .coverage import embeddings_in, notices
from .executor import covered_by_emulator
from .files import served_as
from .queue import QueuedPrompt
from .sockets import ClientSocket

if TYPE_CHECKING:
    from . import Emulator

MAX_BODY = 100 * 2**20
"""Largest request body in bytes, ComfyUI's default."""

MAX_NAMES = 10_000
"""Files of one name that an upload looks past before it gives up."""

FEATURES = {"supports_preview_metadata": True, "max_upload_size": MAX_BODY}

_PNG_PREVIEW = {"webp": "WEBP", "jpeg": "JPEG", "png": "PNG"}

INVALID_PROMPT_ID = {
    "type": "invalid_prompt_id",
    "message": "prompt_id must be a valid UUID",
    "details": "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one",
    "extra_info": {},
}


class Routes:
    """The handlers, bound to one emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def table(self) -> list[web.RouteDef]:
        """List every route, each also below ``/api``."""
        get, post = web.get, web.post
        routes = [
            get("/prompt", self.prompt_info),
            post("/prompt", self.prompt),
            get("/queue", self.queue),
            post("/queue", self.change_queue),
            get("/history", self.history),
            get("/history/{prompt_id}", self.history),
            post("/history", self.change_history),
            post("/interrupt", self.interrupt),
            post("/free", self.free),
            get("/view", self.view),
            post("/upload/image", self.upload),
            get("/object_info", self.object_info),
            get("/object_info/{node}", self.object_info),
            get("/system_stats", self.system_stats),
            post("/ryla/device", self.device),
            get("/models", self.models),
            get("/models/{folder}", self.models),
            get("/features", self.features),
            get("/embeddings", self.nothing),
            get("/extensions", self.nothing),
            get("/ws", self.websocket),
        ]
        below = [web.RouteDef(item.method, f"/api{item.path}", item.handler, item.kwargs) for item in routes]
        shown = [get("/internal/logs/raw", self.log), web.patch("/internal/logs/subscribe", self.subscribe)]
        return [*routes, *below, *shown, post("/api/jobs/{job_id}/cancel", self.cancel_job)]

    # Prompts -----------------------------------------------------------------------------------------------------

    async def prompt_info(self, _request: web.Request) -> web.Response:
        """Answer how many prompts wait or run."""
        return web.json_response({"exec_info": {"queue_remaining": self.emulator.queue.remaining()}})

    async def prompt(self, request: web.Request) -> web.Response:
        """Validate a prompt and put it into the queue."""
        knobs = self.emulator.knobs
        if knobs.refuse_prompts is not None:
            return web.Response(status=knobs.refuse_prompts, text="refused")
        text = await request.text()
        body = json.loads(text)
        if not isinstance(body, dict) or "prompt" not in body:
            message = "No prompt provided"
            error = {"type": "no_prompt", "message": message, "details": message, "extra_info": {}}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        if self.emulator.has_jobs and not is_job_id(body.get("prompt_id")):
            return web.json_response({"error": INVALID_PROMPT_ID, "node_errors": {}}, status=400)
        graph = body["prompt"]
        if not isinstance(graph, dict) or not all(isinstance(node, dict) for node in graph.values()):
            raise ValueError("the prompt is not a graph in API format")  # ComfyUI fails here too, with 500
        (schemas, unknown), version = self.emulator.schemas_for(graph), self.emulator.comfyui
        verdict = validate(graph, schemas, self.emulator.catalog.check_upload, version=version)
        if verdict.error is not None and verdict.error["type"] == "http_500":
            raise ValueError(verdict.error["details"])
        graph = dict(rename_classes(graph, schemas, version=version))
        if not verdict.ok:
            return web.json_response({"error": verdict.error, "node_errors": verdict.node_errors}, status=400)
        covered = await asyncio.to_thread(covered_by_emulator, graph, schemas, verdict.outputs)
        if covered.stops:
            return web.json_response({"error": covered.error(), "node_errors": {}}, status=400)
        job = self._accept(body, graph, verdict.outputs, len(text))
        job.notices = notices([*unknown, *embeddings_in(graph)], covered.stood_in)
        self.emulator.executor.log("got prompt")  # ComfyUI's words
        self.emulator.queue.put(job)
        if knobs.slow_answers:  # otherwise the answer is sent before the prompt can end, or end the server
            await asyncio.sleep(knobs.slow_answers)
        node_errors = verdict.node_errors
        if knobs.partial_node_errors:
            node_errors = _made_up_errors(graph)
        return web.json_response({"prompt_id": job.prompt_id, "number": job.number, "node_errors": node_errors})

    def _accept(self, body: dict[str, Any], graph: dict[str, Any], outputs: list[str], size: int) -> QueuedPrompt:
        number = float(body["number"]) if "number" in body else self.emulator.next_number()
        extra = dict(body.get("extra_data") or {})
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        prompt_id = str(body.get("prompt_id") or uuid.uuid4())
        job = QueuedPrompt(-number if body.get("front") else number, prompt_id, graph, extra, outputs, size)
        self.emulator.stats.prompts += 1
        return job

    async def cancel_job(self, request: web.Request) -> web.Response:
        """Stop one prompt, waiting or running; a route that older releases do not have."""
        if not self.emulator.has_jobs:
            raise web.HTTPMethodNotAllowed("POST", ["GET", "HEAD"])  # there the page's own files are served below every address
        return web.json_response({"cancelled": self.emulator.queue.cancel(request.match_info["job_id"])})

    async def queue(self, _request: web.Request) -> web.Response:
        """Answer what runs and what waits."""
        return web.json_response(self.emulator.queue.to_data())

    async def change_queue(self, request: web.Request) -> web.Response:
        """Remove waiting prompts."""
        body = await _object(request)
        if body.get("clear"):
            self.emulator.queue.delete(None)
        if body.get("delete"):
            self.emulator.queue.delete([str(item) for item in body["delete"]])
        return web.Response()

    async def history(self, request: web.Request) -> web.Response:
        """Answer with prompts that ran: one, or the newest."""
        prompt_id = request.match_info.get("prompt_id")
        most = request.query.get("max_items")
        offset = int(request.query.get("offset", "-1"))
        return web.json_response(self.emulator.queue.history(prompt_id, int(most) if most else None, offset))

    async def change_history(self, request: web.Request) -> web.Response:
        """Forget prompts that ran."""
        body = await _object(request)
        if body.get("clear"):
            self.emulator.queue.forget(None)
        if body.get("delete"):
            self.emulator.queue.forget([str(item) for item in body["delete"]])
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        """Stop what runs, or one prompt if it is the one that runs."""
        body = await _object(request)
        prompt_id = body.get("prompt_id")
        self.emulator.queue.interrupt(str(prompt_id) if prompt_id else None)
        return web.Response()

    async def free(self, request: web.Request) -> web.Response:
        """Forget cached results."""
        body = await _object(request)
        if body.get("free_memory") or body.get("unload_models"):
            self.emulator.executor.free()
        return web.Response()

    # Files -------------------------------------------------------------------------------------------------------

    def _folder(self, kind: str, subfolder: str) -> Path:
        roots = {"input": self.emulator.folders.input, "output": self.emulator.folders.output, "temp": self.emulator.folders.temp}
        if kind not in roots:
            raise web.HTTPBadRequest
        root = roots[kind].resolve()
        folder = (root / subfolder).resolve()
        if not folder.is_relative_to(root):
            raise web.HTTPForbidden
        return folder

    async def view(self, request: web.Request) -> web.StreamResponse:
        """Send a file of the input, output or temp folder; with ``preview=webp;90`` smaller encoded."""
        name = request.query.get("filename", "")
        if not name or name.startswith("/") or ".." in name or "\0" in name:
            raise web.HTTPBadRequest
        folder = self._folder(request.query.get("type", "output"), request.query.get("subfolder", ""))
        path = folder / Path(name).name
        if not path.is_file():
            raise web.HTTPNotFound
        media_type, headers = served_as(path.name)
        if "preview" in request.query:
            data, drawn_as = await asyncio.to_thread(_preview, path, request.query["preview"])
            return web.Response(body=data, content_type=drawn_as, headers=headers)
        return web.FileResponse(path, headers=headers | {"Content-Type": media_type})

    async def upload(self, request: web.Request) -> web.Response:
        """Store an uploaded file; the same bytes keep the name, other bytes get another."""
        parts = await _form(request)
        name, data = parts.get("image", ("", b""))
        if not name or "\0" in name:
            raise web.HTTPBadRequest
        text = {key: value.decode("utf-8", "replace") for key, (_, value) in parts.items() if key != "image"}
        kind, subfolder = text.get("type", "input"), text.get("subfolder", "")
        try:
            folder = self._folder(kind, subfolder)
            target = (folder / name).resolve()  # "." is the folder itself
        except (web.HTTPForbidden, OSError) as problem:
            raise web.HTTPBadRequest from problem
        if target == folder or not target.is_relative_to(folder):
            raise web.HTTPBadRequest
        stored = await asyncio.to_thread(_store, folder / name, data, text.get("overwrite") in ("true", "1"))
        return web.json_response({"name": stored.name, "subfolder": subfolder, "type": kind})

    # What the server is ------------------------------------------------------------------------------------------

    async def object_info(self, request: web.Request) -> web.Response:
        """Answer with the schemas of all node classes, or of one."""
        node = request.match_info.get("node")
        return web.json_response(self.emulator.catalog.object_info(None if node is None else [node]))

    async def models(self, request: web.Request) -> web.Response:
        """Answer with the names of the models folders, or of the files in one."""
        folder = request.match_info.get("folder")
        if folder is None:
            return web.json_response(self.emulator.catalog.model_folders())
        files = self.emulator.catalog.models(folder)
        if not files and folder not in self.emulator.catalog.model_folders():
            raise web.HTTPNotFound
        return web.json_response(files)

    async def features(self, _request: web.Request) -> web.Response:
        """Answer with the optional features that the server announces."""
        return web.json_response(FEATURES)

    async def nothing(self, _request: web.Request) -> web.Response:
        """Answer with an empty list, for what the emulator has none of."""
        return web.json_response([])

    async def system_stats(self, _request: web.Request) -> web.Response:
        """Answer what a health check reads; the answer names this server an emulator."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        system = {
            "os": os.name,
            "ram_total": memory,
            "ram_free": memory,
            "comfyui_version": self.emulator.comfyui,
            "python_version": sys.version,
            "pytorch_version": "none (emulated)",
            "embedded_python": False,
            "argv": ["ryla-gen", "emulator"],
            "emulator": f"ryla_gen {__version__}",
        }
        device = {"name": f"emulated on {platform.machine()}", "type": "cpu", "index": None}
        sizes = dict.fromkeys(("vram_total", "vram_free", "torch_vram_total", "torch_vram_free"), memory)
        return web.json_response({"system": system, "devices": [{**device, **sizes}]})

    async def device(self, _request: web.Request) -> web.Response:
        """Choose the device again, as ComfyUI does in our images after a snapshot (``remote/build/snapshot_node.py``)."""
        return web.json_response({"device": self.emulator.knobs.device})

    # Websocket ---------------------------------------------------------------------------------------------------

    async def log(self, _request: web.Request) -> web.Response:
        """Answer the newest lines of the log."""
        return web.json_response(self.emulator.log.to_data())

    async def subscribe(self, request: web.Request) -> web.Response:
        """Send a client the lines of the log as they are written, or no longer."""
        body = await _object(request)
        self.emulator.log.subscribe(body["clientId"], enabled=body["enabled"])
        return web.Response()

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Follow what happens."""
        response = web.WebSocketResponse(max_msg_size=MAX_BODY)
        await response.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        socket = ClientSocket(client_id, response, request.transport)
        hub = self.emulator.hub
        hub.add(socket)
        hub.send("status", {"status": self.emulator.status(), "sid": client_id}, client_id)
        if self.emulator.executor.running_node is not None and self.emulator.executor.running_node[0] == client_id:
            hub.send("executing", {"node": self.emulator.executor.running_node[1]}, client_id)
        writer = asyncio.ensure_future(hub.write(socket))
        try:
            await self._read(socket)
        finally:
            hub.remove(socket)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, RuntimeError):
                await writer  # ignore what could not be sent: the client is gone
        return response

    async def _read(self, socket: ClientSocket) -> None:
        first = True
        async for message in socket.websocket:
            if message.type is not WSMsgType.TEXT:
                continue
            with contextlib.suppress(ValueError, AttributeError):  # other messages than objects are ignored, as in ComfyUI
                data = json.loads(message.data)
                if first and data.get("type") == "feature_flags":
                    socket.metadata = bool((data.get("data") or {}).get("supports_preview_metadata"))
                    self.emulator.hub.send("feature_flags", FEATURES, socket.client_id)
            first = False


async def _object(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    data = json.loads(text) if text.strip() else {}
    return data if isinstance(data, dict) else {}


async def _form(request: web.Request) -> dict[str, tuple[str, bytes]]:
    """Read a form: field name to file name and bytes; 413 past the body limit, 400 when it is no form."""
    if not request.content_type.startswith("multipart/"):
        raise web.HTTPBadRequest
    fields: dict[str, tuple[str, bytes]] = {}
    size = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue  # a form within the form
        data = bytearray()
        while chunk := await part.read_chunk(2**16):
            data += chunk
            size += len(chunk)
            if size > MAX_BODY:
                raise web.HTTPRequestEntityTooLarge(MAX_BODY, size)
        fields[part.name or ""] = (part.filename or "", bytes(data))
    return fields


def _store(path: Path, data: bytes, overwrite: bool) -> Path:
    """Write an upload; 400 for a name that is a folder's, or that the file system does not take."""
    wanted = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for count in range(1, MAX_NAMES):
            try:
                with path.open("wb" if overwrite else "xb") as file:
                    file.write(data)
            except FileExistsError:
                if path.is_dir():
                    raise
                if path.is_file() and path.read_bytes() == data:
                    return path
                path = wanted.with_name(f"{wanted.stem} ({count}){wanted.suffix}")
            else:
                return path
    except (OSError, RecursionError) as problem:  # RecursionError: thousands of folders
        raise web.HTTPBadRequest from problem
    raise web.HTTPInsufficientStorage


def _preview(path: Path, wish: str) -> tuple[bytes, str]:
    from PIL import Image  # imported late: the server is up before a picture is needed

    form, _, quality = wish.partition(";")
    kind = form if form in _PNG_PREVIEW else "webp"
    buffer = io.BytesIO()
    try:
        with Image.open(path) as image:
            image.convert("RGB").save(buffer, _PNG_PREVIEW[kind], quality=int(quality) if quality.isdigit() else 90)
    except (OSError, ValueError) as problem:
        raise web.HTTPBadRequest(text="not a picture") from problem
    return buffer.getvalue(), f"image/{kind}"


def is_job_id(value: object) -> bool:
    """Whether 0.28 takes this for a prompt's id: nothing, or a UUID in its canonical form."""
    try:
        return value is None or (isinstance(value, str) and str(uuid.UUID(value)) == value)
    except ValueError:
        return False


def _made_up_errors(graph: dict[str, Any]) -> dict[str, Any]:
    node_id, node = next(iter(graph.items()))
    error = {"type": "required_input_missing", "message": "Required input is missing", "details": "", "extra_info": {}}
    return {node_id: {"errors": [error], "dependent_outputs": [], "class_type": node["class_type"]}}
