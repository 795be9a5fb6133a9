"""Begin a container, from a snapshot where there is one: ComfyUI before it, the GPU after it. Must not know a job.

=============  =====================================================  ==================================================
snapshot       before it is taken                                     in every container that is restored from it
=============  =====================================================  ==================================================
``cpu``        ComfyUI starts with no GPU in sight, and answers       the GPU is chosen, and the smallest graph runs
``gpu``        ComfyUI starts as always                               the smallest graph runs
``off``        nothing                                                ComfyUI starts as always
=============  =====================================================  ==================================================

Whatever fails of it costs a start as always, and no job: no request was taken yet.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import aiohttp

from ..comfy.server import ComfyServer
from ..errors import RylaGenError, ServerUnhealthyError
from ..results import ColdStart
from .config import FamilyConfig
from .container_paths import Places
from .preload import smallest

LOADED = time.monotonic()
"""When a new container's Python reached this line: the cold start counts from here."""
DEVICE_SECONDS = 60.0
"""How long ComfyUI may take to choose its device: CUDA comes up meanwhile."""
BLOCK = 8 << 20
"""Bytes of one read: large enough for a network disk, small enough to stop soon."""

log = logging.getLogger("ryla_gen.remote")


class ContainerStart:
    """The beginning of one container, in two parts with a snapshot between them.

    Args:
        server: ComfyUI.
        places: where things are.
        config: the family.
        release: ComfyUI's.
    """

    def __init__(self, server: ComfyServer, places: Places, config: FamilyConfig, release: str) -> None:
        self._server, self._places, self._config, self._release = server, places, config, release
        self._began = LOADED
        self._container = ""
        self._boot: float | None = None
        self._restore: float | None = None
        self._read_ahead: ReadAhead | None = None
        self.load: float | None = None
        """Seconds that loading the weights into VRAM took."""
        self.restored = False
        """Whether ComfyUI came out of a snapshot that another container took."""

    async def before_snapshot(self) -> None:
        """Start ComfyUI as the snapshot shall hold it: answering, without a socket of ours, an object of Modal's or a clock."""
        self._container = os.environ.get("MODAL_TASK_ID", "")
        self._places.prepare()
        if self._config.snapshot == "off":
            return
        hidden = self._config.snapshot == "cpu"
        try:
            self._boot = await self._server.start(
                self._places.arguments(self._release, without_gpu=hidden), self._places.environment(without_gpu=hidden)
            )
        except RylaGenError as error:
            log.warning("the snapshot will hold no ComfyUI: %s", error.message)

    async def after_snapshot(self) -> None:
        """Make ComfyUI ready; start it where the snapshot does not hold one that works.

        Raises:
            ServerUnhealthyError: it does not start.
        """
        self.restored = self._server.alive and os.environ.get("MODAL_TASK_ID", "") != self._container
        if self.restored:
            self._began, self._boot = time.monotonic(), 0.0
        random.seed()  # every container of one snapshot would draw the same numbers
        self._places.prepare()  # the snapshot holds memory; whether it holds the disk is not documented
        self._read_ahead = ReadAhead(self._files())
        if self._server.alive:
            await self._go_on()
        if not self._server.alive:
            self.restored, self._boot = False, await self._server.start()
            log.info("ComfyUI is ready after %.1f s", self._boot)

    def seconds(self) -> float:
        """Seconds from the beginning of this container until now, as far as they can be seen from inside."""
        return time.monotonic() - self._began

    def times(self) -> ColdStart:
        """Say where the cold start went. What the image took to come is not seen from inside."""
        read = self._read_ahead.seconds if self._read_ahead is not None else None
        return ColdStart(boot=self._boot, restore=self._restore, weights=read, load=self.load)

    def stop(self) -> None:
        """Stop reading ahead."""
        if self._read_ahead is not None:
            self._read_ahead.stop()

    async def _go_on(self) -> None:
        began = time.monotonic()
        try:
            if self._config.snapshot == "cpu":
                await choose_device(self._server.url)
            await self._server.check()
        except RylaGenError as error:
            log.warning("the snapshot is of no use, ComfyUI starts anew: %s", error.message)
            await self._server.kill()
        else:
            self._restore = time.monotonic() - began

    def _files(self) -> list[Path]:
        rows = smallest(self._config.preload).required_weights()
        return [self._places.used_models / row.folder / row.name for row in rows]


class ReadAhead:
    """Reads files once, one after the other, in a thread: they are in memory when ComfyUI wants them.

    Args:
        files: what to read; what is not there is left out.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.seconds: float | None = None
        """Seconds that it took; None until everything was read, and where there is nothing."""
        self._files = [path for path in files if path.is_file()]
        self._over = threading.Event()
        if self._files:
            threading.Thread(target=self._run, name="ryla-read-ahead", daemon=True).start()

    def stop(self) -> None:
        """Stop at the next block."""
        self._over.set()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            for path in self._files:
                with path.open("rb", buffering=0) as file:
                    while not self._over.is_set() and file.read(BLOCK):
                        pass
        except OSError as error:  # ComfyUI will meet the same error, and say it to the request
            log.warning("the weights could not be read ahead: %s", error)
            return
        if not self._over.is_set():
            self.seconds = time.monotonic() - began
            log.info("%d files of weights were read in %.1f s", len(self._files), self.seconds)


async def choose_device(url: str) -> str:
    """Have ComfyUI choose its device again.

    Raises:
        ServerUnhealthyError: it does not, or it sees no GPU.
    """
    try:
        async with (
            asyncio.timeout(DEVICE_SECONDS),
            aiohttp.ClientSession() as session,
            session.post(f"{url}/ryla/device") as answer,
        ):
            answer.raise_for_status()
            device = str((await answer.json())["device"])
    except (TimeoutError, aiohttp.ClientError, ValueError, KeyError) as error:
        raise ServerUnhealthyError(f"ComfyUI did not choose its device: {type(error).__name__} {error}") from None
    if device == "cpu":
        raise ServerUnhealthyError("ComfyUI sees no GPU after the restore.")
    return device
