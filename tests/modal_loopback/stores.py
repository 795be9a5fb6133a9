"""Secrets, queues and dicts: what is found by name and holds small values. Every change is atomic, as on Modal."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import Signal, World, found

HOUR = 3600.0


class Named(Protocol):
    """A request for an object by name."""

    deployment_name: str
    environment_name: str
    object_creation_type: pb.ObjectCreationType.ValueType


def named(world: World, kind: str, prefix: str, request: Named, create: Callable[[str], None]) -> str:
    """The id of a named object, made first when the request says so."""
    how = request.object_creation_type
    key = (kind, request.environment_name or "main", request.deployment_name)
    nameless = how in (pb.OBJECT_CREATION_TYPE_EPHEMERAL, pb.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP)
    if not nameless and key in world.names:
        if how == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"{kind} '{request.deployment_name}' already exists")
        if how != pb.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            return world.names[key]
    elif not nameless and how == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
        raise GRPCError(Status.NOT_FOUND, f"{kind} '{request.deployment_name}' not found in environment '{key[1]}'")
    object_id = world.new_id(prefix)
    if not nameless:
        world.names[key] = object_id
    create(object_id)
    return object_id


class Secrets:
    """Named sets of environment variables."""

    def __init__(self, world: World, secrets: Mapping[str, Mapping[str, str]]) -> None:
        self._world = world
        self._values: dict[str, dict[str, str]] = {}
        for name, values in secrets.items():
            secret_id = world.names["secret", "main", name] = world.new_id("st")
            self._values[secret_id] = dict(values)

    def of(self, secret_id: str) -> Mapping[str, str]:
        """The variables of one secret."""
        return self._values[secret_id]

    async def SecretGetOrCreate(self, request: pb.SecretGetOrCreateRequest, caller: Caller) -> pb.SecretGetOrCreateResponse:
        def create(secret_id: str) -> None:
            self._values[secret_id] = dict(request.env_dict)

        secret_id = named(self._world, "secret", "st", request, create)
        if missing := sorted(set(request.required_keys) - set(self._values[secret_id])):
            raise GRPCError(Status.NOT_FOUND, f"secret '{request.deployment_name}' has no keys {missing}")
        return pb.SecretGetOrCreateResponse(secret_id=secret_id, metadata=pb.SecretMetadata(name=request.deployment_name))


@dataclass
class Partition:
    """One partition of a queue: entry number → value, oldest first."""

    items: dict[int, bytes] = field(default_factory=dict)
    last: int = 0
    expires: float = float("inf")


class Queues:
    """Queues with partitions; reading with ``iterate`` removes nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queues: dict[str, defaultdict[bytes, Partition]] = {}
        self._changed = Signal()

    def _partition(self, queue_id: str, key: bytes) -> Partition:
        queue = found(self._queues, queue_id, "Queue")
        if queue[key].expires < time.monotonic():
            del queue[key]
        return queue[key]

    async def QueueGetOrCreate(self, request: pb.QueueGetOrCreateRequest, caller: Caller) -> pb.QueueGetOrCreateResponse:
        def create(queue_id: str) -> None:
            self._queues[queue_id] = defaultdict(Partition)

        queue_id = named(self._world, "queue", "qu", request, create)
        return pb.QueueGetOrCreateResponse(queue_id=queue_id, metadata=pb.QueueMetadata(name=request.deployment_name))

    async def QueueHeartbeat(self, request: pb.QueueHeartbeatRequest, caller: Caller) -> Empty:
        return Empty()

    async def QueuePut(self, request: pb.QueuePutRequest, caller: Caller) -> Empty:
        partition = self._partition(request.queue_id, request.partition_key)
        if len(partition.items) + len(request.values) > self._world.knobs.queue_capacity:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "the partition is full")
        for value in request.values:
            partition.last += 1
            partition.items[partition.last] = value
        partition.expires = time.monotonic() + (request.partition_ttl_seconds or 24 * HOUR)
        self._changed.fire()
        return Empty()

    async def QueueGet(self, request: pb.QueueGetRequest, caller: Caller) -> pb.QueueGetResponse:
        def ready() -> dict[int, bytes]:
            return self._partition(request.queue_id, request.partition_key).items

        items = await self._changed.until(ready, request.timeout)
        taken = list(items)[: request.n_values]
        return pb.QueueGetResponse(values=[items.pop(entry) for entry in taken])

    async def QueueNextItems(self, request: pb.QueueNextItemsRequest, caller: Caller) -> pb.QueueNextItemsResponse:
        after = int(request.last_entry_id or 0)

        def ready() -> list[pb.QueueItem]:
            items = self._partition(request.queue_id, request.partition_key).items
            return [pb.QueueItem(value=value, entry_id=str(entry)) for entry, value in items.items() if entry > after]

        return pb.QueueNextItemsResponse(items=await self._changed.until(ready, request.item_poll_timeout))

    async def QueueLen(self, request: pb.QueueLenRequest, caller: Caller) -> pb.QueueLenResponse:
        queue = found(self._queues, request.queue_id, "Queue")
        keys = list(queue) if request.total else [request.partition_key]
        return pb.QueueLenResponse(len=sum(len(self._partition(request.queue_id, key).items) for key in keys))

    async def QueueClear(self, request: pb.QueueClearRequest, caller: Caller) -> Empty:
        queue = found(self._queues, request.queue_id, "Queue")
        for key in list(queue) if request.all_partitions else [request.partition_key]:
            queue.pop(key, None)
        return Empty()


