"""Let downloads and removals of weights see each other, by marks in one ``modal.Dict``. Touches no file.

Each side writes its mark first and looks for marks of the other side then, so that one of the two sees the other: a removal keeps
what a marked download needs, and a download waits for marked removals, before it looks at what is there. Volumes alone cannot do
that: a container sees what others commit only after a reload.

=================  ============================================  ===============================================================
key                value                                         it ends
=================  ============================================  ===============================================================
``sync/<job>``     what that download needs, and ``until``       with the download; for one that was killed, after a day
``prune/<hold>``   ``until``                                     with the removal; for one that was killed, after ten minutes
=================  ============================================  ===============================================================

Times are those of containers, never of a caller's machine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import modal

from ..errors import StorageFailedError
from ..locks.model_prune import NeededFiles, needed_from
from ..names import WEIGHTS_DICT

log = logging.getLogger("ryla_gen.remote")

SYNC_SECONDS = 86_400.0
"""How long the mark of a download counts that nobody took away: Modal ends a function after a day."""
HOLD_SECONDS = 600.0
"""How long the mark of a removal counts. In it the apps of the environment say what they need; each removed file renews it."""
POLL_SECONDS = 0.5
"""Between two looks of a download that waits for a removal."""
SYNC, PRUNE = "sync/", "prune/"


class WeightsMarks:
    """The marks of one Modal environment.

    Args:
        environment: Modal environment; the container's own, or the profile's, when absent.
    """

    def __init__(self, environment: str | None = None) -> None:
        self._entries: Any = modal.Dict.from_name(WEIGHTS_DICT, environment_name=environment, create_if_missing=True)

    @asynccontextmanager
    async def syncing(self, job: str, needed: NeededFiles) -> AsyncIterator[None]:
        """Mark a download while the block runs, which begins when no removal is marked."""
        await self._entries.put.aio(f"{SYNC}{job}", {**needed.to_data(), "until": time.time() + SYNC_SECONDS})
        try:
            while await self._is_held():
                log.info("the download waits for a removal of weights")
                await asyncio.sleep(POLL_SECONDS)
            yield
        finally:
            await self.release(f"{SYNC}{job}")

    def hold(self, name: str) -> None:
        """Mark a removal, or renew its mark. Blocks."""
        self._entries.put(f"{PRUNE}{name}", {"until": time.time() + HOLD_SECONDS})

    def require(self, name: str) -> None:
        """Make sure that a removal is still marked. Blocks.

        Raises:
            StorageFailedError: its time is over: downloads may have begun that it does not know.

        """
        if not _counts(self._entries.get(f"{PRUNE}{name}")):
            text = f"The apps took longer than {HOLD_SECONDS / 60:.0f} minutes to say what they need. Nothing was removed."
            raise StorageFailedError(text, "Run it again: ryla-gen weights prune")

    def needed_by_syncs(self) -> NeededFiles:
        """Return what the marked downloads need. Blocks."""
        found = NeededFiles()
        for key, value in list(self._entries.items()):  # read to its end, whatever a mark says
            if str(key).startswith(SYNC) and _counts(value):
                found |= needed_from(value)
        return found

    async def release(self, key: str) -> None:
        """Take a mark away."""
        await self._entries.pop.aio(key, None)

    async def _is_held(self) -> bool:
        marks = [item async for item in self._entries.items.aio()]
        return any(str(key).startswith(PRUNE) and _counts(value) for key, value in marks)


def _counts(mark: object) -> bool:
    return isinstance(mark, dict) and mark.get("until", 0.0) > time.time()
