"""Volumes: folders on disk. Every container has copies of its own, so that what others committed shows only after a reload."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TypeVar

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.blobs import BLOCK
from tests.modal_loopback.functions import definition_of
from tests.modal_loopback.process import PROC
from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import Container, World, found, name_of
from tests.modal_loopback.stores import named

Listing = TypeVar("Listing", pb.VolumeListFilesResponse, pb.VolumeListFiles2Response)
Fingerprints = Mapping[str, tuple[int, int]]


def fingerprints(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder: its path there → size and time of change."""
    prints: dict[str, tuple[int, int]] = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # renamed since it was listed
            about = path.stat()
            if stat.S_ISREG(about.st_mode):
                prints[path.relative_to(folder).as_posix()] = (about.st_size, about.st_mtime_ns)
    return prints


def bring(source: Path, target: Path, before: Fingerprints, now: Fingerprints) -> None:
    """Do to ``target`` what was done to ``source`` between two looks at it."""
    for path in (path for path, print_ in now.items() if before.get(path) != print_):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # renamed since that look, as downloads do when they are whole
            shutil.copy2(source / path, target / path)
    for path in before.keys() - now.keys():
        (target / path).unlink(missing_ok=True)


class Volumes:
    """Volumes of both versions, from outside and from containers."""

    def __init__(self, world: World) -> None:
        self._world = world

    # -- on this machine ---------------------------------------------------------------------------

    def folder(self, name: str, environment: str = "main") -> Path:
        """The folder of a volume by name, made when it is missing."""
        request = pb.VolumeGetOrCreateRequest(
            deployment_name=name, environment_name=environment, object_creation_type=pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
        )
        return self._root(self._created(request))

    def file(self, volume_id: str, path: str) -> Path:
        """Where a file of a volume is; it cannot be outside."""
        root = self._root(volume_id).resolve()
        place = (root / path.lstrip("/")).resolve()
        if not place.is_relative_to(root):
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' leaves the volume")
        return place

    def mount(self, container: Container) -> Path:
        """Give a container its copies: a folder that holds one folder for each volume, by name."""
        root = container.folder / "volumes"
        root.mkdir()
        for item in definition_of(container.function).volume_mounts:
            copy = self._copy_in(container, item.volume_id)
            shutil.copytree(self._root(item.volume_id), copy)
            container.volumes[item.volume_id] = fingerprints(copy)
        return root

    def _root(self, volume_id: str) -> Path:
        found(self._world.volumes, volume_id, "Volume")
        return self._world.folder / "volumes" / volume_id

    def _copy_in(self, container: Container, volume_id: str) -> Path:
        return container.folder / "volumes" / name_of(self._world, "volume", volume_id)

    def _created(self, request: pb.VolumeGetOrCreateRequest) -> str:
        def create(volume_id: str) -> None:
            (self._world.folder / "volumes" / volume_id).mkdir(parents=True)
            version = request.version or pb.VOLUME_FS_VERSION_V1
            self._world.volumes[volume_id] = pb.VolumeMetadata(name=request.deployment_name, version=version)

        return named(self._world, "volume", "vo", request, create)

    def _existing(self, volume_id: str, path: str) -> Path:
        place = self.file(volume_id, path)
        if not place.exists():
            raise GRPCError(Status.NOT_FOUND, f"'{path}': no such file")
        return place

    # -- from containers ---------------------------------------------------------------------------

    async def VolumeCommit(self, request: pb.VolumeCommitRequest, caller: Caller) -> pb.VolumeCommitResponse:
        self._commit(caller.inside, request.volume_id)
        return pb.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request: pb.VolumeReloadRequest, caller: Caller) -> Empty:
        container = caller.inside
        copy, root = self._copy_in(container, request.volume_id), self._root(request.volume_id)
        if holder := open_below(container, copy):
            raise GRPCError(Status.FAILED_PRECONDITION, f"there are open files preventing the operation: {holder}")
        self._commit(container, request.volume_id)
        now = fingerprints(root)
        bring(root, copy, container.volumes[request.volume_id], now)
        container.volumes[request.volume_id] = now
        return Empty()

    def _commit(self, container: Container, volume_id: str) -> None:
        if volume_id not in container.volumes:
            raise GRPCError(Status.NOT_FOUND, f"Volume '{volume_id}' is not mounted in this container")
        copy = self._copy_in(container, volume_id)
        now = fingerprints(copy)
        bring(copy, self._root(volume_id), container.volumes[volume_id], now)
        container.volumes[volume_id] = now

    # -- from outside ------------------------------------------------------------------------------

    async def VolumeGetOrCreate(self, request: pb.VolumeGetOrCreateRequest, caller: Caller) -> pb.VolumeGetOrCreateResponse:
        volume_id = self._created(request)
        metadata = self._world.volumes[volume_id]
        return pb.VolumeGetOrCreateResponse(volume_id=volume_id, version=metadata.version, metadata=metadata)

    async def VolumePutFiles(self, request: pb.VolumePutFilesRequest, caller: Caller) -> Empty:
        for file in request.files:
            data = self._world.files[file.sha256_hex]
            self._put(request.volume_id, file.filename, data, request.disallow_overwrite_existing_files)
        return Empty()

    async def VolumePutFiles2(self, request: pb.VolumePutFiles2Request, caller: Caller) -> pb.VolumePutFiles2Response:
        response = pb.VolumePutFiles2Response()
        for index, file in enumerate(request.files):
            for number, block in enumerate(file.blocks):
                digest = block.contents_sha256.hex()
                if digest not in self._world.files:
                    url = f"{self._world.blob_url}/block/{digest}"
                    response.missing_blocks.add(file_index=index, block_index=number, put_url=url)
        for file in () if response.missing_blocks else request.files:
            data = b"".join(self._world.files[block.contents_sha256.hex()] for block in file.blocks)
            self._put(request.volume_id, file.path, data, request.disallow_overwrite_existing_files)
        return response

    def _put(self, volume_id: str, path: str, data: bytes, keep: bool) -> None:
        place = self.file(volume_id, path)
        if keep and place.exists():
            raise GRPCError(Status.ALREADY_EXISTS, f"'{path}' already exists")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    async def VolumeGetFile2(self, request: pb.VolumeGetFile2Request, caller: Caller) -> pb.VolumeGetFile2Response:
        size = self._existing(request.volume_id, request.path).stat().st_size
        url = f"{self._world.blob_url}/volume/{request.volume_id}/{urllib.parse.quote(request.path.lstrip('/'))}"
        urls = [f"{url}?block={number}" for number in range((size + BLOCK - 1) // BLOCK)]
        return pb.VolumeGetFile2Response(get_urls=urls, size=size, start=0, len=size)

    async def VolumeListFiles(
        self, request: pb.VolumeListFilesRequest, caller: Caller
    ) -> AsyncIterator[pb.VolumeListFilesResponse]:
        yield pb.VolumeListFilesResponse(entries=self._entries(request.volume_id, request.path, request.recursive))

    async def VolumeListFiles2(
        self, request: pb.VolumeListFiles2Request, caller: Caller
    ) -> AsyncIterator[pb.VolumeListFiles2Response]:
        yield pb.VolumeListFiles2Response(entries=self._entries(request.volume_id, request.path, request.recursive))

    def _entries(self, volume_id: str, path: str, recursive: bool) -> list[pb.FileEntry]:
        top, root = self._existing(volume_id, path), self._root(volume_id).resolve()
        places = [top] if top.is_file() else sorted(top.rglob("*") if recursive else top.iterdir())
        return [
            pb.FileEntry(
                path=place.relative_to(root).as_posix(),
                type=pb.FileEntry.DIRECTORY if place.is_dir() else pb.FileEntry.FILE,
                size=place.stat().st_size,
                mtime=int(place.stat().st_mtime),
            )
            for place in places
        ]

    async def VolumeRemoveFile(self, request: pb.VolumeRemoveFileRequest, caller: Caller) -> Empty:
        return self._remove(request.volume_id, request.path, request.recursive)

    async def VolumeRemoveFile2(self, request: pb.VolumeRemoveFile2Request, caller: Caller) -> Empty:
        return self._remove(request.volume_id, request.path, request.recursive)

    def _remove(self, volume_id: str, path: str, recursive: bool) -> Empty:
        place = self._existing(volume_id, path)
        if not place.is_dir():
            place.unlink()
        elif recursive:
            shutil.rmtree(place)
        else:
            raise GRPCError(Status.INVALID_ARGUMENT, f"'{path}' is a directory")
        return Empty()

    async def VolumeCopyFiles(self, request: pb.VolumeCopyFilesRequest, caller: Caller) -> Empty:
        return self._copy(request.volume_id, list(request.src_paths), request.dst_path)

    async def VolumeCopyFiles2(self, request: pb.VolumeCopyFiles2Request, caller: Caller) -> Empty:
        return self._copy(request.volume_id, list(request.src_paths), request.dst_path)

    def _copy(self, volume_id: str, sources: list[str], target: str) -> Empty:
        place = self.file(volume_id, target)
        for source in sources:
            into = place / Path(source).name if place.is_dir() else place
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._existing(volume_id, source), into)
        return Empty()


def open_below(container: Container, folder: Path) -> str | None:
    """A file below this folder that a process of the container's own session holds open or mapped."""
    process = container.process
    if process is None or not PROC.is_dir():
        return None
    for entry in (entry for entry in PROC.iterdir() if entry.name.isdigit()):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry.name)) != process.pid:
                continue
            opened = [str(handle.readlink()) for handle in (entry / "fd").iterdir()]
            mapped = [line.split(maxsplit=5)[-1] for line in (entry / "maps").read_text().splitlines()]
            if held := next((path for path in opened + mapped if path.startswith(f"{folder}/")), None):
                return Path(held).relative_to(folder).as_posix()
    return None
