"""Check whether a request's weights are on the volume before it runs, for an error that says what to do. Downloads nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..errors import ModelNotFoundError
from ..models.weights_table import Weights
from ..workflows.base import Workflow
from ..workflows.preview import default_files
from .container_paths import Places
from .model_links import ModelLinks

log = logging.getLogger("ryla_gen.remote")


class VolumeFiles:
    """The weights that are visible in a container.

    Args:
        volume: name of the volume.
        places: where it is mounted, and where ComfyUI's own models are.
        links: those of a locked graph's models, in place of the volume's own folders.
    """

    def __init__(self, volume: str, places: Places, links: ModelLinks | None = None) -> None:
        import modal

        self._volume = modal.Volume.from_name(volume, create_if_missing=True)
        self._places = places
        self._links = links
        self._seen: set[tuple[str, str]] = set()
        self._lock = asyncio.Lock()

    async def require(self, workflow: Workflow) -> None:
        """Make sure that every file is there; look at the volume's newest state before saying that it is not.

        Raises:
            ModelNotFoundError: files are missing; ``details["stale"]`` says that this container could not look again.
        """
        rows = workflow.required_weights()
        if not self._missing(rows):
            return
        async with self._lock:
            stale = not await self._reload()
            missing = self._missing(rows)
        if missing:
            usual = default_files(type(workflow))
            every = " --all-options" if usual is not None and any(row.label not in usual for row in missing) else ""
            sync = f"ryla-gen weights sync {workflow.name.replace('_', '-')}{every}"
            command = sync if workflow.lock is None else workflow.deploy_command()
            first, names = missing[0], ", ".join(row.label for row in missing)
            again = " If they were synced a moment ago, send the request again." if stale else ""
            raise ModelNotFoundError(
                f"{workflow.name} needs weights that are not on the volume: {names}.",
                f"Download them: {command}{again}",
                {"file": first.name, "folder": first.folder, "repo": first.repo, "stale": stale},
            )

    def _missing(self, rows: tuple[Weights, ...]) -> list[Weights]:
        return [row for row in rows if not self._there(row)]

    def _there(self, row: Weights) -> bool:
        """Whether a file is there. One that was seen is not looked for again: a look at a network disk takes milliseconds."""
        key = (row.folder, row.name)
        if key not in self._seen and (self._links.find(row) if self._links is not None else self._in_folders(row)):
            self._seen.add(key)
        return key in self._seen

    def _in_folders(self, row: Weights) -> bool:
        folders = (self._places.models, self._places.comfyui / "models")
        return any((folder / row.folder / row.name).is_file() for folder in folders)

    async def _reload(self) -> bool:
        try:
            reload: Any = self._volume.reload  # modal types it without its .aio
            await reload.aio()
        except Exception as error:  # Modal refuses while ComfyUI keeps files of the volume open
            log.warning("the volume could not be reloaded: %s", error)
            return False
        return True
