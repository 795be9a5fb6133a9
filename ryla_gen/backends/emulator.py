"""Run jobs on the emulator embedded in this process, which starts at the first job. Must not keep a job after its process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..comfy.log import ServerLog
from ..contract import USUAL_OPTIONS, Options
from ..engine.lora_effect import LoraWatch
from ..engine.loras import LoraResolver
from ..engine.output_hooks import OnOutput
from ..errors import JobExpiredError
from ..faces import require_face
from ..models.loras.folder import FolderStore
from ..models.loras.library import Library
from ..models.node_schemas import GRAPH_VERSION, known_version
from ..settings.base import QUEUE_SECONDS
from ..workflows.base import Workflow
from .base import Ticket
from .comfyui import ComfyBackend

if TYPE_CHECKING:
    from ..emulator.server import Emulator


class EmulatorBackend(ComfyBackend):
    """Runs jobs on an emulated server that ends with this backend.

    Args:
        home: folder of the configuration; LoRAs in its ``emulator/models/loras`` are known to the emulator.
        queue_timeout: seconds that a job may wait until its graph starts.
        comfyui: release of ComfyUI that it is for built-in workflows; None is for each the one that its family's image has.
        graphs: release that it is for graphs of one's own; None is the newest it knows.
        on_output: the hook that the client was given.

    Raises:
        InvalidInputError: there are no node schemas of that release.
    """

    name = "emulator"

    def __init__(
        self,
        home: Path,
        *,
        queue_timeout: float = QUEUE_SECONDS,
        comfyui: str | None = None,
        graphs: str | None = None,
        on_output: OnOutput | None = None,
    ) -> None:
        folder = home / "emulator" / "models" / "loras"
        library = Library(FolderStore(folder, f"the emulator's folder {folder}"))
        super().__init__("", loras=LoraResolver(library, plain=folder), queue_timeout=queue_timeout, on_output=on_output)
        self._said = ServerLog()
        self._watch = LoraWatch(self._said, (folder,))
        self._home = home
        self._comfyui, self._graphs = comfyui and known_version(comfyui), known_version(graphs or GRAPH_VERSION)
        self._own = self._comfyui or GRAPH_VERSION
        """Release of the emulator that this one starts itself."""
        self._others: dict[str, EmulatorBackend] = {}
        """The emulators of other releases, each started at its first job."""
        self._emulator: Emulator | None = None

    async def submit(
        self, workflow: Workflow, *, job: str, timeout: float | None = None, options: Options = USUAL_OPTIONS
    ) -> Ticket:
        """Start the engine on this job.

        Raises:
            FaceNotFoundError: PuLID's reference shows no face; its node would only warn.
        """
        release = self._release_for(workflow)
        if release != self._own:
            if release not in self._others:
                self._others[release] = EmulatorBackend(
                    self._home, queue_timeout=self._queue_timeout, comfyui=release, graphs=release, on_output=self._on_output
                )
            return await self._others[release].submit(workflow, job=job, timeout=timeout)
        for name, picture in workflow.face_pictures().items():
            if picture is not None:
                require_face(picture, emulated=True, models=self._home, name=name)
        return await super().submit(workflow, job=job, timeout=timeout)

    async def attach(self, handle: str, workflow: Workflow, *, job: str) -> Ticket:
        """Refuse: an emulated job ends with its process.

        Raises:
            JobExpiredError: always.

        """
        raise JobExpiredError(f"The job {job} ran on the in-process emulator and ended with its process.")

    async def find(self, job: str) -> str | None:
        """Return None: an emulated job ends with its process."""
        return None

    async def close(self) -> None:
        """Close the connection and stop the emulator."""
        others, self._others = self._others, {}
        for other in others.values():
            await other.close()
        await super().close()
        emulator, self._emulator = self._emulator, None
        if emulator is not None:
            emulator.close()

    def _release_for(self, workflow: Workflow) -> str:
        if workflow.own_graph:
            return self._graphs
        return self._comfyui or known_version(workflow.image_lock().release)

    async def _address(self) -> str:
        if self._emulator is None:
            from ..emulator.server import Emulator

            models = self._home / "emulator" / "models"
            self._emulator = Emulator(models_folder=models, log=self._said.add, comfyui=self._own)
        return self._emulator.start()