class Dicts:
    """Dicts; ``put`` with ``skip_if_exists`` is how a job is claimed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dicts: dict[str, dict[bytes, bytes]] = {}

    async def DictGetOrCreate(self, request: pb.DictGetOrCreateRequest, caller: Caller) -> pb.DictGetOrCreateResponse:
        def create(dict_id: str) -> None:
            self._dicts[dict_id] = {entry.key: entry.value for entry in request.data}

        dict_id = named(self._world, "dict", "di", request, create)
        return pb.DictGetOrCreateResponse(dict_id=dict_id, metadata=pb.DictMetadata(name=request.deployment_name))

    async def DictHeartbeat(self, request: pb.DictHeartbeatRequest, caller: Caller) -> Empty:
        return Empty()

    async def DictUpdate(self, request: pb.DictUpdateRequest, caller: Caller) -> pb.DictUpdateResponse:
        entries = found(self._dicts, request.dict_id, "Dict")
        new = [entry for entry in request.updates if not (request.if_not_exists and entry.key in entries)]
        entries.update({entry.key: entry.value for entry in new})
        return pb.DictUpdateResponse(created=bool(new))

    async def DictGet(self, request: pb.DictGetRequest, caller: Caller) -> pb.DictGetResponse:
        value = found(self._dicts, request.dict_id, "Dict").get(request.key)
        return pb.DictGetResponse(found=value is not None, value=value)

    async def DictContains(self, request: pb.DictContainsRequest, caller: Caller) -> pb.DictContainsResponse:
        return pb.DictContainsResponse(found=request.key in found(self._dicts, request.dict_id, "Dict"))

    async def DictLen(self, request: pb.DictLenRequest, caller: Caller) -> pb.DictLenResponse:
        return pb.DictLenResponse(len=len(found(self._dicts, request.dict_id, "Dict")))

    async def DictPop(self, request: pb.DictPopRequest, caller: Caller) -> pb.DictPopResponse:
        value = found(self._dicts, request.dict_id, "Dict").pop(request.key, None)
        return pb.DictPopResponse(found=value is not None, value=value)

    async def DictContents(self, request: pb.DictContentsRequest, caller: Caller) -> AsyncIterator[pb.DictEntry]:
        for key, value in list(found(self._dicts, request.dict_id, "Dict").items()):
            yield pb.DictEntry(key=key, value=value if request.values else b"")
