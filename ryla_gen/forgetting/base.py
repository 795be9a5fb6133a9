"""Define what forgetting erases and what it has to leave. Plain values; erases nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased, or would be."""

    jobs: tuple[str, ...] = ()
    """Ids of the jobs that leave the journal."""
    files: tuple[Path, ...] = ()
    """Files that the jobs made: in the output folder, and with a note of the job inside or, of a kind that carries none, where the
    journal saved them and of the size that it has."""
    folders: tuple[Path, ...] = ()
    """Folders of character jobs, with all their pictures."""
    batches: tuple[Path, ...] = ()
    """Records of batches, from which the lines of the jobs go."""
    pages: tuple[Path, ...] = ()
    """Pages of galleries that show the jobs; ``ryla-gen gallery`` writes them again."""
    loras: tuple[str, ...] = ()
    """LoRAs, each with the place where it is stored."""
    servers: tuple[str, ...] = ()
    """What leaves the servers on which the jobs ran."""
    stays: tuple[str, ...] = ()
    """What cannot be erased from here, each with the reason: whole sentences."""
    usd: float = 0.0
    """US dollars of these jobs that the journal still counts, without saying whose they were."""
    erased: bool = False
    """Whether it was done, or only looked at."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to erase."""
        return not (self.jobs or self.files or self.folders or self.batches or self.pages or self.loras)

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        told: dict[str, Any] = {"jobs": list(self.jobs), "loras": list(self.loras), "servers": list(self.servers)}
        told |= {name: _texts(getattr(self, name)) for name in ("files", "folders", "batches", "pages")}
        return {**told, "stays": list(self.stays), "usd": self.usd, "erased": self.erased}


def _texts(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]
