"""Blobs: payloads over Modal's inline limits (2 MiB, 8 KiB for spawn) and blocks of volume files, over plain HTTP."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from modal_proto import api_pb2 as pb

from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import World, found

BLOCK = 8 * 1024 * 1024
"""Bytes of a volume file per download (``modal.volume.BLOCK_SIZE``)."""
LARGEST = 1 << 30


class Blobs:
    """Content by id, put and fetched by clients and containers alike."""

    def __init__(self, world: World, volume_file: Callable[[str, str], Path]) -> None:
        self._world = world
        self._volume_file = volume_file
        self.content: dict[str, bytes] = {}
        self._runner: web.AppRunner | None = None

    async def BlobCreate(self, request: pb.BlobCreateRequest, caller: Caller) -> pb.BlobCreateResponse:
        blob_id = self._world.new_id("bl")
        url = f"{self._world.blob_url}/blob/{blob_id}"  # the Python client reads the plural fields, the TypeScript one the others
        return pb.BlobCreateResponse(blob_id=blob_id, blob_ids=[blob_id], upload_url=url, upload_urls=pb.UploadUrlList(items=[url]))

    async def BlobGet(self, request: pb.BlobGetRequest, caller: Caller) -> pb.BlobGetResponse:
        found(self.content, request.blob_id, "Blob")
        return pb.BlobGetResponse(download_url=f"{self._world.blob_url}/blob/{request.blob_id}")

    async def start(self) -> None:
        """Begin to serve on a free port."""
        app = web.Application(client_max_size=LARGEST)
        app.add_routes(
            [
                web.put("/blob/{id}", self._put_blob),
                web.get("/blob/{id}", self._get_blob),
                web.put("/block/{id}", self._put_block),
                web.get("/volume/{id}/{path:.*}", self._get_block),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._world.blob_url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _put_blob(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self._world.knobs.delay_for("PUT blob"))
        data = self.content[request.match_info["id"]] = await request.read()
        return web.Response(headers={"ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'})

    async def _get_blob(self, request: web.Request) -> web.Response:
        return web.Response(body=self.content[request.match_info["id"]])

    async def _put_block(self, request: web.Request) -> web.Response:
        data = await request.read()
        self._world.files[hashlib.sha256(data).hexdigest()] = data
        return web.Response(text="ok")

    async def _get_block(self, request: web.Request) -> web.Response:
        path = self._volume_file(request.match_info["id"], request.match_info["path"])
        with path.open("rb") as file:
            file.seek(int(request.query["block"]) * BLOCK)
            return web.Response(body=file.read(BLOCK))
