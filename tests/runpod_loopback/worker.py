"""What worker-comfyui does with a job, against a real server: upload, queue, follow, fetch; its words for what goes wrong.

Its words are worker-comfyui's answers (version 5), so that our reading of them is tested against ComfyUI's real refusals.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import Any

import aiohttp

from tests.runpod_loopback.server import Report


class ComfyWorker:
    """One worker with the ComfyUI server at ``url``.

    Args:
        url: address of the server.
        reports: whether it tells how far a job is, which worker-comfyui itself does not.
        bucket: takes each file and gives its address, as a worker with BUCKET_ENDPOINT_URL does; None sends base64.
    """

    def __init__(self, url: str, *, reports: bool = False, bucket: Any = None) -> None:
        self.url = url
        self.reports = reports
        self.bucket = bucket

    async def __call__(self, asked: dict[str, Any], report: Report) -> dict[str, Any]:
        """Run one job; a canceled one is interrupted on the server too."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)) as http:
            for image in asked.get("images") or ():
                form = aiohttp.FormData()
                form.add_field("image", base64.b64decode(image["image"]), filename=image["name"], content_type="image/png")
                form.add_field("overwrite", "true")
                async with http.post(f"{self.url}/upload/image", data=form) as response:
                    response.raise_for_status()
            client = str(uuid.uuid4())
            async with http.ws_connect(f"{self.url}/ws?clientId={client}", max_msg_size=0) as socket:
                refusal, prompt = await self._queue(http, asked["workflow"], client)
                if refusal:
                    return {"error": refusal}
                try:
                    errors = await self._followed(socket, prompt, report, len(asked["workflow"]))
                except asyncio.CancelledError:
                    await asyncio.shield(self._stopped(http, prompt))
                    raise
            return await self._collected(http, prompt, errors)

    async def _queue(self, http: aiohttp.ClientSession, graph: dict[str, Any], client: str) -> tuple[str, str]:
        async with http.post(f"{self.url}/prompt", json={"prompt": graph, "client_id": client}) as response:
            text = await response.text()
        if response.status == 200:
            return "", str(json.loads(text)["prompt_id"])
        body = json.loads(text)
        lines = [
            f"• Node {node} ({key}): {value}" for node, entry in body.get("node_errors", {}).items() for key, value in entry.items()
        ]
        if not lines:
            return f"{body['error']['message']}. Raw response: {text}", ""
        return "Workflow validation failed:\n" + "\n".join(lines), ""

    async def _followed(self, socket: aiohttp.ClientWebSocketResponse, prompt: str, report: Report, nodes: int) -> list[str]:
        done = 0
        async for frame in socket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            message = json.loads(frame.data)
            data = message.get("data", {})
            if data.get("prompt_id") != prompt:
                continue
            if message["type"] == "executing":
                if data.get("node") is None:
                    return []
                done += 1
            if message["type"] == "progress" and self.reports:
                report({"progress": done, "max": nodes, "node": data.get("node"), "node_type": "KSampler"})
            if message["type"] == "execution_error":
                said = f"Node Type: {data['node_type']}, Node ID: {data['node_id']}, Message: {data['exception_message']}"
                return [f"Workflow execution error: {said}"]
        return ["the websocket was closed"]

    async def _stopped(self, http: aiohttp.ClientSession, prompt: str) -> None:
        await http.post(f"{self.url}/queue", json={"delete": [prompt]})
        await http.post(f"{self.url}/interrupt", json={"prompt_id": prompt})

    async def _collected(self, http: aiohttp.ClientSession, prompt: str, errors: list[str]) -> dict[str, Any]:
        async with http.get(f"{self.url}/history/{prompt}") as response:
            outputs = (await response.json())[prompt]["outputs"]
        if not outputs and not errors:
            errors = [f"No outputs found in history for prompt {prompt}."]
        images = []
        for ref in (ref for output in outputs.values() for ref in output.get("images", ()) if ref["type"] != "temp"):
            async with http.get(f"{self.url}/view", params=ref) as response:
                data = await response.read()
            kind, said = (
                ("s3_url", self.bucket(ref["filename"], data)) if self.bucket else ("base64", base64.b64encode(data).decode())
            )
            images.append({"filename": ref["filename"], "type": kind, "data": said})
        if not images and errors:
            return {"error": "Job processing failed", "details": errors}
        if not images:
            return {"status": "success_no_images", "images": []}
        return {"images": images, **({"errors": errors} if errors else {})}
