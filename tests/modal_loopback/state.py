"""What the loopback remembers: apps, functions, calls, inputs, containers and their ids. Records only; rules are elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.knobs import Knobs

T = TypeVar("T")


class Signal:
    """Something changed: wakes everybody who waits for a condition on one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Let everybody who waits look again."""
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, ready: Callable[[], T], timeout: float) -> T:
        """The first true value of ``ready()``, or its last false one after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not (value := ready()):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), left)
        return value


@dataclass(eq=False, repr=False)
class App:
    """One app of one environment, deployed or on its way."""

    id: str
    name: str
    environment: str
    state: pb.AppState.ValueType = pb.APP_STATE_INITIALIZING
    functions: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    """What it was deployed as, oldest first; the last one is live."""
    created_at: float = field(default_factory=time.time)
    stopped_at: float = 0.0


@dataclass(eq=False, repr=False)
class Version:
    """One deployment of an app, and everything that going back to it brings back."""

    entry: pb.AppDeploymentHistory
    functions: dict[str, str]
    classes: dict[str, str]
    definitions: dict[str, tuple[pb.Function, list[pb.Function]]]
    """Function id → its definition, and one per GPU."""


@dataclass(eq=False, repr=False)
class Function:
    """A function, a class's service function (``Flux.*``), or a variant of one made by ``with_options``."""

    id: str
    app: App
    tag: str
    own: pb.Function = field(default_factory=pb.Function)
    ranked: list[pb.Function] = field(default_factory=list)
    """One definition per GPU when a list of GPUs was given, best first."""
    base: Function | None = None
    parameters: bytes = b""
    options: pb.FunctionOptions = field(default_factory=pb.FunctionOptions)
    autoscaler: pb.AutoscalerSettings = field(default_factory=pb.AutoscalerSettings)
    """What ``update_autoscaler`` set since the last deploy."""
    waiting: deque[Input] = field(default_factory=deque)
    containers: list[Container] = field(default_factory=list)
    failed_starts: int = 0
    changed: Signal = field(default_factory=Signal)


@dataclass(eq=False, repr=False)
class Input:
    """One input of a call, on its way to a container or done."""

    id: str
    call: Call
    index: int
    payload: pb.FunctionInput
    done: bool = False
    lost: int = 0
    """How many containers died while they ran it."""
    handed_to: list[str] = field(default_factory=list)
    """Ids of the containers that received it, in order."""
    container: Container | None = None
    deadline: float = float("inf")


@dataclass(eq=False, repr=False)
class Call:
    """One function call with its inputs and what came out."""

    id: str
    function: Function
    kind: pb.FunctionCallInvocationType.ValueType
    created_at: float = field(default_factory=time.time)
    inputs: dict[int, Input] = field(default_factory=dict)
    outputs: list[pb.FunctionGetOutputsItem] = field(default_factory=list)
    changed: Signal = field(default_factory=Signal)

    def finish(self, item: Input, result: pb.GenericResult, told: pb.FunctionPutOutputsItem | None = None) -> None:
        """Keep an input's result, as its container ``told`` it or as the server decides; the first one stands."""
        if item.done:
            return
        item.done = True
        output = pb.FunctionGetOutputsItem(result=result, idx=item.index, input_id=item.id, output_created_at=time.time())
        if told is not None:
            output.data_format, output.input_started_at = told.data_format, told.input_started_at
        if item.handed_to:
            output.task_id = item.handed_to[-1]
        self.outputs.append(output)
        self.changed.fire()


@dataclass(eq=False, repr=False)
class Container:
    """One container: a process of Modal's own runtime."""

    id: str
    function: Function
    folder: Path
    process: asyncio.subprocess.Process | None = None
    running: dict[str, Input] = field(default_factory=dict)
    cancelling: list[str] = field(default_factory=list)
    """Ids of inputs to cancel, told with the next heartbeat."""
    ready: bool = False
    """It asked for inputs, so it started well."""
    stopping: bool = False
    interrupted: bool = False
    """It was told to stop by a signal: its machine is taken away."""
    idle_since: float = field(default_factory=time.monotonic)
    enqueued_at: float = field(default_factory=time.time)
    ready_at: float = 0.0
    """When it asked for inputs the first time; 0 is not yet."""
    finished_at: float = 0.0
    """When its process had ended; 0 is not yet."""
    failure: pb.GenericResult | None = None
    """Why it could not start, in its own words."""
    handed: int = 0
    peak: int = 0
    """The most inputs it ran at once."""
    heartbeats: int = 0
    exit_code: int | None = None
    snapshots: int = 0
    """How often its memory was written down."""
    left_behind: list[str] = field(default_factory=list)
    """Command lines of the processes that outlived it and had to be killed."""
    changed: Signal = field(default_factory=Signal)
    volumes: dict[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    """Volume id → the files as they were at the last reload, to find what the container changed."""

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self.folder / "log.txt"


@dataclass(eq=False, repr=False)
class Build:
    """The build of one image."""

    step: pb.ImageBuildStep
    lines: list[str] = field(default_factory=list)
    failed: bool = False


@dataclass
class World:
    """Everything one loopback server knows."""

    knobs: Knobs = field(default_factory=Knobs)
    folder: Path = Path()
    """Where everything lies that is on disk, while the server runs."""
    apps: dict[str, App] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    images: dict[str, pb.ImageGetOrCreateRequest] = field(default_factory=dict)
    builds: dict[str, Build] = field(default_factory=dict)
    """Image id → how it was built, where a knob said that building takes work."""
    mounts: dict[str, list[pb.MountFile]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """sha256 → content of everything that was uploaded for mounts and volumes."""
    volumes: dict[str, pb.VolumeMetadata] = field(default_factory=dict)
    names: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """Kind, environment and name → id of a named secret, volume, queue or dict."""
    counts: Counter[str] = field(default_factory=Counter)
    """How often each RPC was called."""
    unknown: list[str] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)
    blob_url: str = ""
    written: Signal = field(default_factory=Signal)
    """A container or a build wrote something."""
    _numbers: defaultdict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(lambda: itertools.count(1)))

    def new_id(self, prefix: str) -> str:
        """The next id of a kind, with Modal's prefix for it: ``fc-3``."""
        return f"{prefix}-{next(self._numbers[prefix])}"


def found(records: Mapping[str, T], key: str, what: str) -> T:
    """The record with that id, or the answer that there is none."""
    if key not in records:
        raise GRPCError(Status.NOT_FOUND, f"{what} '{key}' not found")
    return records[key]


def name_of(world: World, kind: str, object_id: str) -> str:
    """The name under which an object is known, or its id when it has none."""
    return next((name for (own, _, name), oid in world.names.items() if own == kind and oid == object_id), object_id)
