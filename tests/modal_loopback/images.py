"""Images, mounts and the files in them: recorded, never built."""

from __future__ import annotations

import hashlib
import shlex

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.blobs import Blobs
from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import World


class Images:
    """What an app's containers are made of."""

    def __init__(self, world: World, blobs: Blobs) -> None:
        self._world = world
        self._blobs = blobs

    async def ImageGetOrCreate(self, request: pb.ImageGetOrCreateRequest, caller: Caller) -> pb.ImageGetOrCreateResponse:
        seen = (known for known, image in self._world.images.items() if image.image == request.image)
        image_id = next(seen, None) or self._world.new_id("im")
        self._world.images[image_id] = request
        return pb.ImageGetOrCreateResponse(
            image_id=image_id,
            result=pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS),
            metadata=pb.ImageMetadata(image_builder_version=request.builder_version, python_version_info="Python 3.11"),
        )

    async def MountGetOrCreate(self, request: pb.MountGetOrCreateRequest, caller: Caller) -> pb.MountGetOrCreateResponse:
        published = request.deployment_name and not request.files  # Modal's own: its client, a standalone Python
        mount_id = f"mo-{request.deployment_name}" if published else self._world.new_id("mo")
        self._world.mounts[mount_id] = list(request.files)
        return pb.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=pb.MountHandleMetadata())

    async def MountBatchedCheckExistence(
        self, request: pb.MountBatchedCheckExistenceRequest, caller: Caller
    ) -> pb.MountBatchedCheckExistenceResponse:
        missing = [digest for digest in request.sha256_hex_hashes if digest not in self._world.files]
        return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(self, request: pb.MountPutFileRequest, caller: Caller) -> pb.MountPutFileResponse:
        if kind := request.WhichOneof("data_oneof"):
            data = request.data if kind == "data" else self._blobs.content[request.data_blob_id]
            if hashlib.sha256(data).hexdigest() != request.sha256_hex:
                raise GRPCError(Status.INVALID_ARGUMENT, "the content does not match its sha256")
            self._world.files[request.sha256_hex] = data
        return pb.MountPutFileResponse(exists=request.sha256_hex in self._world.files)


def layers_of(world: World, image_id: str) -> list[pb.ImageGetOrCreateRequest]:
    """The layers of an image, the lowest first."""
    request = world.images.get(image_id)
    if request is None:
        return []
    return [*(layer for base in request.image.base_images for layer in layers_of(world, base.image_id)), request]


def environment_of(world: World, image_id: str) -> dict[str, str]:
    """The variables that an image's ENV lines set."""
    lines = (line for layer in layers_of(world, image_id) for line in layer.image.dockerfile_commands)
    pairs = (part.split("=", 1) for line in lines if line.startswith("ENV ") for part in shlex.split(line[4:]))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
