"""A laboratory: an emulator with small nodes of its own, and a client that only listens. Real sockets, real files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from ryla_gen.emulator.base import Context, Folders, NodeResult, node
from ryla_gen.emulator.server import Emulator
from ryla_gen.models.node_schemas import OLDEST_VERSION

DATA = Path(__file__).with_name("data")


def schema(output: list[str], *, output_node: bool = False, **inputs: Any) -> dict[str, Any]:
    return {
        "input": {"required": {name: list(entry) for name, entry in inputs.items()}},
        "output": output,
        "output_is_list": [False] * len(output),
        "output_name": output,
        "output_node": output_node,
    }


INT = ("INT", {"default": 0, "min": 0, "max": 10**6})
STRING = ("STRING", {"default": ""})

LAB: dict[str, dict[str, Any]] = {
    "LabImage": schema(["IMAGE"], color=INT),
    "LabSteps": schema(["IMAGE"], image=("IMAGE", {}), steps=INT, seconds=("FLOAT", {"default": 0.0})),
    "LabInvert": schema(["IMAGE"], image=("IMAGE", {})),
    "LabFail": schema(["IMAGE"], image=("IMAGE", {}), kind=STRING),
    "LabRead": schema(["IMAGE"], name=STRING),
    "LabSave": schema([], output_node=True, image=("IMAGE", {}), name=STRING),
    "LabSend": schema([], output_node=True, image=("IMAGE", {})),
    "LabTell": schema([], output_node=True, image=("IMAGE", {}), characters=("INT", {})),
    "LabMissing": schema(["IMAGE"]),
}


@node("LabImage")
def lab_image(_context: Context, color: int) -> NodeResult:
    return NodeResult((Image.new("RGB", (64, 64), (color % 256, 0, 0)),))


@node("LabSteps")
def lab_steps(context: Context, image: Image.Image, steps: int, seconds: float) -> NodeResult:
    import time

    for step in range(steps):
        time.sleep(seconds)
        context.progress(step + 1, steps, lambda: image.resize((1024, 512)))
    return NodeResult((image,))


@node("LabInvert")
def lab_invert(_context: Context, image: Image.Image) -> NodeResult:
    return NodeResult((image.point(lambda value: 255 - value),))


@node("LabFail")
def lab_fail(_context: Context, image: Image.Image, kind: str) -> NodeResult:
    if kind == "exit":
        raise SystemExit(3)
    if kind == "memory":
        raise MemoryError
    if kind == "unserialisable":
        return NodeResult((image,), {"images": [object()]})
    if kind == "wrong":
        return None  # type: ignore[return-value]
    raise ValueError("lab says no")


@node("LabRead", fingerprint=lambda folders, name: (folders.input / name).read_text())
def lab_read(context: Context, name: str) -> NodeResult:
    return NodeResult((Image.new("RGB", (8, 8), int((context.folders.input / name).read_text())),))


@node("LabSave")
def lab_save(context: Context, image: Image.Image, name: str) -> NodeResult:
    count = len(list(context.folders.output.glob(f"{name}_*.png"))) + 1
    filename = f"{name}_{count:05}_.png"
    image.save(context.folders.output / filename)
    return NodeResult((), {"images": [{"filename": filename, "subfolder": "", "type": "output"}]})


@node("LabSend", fingerprint=lambda folders, **_: str(__import__("time").monotonic_ns()))
def lab_send(context: Context, image: Image.Image) -> NodeResult:
    context.progress(0, 1)
    context.send_image(image)
    return NodeResult()


@node("LabTell")
def lab_tell(_context: Context, image: Image.Image, characters: int) -> NodeResult:
    return NodeResult((), {"text": ["x" * characters]})


def chain(*middle: dict[str, Any], color: int = 1, save: str = "lab") -> dict[str, Any]:
    """LabImage → the given nodes, each fed by the one before → LabSave. Ids count from 1."""
    graph: dict[str, Any] = {"1": {"class_type": "LabImage", "inputs": {"color": color}}}
    for entry in middle:
        inputs = {key: value for key, value in entry.items() if key != "class_type"}
        graph[str(len(graph) + 1)] = {"class_type": entry["class_type"], "inputs": {"image": [str(len(graph)), 0], **inputs}}
    graph[str(len(graph) + 1)] = {"class_type": "LabSave", "inputs": {"image": [str(len(graph)), 0], "name": save}}
    return graph


class Client:
    """Speaks the protocol with nothing but aiohttp, so that our own client cannot hide a fault."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session

    async def post(self, path: str, data: Any) -> tuple[int, Any]:
        async with self.session.post(self.emulator.url + path, json=data) as response:
            body = await (response.json() if response.content_type == "application/json" else response.text())
            return response.status, body

    async def get(self, path: str, **parameters: str) -> tuple[int, Any]:
        async with self.session.get(self.emulator.url + path, params=parameters) as response:
            body = await (response.json() if response.content_type == "application/json" else response.read())
            return response.status, body

    async def prompt(self, graph: dict[str, Any], client_id: str | None = "me", **more: Any) -> str:
        ids = {} if client_id is None else {"client_id": client_id}
        status, body = await self.post("/prompt", {"prompt": graph, **ids, **more})
        assert status == 200, body
        return str(body["prompt_id"])

    @asynccontextmanager
    async def socket(self, client_id: str = "me", metadata: bool = False) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.session.ws_connect(f"{self.emulator.url}/ws?clientId={client_id}", max_msg_size=0) as websocket:
            if metadata:
                await websocket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            yield websocket

    async def until_done(self, websocket: aiohttp.ClientWebSocketResponse, prompt_id: str | None = None) -> list[Any]:
        """Every message up to ``executing{node: null}``: dicts, and bytes for binary frames."""
        messages: list[Any] = []
        async with asyncio.timeout(120):
            async for message in websocket:
                data = json.loads(message.data) if message.type is aiohttp.WSMsgType.TEXT else message.data
                messages.append(data)
                over = isinstance(data, dict) and data["type"] == "executing" and data["data"]["node"] is None
                if over and prompt_id in (None, data["data"]["prompt_id"]):
                    return messages
        return messages

    async def finished(self, prompt_id: str) -> dict[str, Any]:
        """The history entry, once it is there."""
        async with asyncio.timeout(120):
            while True:
                _, history = await self.get(f"/history/{prompt_id}")
                if history:
                    return dict(history[prompt_id])
                await asyncio.sleep(0.01)

    async def run(self, graph: dict[str, Any], **more: Any) -> list[Any]:
        async with self.socket() as websocket:
            return await self.until_done(websocket, await self.prompt(graph, **more))


@pytest.fixture(scope="session")
def lab_schemas() -> dict[str, dict[str, Any]]:
    """Schemas of the laboratory's nodes."""
    return LAB


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schemas=LAB, plain_previews=True) as server:
        yield server


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(emulator, session)


@pytest.fixture(scope="session")
def lab() -> Any:
    """Builds lab graphs."""
    return chain


@pytest.fixture
def folders(emulator: Emulator) -> Folders:
    return emulator.folders


def kinds(messages: list[Any]) -> list[str]:
    return ["binary" if isinstance(message, bytes) else message["type"] for message in messages]


@pytest.fixture
async def old_client() -> AsyncIterator[Client]:
    """A client of a server of the oldest release."""
    with Emulator(schemas=LAB, comfyui=OLDEST_VERSION) as server:
        async with aiohttp.ClientSession() as session:
            yield Client(server, session)


@pytest.fixture(scope="session")
def names() -> Any:
    """Types of messages, in order."""
    return kinds


@pytest.fixture(scope="session")
def recorded() -> dict[str, list[str]]:
    """Message orders recorded from ComfyUI 0.3.64."""
    return dict(json.loads((DATA / "sequences.json").read_text()))
