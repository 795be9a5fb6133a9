"""The app that the loopback's own tests deploy: a class with what the project's classes have, and nothing that generates."""

from __future__ import annotations

import asyncio
import importlib
import os
from pathlib import Path
from typing import Any

import modal


def boot() -> None:
    """A build step: registered, never run by the loopback."""


image = (
    modal.Image.debian_slim(python_version="3.11")
    .pip_install("aiohttp==3.12.0")
    .run_commands("echo built")
    .run_function(boot, gpu="L40S")
    .env({"SAMPLE_IMAGE": "from the image"})
    .add_local_python_source("sample_app")
)
app = modal.App("sample", image=image)
volume = modal.Volume.from_name("sample-models", create_if_missing=True)
queue = modal.Queue.from_name("sample-events", create_if_missing=True)
claims = modal.Dict.from_name("sample-claims", create_if_missing=True)


def trace(line: str) -> None:
    """Tell the test what happened in here."""
    with Path(os.environ["SAMPLE_TRACE"]).open("a") as file:
        file.write(f"{line}\n")


def traced() -> list[str]:
    """What happened until now, in all containers."""
    return Path(os.environ["SAMPLE_TRACE"]).read_text().splitlines()


def stored(path: str) -> Path:
    """Where a file of the volume is, here."""
    return Path(os.environ["RYLA_VOLUME_ROOT"], "sample-models", path)


class SampleError(Exception):
    """A fault of the request."""


@app.cls(gpu=["L40S", "H100"], timeout=60, scaledown_window=300, memory=1024, volumes={"/models": volume}, region="eu")
@modal.concurrent(max_inputs=5)
class Worker:
    """One container of it runs five inputs at once."""

    @modal.enter()
    async def start(self) -> None:
        trace(f"enter {os.environ['MODAL_TASK_ID']}")

    @modal.exit()
    async def stop(self) -> None:
        trace(f"exit {os.environ['MODAL_TASK_ID']}")

    @modal.method()
    async def echo(self, request: Any) -> Any:
        return request

    @modal.method()
    async def where(self) -> dict[str, Any]:
        return {"container": os.environ["MODAL_TASK_ID"], "call": modal.current_function_call_id(), "pid": os.getpid()}

    @modal.method()
    async def wait(self, name: str, seconds: float) -> str:
        trace(f"wait {name}")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            trace(f"canceled {name}")
            raise
        return name

    @modal.method()
    async def fail(self, text: str) -> None:
        raise SampleError(text)

    @modal.method()
    async def crash(self, times: int) -> str:
        trace("crash")
        if traced().count("crash") <= times:
            os._exit(3)
        return "survived"

    @modal.method()
    async def leave_a_child(self) -> int:
        child = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
        return child.pid

    @modal.method()
    async def variable(self, name: str) -> str | None:
        return os.environ.get(name)

    @modal.method()
    async def importable(self, module: str) -> bool:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            return False
        return True

    @modal.method()
    async def send(self, job: str, count: int) -> None:
        events = [{"seq": number} for number in range(count)]
        await queue.put_many.aio(events, block=False, partition=job)  # a blocking put waits for an absent queue for ever

    @modal.method()
    async def claim(self, job: str) -> bool:
        return await claims.put.aio(job, modal.current_function_call_id(), skip_if_exists=True)

    @modal.method()
    async def write(self, path: str, text: str) -> None:
        stored(path).write_text(text)
        await volume.commit.aio()  # type: ignore[no-untyped-call]

    @modal.method()
    async def read(self, path: str, reload: bool) -> str | None:
        if reload:
            await volume.reload.aio()  # type: ignore[no-untyped-call]
        return stored(path).read_text() if stored(path).exists() else None

    @modal.method()
    async def reload_with_open_file(self, path: str) -> str:
        with stored(path).open():
            try:
                await volume.reload.aio()  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                return str(error)
        return "reloaded"


@app.cls(timeout=1)
class Short:
    """Its function timeout is a second; it has no input concurrency."""

    @modal.method()
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @modal.method()
    async def variable(self, name: str) -> str | None:
        return os.environ.get(name)


@app.cls()
class Broken:
    """Never starts."""

    @modal.enter()
    async def start(self) -> None:
        raise SampleError("no server")

    @modal.method()
    async def echo(self, request: Any) -> Any:
        return request
