"""A container's process: its files, its environment, its end. Runs Modal's own entrypoint and knows nothing of inputs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

from modal_proto import api_pb2 as pb

from tests.modal_loopback.functions import definition_of, layout_of
from tests.modal_loopback.images import environment_of
from tests.modal_loopback.logs import Logs
from tests.modal_loopback.rpc import CONTAINER_HEADER
from tests.modal_loopback.state import Container, World

INHERITED = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
"""All that a container sees of the environment of the tests."""
MARK = "MODAL_LOOPBACK_MARK"
"""Tells which processes belong to which container, children in other sessions included."""
RESTORED = "restore-state.json"
"""By this file a container learns that it was restored."""
GONE = 20.0
"""Seconds that a killed process may take to go."""
PROC = Path("/proc")


class Processes:
    """Starts containers and makes sure that nothing of them stays."""

    def __init__(
        self,
        world: World,
        python: Path,
        extra: Mapping[str, str],
        volume_variable: str,
        heartbeat: float,
        mount: Callable[[Container], Path],
        logs: Logs,
    ) -> None:
        self._world = world
        self._logs = logs
        self._python = python
        self._extra = extra
        self._volume_variable = volume_variable
        self._heartbeat = heartbeat
        self._mount = mount
        self._token = uuid4().hex
        self.url = ""
        self.secrets: Callable[[str], Mapping[str, str]] = lambda _: {}

    async def run(self, container: Container) -> int:
        """Run a container to its end; the exit code."""
        code = self._files(container)
        environment = self._environment(container, code)
        pipes = {error: os.pipe() for error in (False, True)}
        reading = [asyncio.create_task(self._logs.read(container, start, error=error)) for error, (start, _) in pipes.items()]
        try:
            container.process = await asyncio.create_subprocess_exec(
                self._python, "-m", "modal._container_entrypoint", cwd=code, env=environment, start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=pipes[False][1], stderr=pipes[True][1],
            )  # fmt: skip
        finally:
            for _, end in pipes.values():
                os.close(end)
        exit_code = await container.process.wait()
        container.left_behind += [command for _, command in self._processes_of(container)]
        self.kill(container)
        deadline = time.monotonic() + GONE
        while any(self._processes_of(container)) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        _, held = await asyncio.wait(reading, timeout=GONE)  # nothing holds the pipes any longer
        for task in held:
            task.cancel()
        return exit_code

    def kill(self, container: Container) -> None:
        """End everything that runs in a container, at once, as when its machine is gone."""
        process = container.process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pid, _ in self._processes_of(container):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self, container: Container, restored: Mapping[str, str]) -> None:
        """Stop everything in a container in the middle of what it does, and let it go on, as a snapshot and its restore do.

        Args:
            container: the container.
            restored: what the container is told of its restore.
        """
        pids = [pid for pid, _ in self._processes_of(container)]
        for order in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, order)
        state, part = container.folder / RESTORED, container.folder / f"{RESTORED}.part"
        part.write_text(json.dumps(dict(restored)), encoding="utf-8")
        part.rename(state)  # the container looks for it all the time: never half of it

    def interrupt(self, container: Container) -> None:
        """Tell a container's own process to stop, as Modal does before it takes the machine away."""
        if container.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(container.process.pid, signal.SIGINT)

    def _mark(self, container: Container) -> str:
        return f"{self._token}-{container.id}"

    def _processes_of(self, container: Container) -> Iterator[tuple[int, str]]:
        needle = f"{MARK}={self._mark(container)}\0".encode()
        for folder in PROC.iterdir() if PROC.is_dir() else ():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and needle in (folder / "environ").read_bytes() + b"\0":
                    yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()

    def _files(self, container: Container) -> Path:
        """Lay out what the app mounts: nothing else of ours is importable in there."""
        code = container.folder / "root"
        code.mkdir(parents=True)
        for mount_id in definition_of(container.function).mount_ids:
            for file in self._world.mounts.get(mount_id, []):
                if file.filename.startswith("/root/"):
                    path = code / file.filename.removeprefix("/root/")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(self._world.files[file.sha256_hex])
        return code

    def _environment(self, container: Container, code: Path) -> dict[str, str]:
        definition = definition_of(container.function)
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {"HOME": str(code), "PYTHONPATH": str(code), "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"}
        environment |= environment_of(self._world, definition.image_id)
        for secret_id in definition.secret_ids:
            environment |= self.secrets(secret_id)
        if definition.checkpointing_enabled:
            environment["MODAL_ENABLE_SNAP_RESTORE"] = "1"
        return environment | {
            "MODAL_SERVER_URL": self.url,
            "MODAL_RESTORE_STATE_PATH": str(container.folder / RESTORED),
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(self._arguments(container)),
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": container.id,
            "MODAL_IMAGE_ID": definition.image_id,
            "MODAL_ENVIRONMENT": container.function.app.environment,
            "MODAL_HEARTBEAT_INTERVAL": str(self._heartbeat),
            "MODAL_OVERRIDE_HEADERS": f"{CONTAINER_HEADER}:{container.id}",
            "MODAL_DISABLE_API_PROXY": "1",
            self._volume_variable: str(self._mount(container)),
            MARK: self._mark(container),
            **self._extra,
        }

    def _arguments(self, container: Container) -> Path:
        function, path = container.function, container.folder / "arguments.bin"
        definition = pb.Function()
        definition.CopyFrom(definition_of(function))
        definition.is_checkpointing_function = definition.checkpointing_enabled
        arguments = pb.ContainerArguments(
            task_id=container.id,
            function_id=function.id,
            app_id=function.app.id,
            function_def=definition,
            serialized_params=function.parameters,
            environment_name=function.app.environment,
            checkpoint_id=f"sn-{container.id}" if definition.checkpointing_enabled else "",
            app_layout=layout_of(self._world, function.app, definition.object_dependencies),
        )
        path.write_bytes(arguments.SerializeToString())
        return path
