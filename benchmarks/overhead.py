"""What the engine adds to a bare submit-and-fetch against the same server, in the same run.

    python benchmarks/overhead.py [REQUESTS]

Both paths run the same graph (64×64, trivial) on the same emulator, in turn. "bare" posts the graph, waits for
``executing: null`` on a websocket, and fetches the file; "engine" is everything the package does.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid

import aiohttp

from ryla_gen import CustomWorkflow
from ryla_gen.comfy.client import ComfyClient
from ryla_gen.emulator.server import Emulator
from ryla_gen.engine import Engine


def graph(color: int) -> dict[str, object]:
    """Return a graph that costs next to nothing and is never cached."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "bench"}},
    }


async def bare(session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, url: str, client: str, color: int) -> float:
    """Submit, wait, fetch, with nothing around it."""
    began = time.perf_counter()
    async with session.post(f"{url}/prompt", json={"prompt": graph(color), "client_id": client}) as answer:
        prompt = (await answer.json())["prompt_id"]
    files: list[dict[str, str]] = []
    async for frame in socket:
        if frame.type != aiohttp.WSMsgType.TEXT:
            continue
        message = json.loads(frame.data)
        data = message["data"]
        if message["type"] == "executed" and data["prompt_id"] == prompt:
            files += data["output"]["images"]
        if message["type"] == "executing" and data["node"] is None and data["prompt_id"] == prompt:
            break
    for file in files:
        async with session.get(f"{url}/view", params=file) as answer:
            await answer.read()
    return time.perf_counter() - began


async def main(requests: int) -> None:
    """Run both paths in turn and print medians and their ratio."""
    times: dict[str, list[float]] = {"bare": [], "engine": []}
    with Emulator() as server:
        url, client = server.start(), uuid.uuid4().hex
        async with ComfyClient(url) as comfy, aiohttp.ClientSession() as session:
            engine = Engine(comfy, backend="emulator")
            async with session.ws_connect(f"{url}/ws?clientId={client}", max_msg_size=0) as socket:
                for turn in range(requests + 3):
                    direct = await bare(session, socket, url, client, 2 * turn)
                    began = time.perf_counter()
                    workflow = CustomWorkflow(graph=graph(2 * turn + 1))
                    await engine.run(workflow, job=str(uuid.uuid4()), emit=lambda kind, **fields: None)
                    whole = time.perf_counter() - began
                    if turn >= 3:
                        times["bare"].append(direct)
                        times["engine"].append(whole)
    low, high = statistics.median(times["bare"]), statistics.median(times["engine"])
    print(f"bare {low * 1000:.1f} ms · engine {high * 1000:.1f} ms · adds {(high - low) * 1000:.1f} ms · ratio {high / low:.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
