"""Images, mounts and the files in them: recorded, never built. A knob says what a build would write, and how it ends."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import AsyncIterator

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.blobs import Blobs
from tests.modal_loopback.logs import Logs
from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import Build, World, found


class Images:
    """What an app's containers are made of."""

    def __init__(self, world: World, blobs: Blobs, logs: Logs) -> None:
        self._world = world
        self._blobs = blobs
        self._logs = logs

    async def ImageGetOrCreate(self, request: pb.ImageGetOrCreateRequest, caller: Caller) -> pb.ImageGetOrCreateResponse:
        seen = (known for known, image in self._world.images.items() if image.image == request.image)
        known = next(seen, None)
        image_id = known or self._world.new_id("im")
        self._world.images[image_id] = request
        build = self._world.builds.get(image_id)
        if (known is None and self._world.knobs.build_lines) or (build is not None and build.failed):
            self._build(image_id, request.app_id)
            return pb.ImageGetOrCreateResponse(image_id=image_id)
        return pb.ImageGetOrCreateResponse(image_id=image_id, result=_result(failed=False), metadata=_metadata(request))

    def _build(self, image_id: str, app_id: str) -> None:
        """Write what the build of an image writes, under the name of a container of its own."""
        knobs, step = self._world.knobs, pb.ImageBuildStep(image_id=image_id, builder_app_id=app_id)
        step.builder_task_id = self._world.new_id("ta-build")
        step.started_at.FromNanoseconds(time.time_ns())
        lines = [f"Building image {image_id}\n", *(f"{line}\n" for line in knobs.build_lines)]
        lines += [] if knobs.fail_build else [f"Built image {image_id} in 0.10s\n"]
        for line in lines:
            self._logs.write_build(app_id, step.builder_task_id, line)
        step.finished_at.FromNanoseconds(time.time_ns() + 1_000_000)  # whole microseconds later: so much of it clients read
        self._world.builds[image_id] = Build(step, lines, knobs.fail_build)

    async def ImageJoinStreaming(
        self, request: pb.ImageJoinStreamingRequest, caller: Caller
    ) -> AsyncIterator[pb.ImageJoinStreamingResponse]:
        """Stream the build of an image, then how it ended."""
        build = found(self._world.builds, request.image_id, "Image")
        for line in build.lines:
            yield pb.ImageJoinStreamingResponse(task_logs=[pb.TaskLogs(data=line, file_descriptor=pb.FILE_DESCRIPTOR_STDOUT)])
        asked = self._world.images[request.image_id]
        yield pb.ImageJoinStreamingResponse(result=_result(failed=build.failed), metadata=_metadata(asked), eof=True)

    async def ImageBuildChainGet(self, request: pb.ImageBuildChainGetRequest, caller: Caller) -> pb.ImageBuildChainGetResponse:
        """Answer the builds of an image's layers, the lowest first."""
        found(self._world.images, request.image_id, "Image")
        chain = ids_of(self._world, request.image_id)
        steps = [self._world.builds[known].step for known in chain if known in self._world.builds]
        return pb.ImageBuildChainGetResponse(build_steps=steps)

    async def MountGetOrCreate(self, request: pb.MountGetOrCreateRequest, caller: Caller) -> pb.MountGetOrCreateResponse:
        published = request.deployment_name and not request.files  # Modal's own: its client, a standalone Python
        files = list(request.files)  # the same files are the same mount, or every deploy would build its images anew
        same = next((known for known, held in self._world.mounts.items() if files and held == files), None)
        mount_id = f"mo-{request.deployment_name}" if published else same or self._world.new_id("mo")
        self._world.mounts[mount_id] = files
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


def _result(*, failed: bool) -> pb.GenericResult:
    result = pb.GenericResult
    return result(status=result.GENERIC_STATUS_FAILURE if failed else result.GENERIC_STATUS_SUCCESS)


def _metadata(request: pb.ImageGetOrCreateRequest) -> pb.ImageMetadata:
    return pb.ImageMetadata(image_builder_version=request.builder_version, python_version_info="Python 3.11")


def ids_of(world: World, image_id: str) -> list[str]:
    """The ids of an image's layers, the lowest first."""
    request = world.images.get(image_id)
    bases = request.image.base_images if request is not None else ()
    return [*(known for base in bases for known in ids_of(world, base.image_id)), image_id]


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
