"""Sum up trials: success rate, consistency of a face, times and costs. Pure; runs nothing and draws nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from ...support.counting import count_text
from .statistics import Share, Spread, share, spread, tries_to_prove
from .trials import Trial

Kind = Literal["success-rate", "consistency", "performance"]
"""What is measured."""
TARGET = 0.95
"""Share of runs that must be exceeded: the acceptance limit of the system this one replaces."""
EMULATED = "These numbers come from the emulator: they show that everything works, but say nothing about a model or a GPU."
NO_FACE = "On the emulator, similarity does not measure a model: its faces are drawn, not generated."


@dataclass(slots=True)
class Evaluation:
    """Trials as they come in, and the statistics so far."""

    kind: Kind
    workflow: str
    backend: str
    """The one asked first."""
    wanted: int
    """Runs that were to be made."""
    target: float | None = None
    """What the rate must exceed, or the mean similarity reach; None asks for nothing."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """The fields all runs have in common; a picture is its hash and size."""
    began: str = ""
    """When, ISO 8601 UTC."""
    reference: bytes | None = None
    """A small JPEG of the reference picture."""
    trials: list[Trial] = field(default_factory=list)
    wall: float = 0.0
    """Seconds from the first request to the last result."""
    stopped: str | None = None
    """Why it ended before all runs were made."""

    @property
    def places(self) -> str:
        """Where the runs ran: of a list of backends, those that took them; before any ended well, the one asked first."""
        return ", ".join(sorted({trial.backend for trial in self.trials if trial.backend})) or self.backend

    @property
    def emulated(self) -> bool:
        """Whether no model was involved."""
        return "emulator" in self.places

    @property
    def share(self) -> Share:
        """Runs that succeeded."""
        return share(sum(trial.ok for trial in self.trials), len(self.trials))

    @property
    def codes(self) -> dict[str, int]:
        """Failures by code, the most frequent first."""
        return dict(Counter(str(trial.code) for trial in self.trials if not trial.ok).most_common())

    @property
    def similarity(self) -> Spread:
        """Of the faces that could be compared."""
        return spread([trial.similarity for trial in self.trials if trial.similarity is not None])

    @property
    def passed(self) -> bool | None:
        """Whether the target was met; None without one, or before there is anything to compare."""
        if self.target is None or not self.trials:
            return None
        if self.kind == "consistency":
            mean = self.similarity.mean
            return None if mean is None else mean >= self.target
        return (self.share.rate or 0.0) > self.target

    @property
    def cost_usd(self) -> float:
        """What all runs cost, US dollars."""
        return sum(trial.cost_usd for trial in self.trials)

    @property
    def files(self) -> int:
        """Pictures and videos made."""
        return sum(trial.files for trial in self.trials)

    @property
    def usd_per_file(self) -> float | None:
        """US dollars for a picture or video; None when none was made."""
        return self.cost_usd / self.files if self.files else None

    @property
    def per_minute(self) -> float | None:
        """Pictures or videos a minute, all that ran at once together."""
        return 60 * self.files / self.wall if self.wall and self.files else None

    def times(self, *, cold: bool) -> dict[str, Spread]:
        """Measure the seconds of cold or of warm runs that succeeded: in all, on the GPU, and until the server was up."""
        found = self._succeeded(cold=cold)
        return {
            "seconds": spread([trial.seconds for trial in found]),
            "running": spread([trial.running for trial in found if trial.running is not None]),
            "cold_start": spread([trial.cold_start for trial in found if trial.cold_start]),
        }

    def parts(self) -> dict[str, Spread]:
        """Measure where the cold starts went, as far as a backend says it: part → seconds."""
        found = [trial.parts for trial in self._succeeded(cold=True)]
        names = {name: None for parts in found for name in parts}
        return {name: spread([parts[name] for parts in found if name in parts]) for name in names}

    def _succeeded(self, *, cold: bool) -> list[Trial]:
        return [trial for trial in self.trials if trial.ok and trial.cold is cold]

    def remarks(self) -> list[str]:
        """List what a reader should know about the numbers."""
        said = [self.stopped] if self.stopped else []
        if self.emulated:
            said.append(NO_FACE if self.kind == "consistency" else EMULATED)
        if self.kind == "success-rate" and self.passed and self.target is not None and self.share.low <= self.target < 1:
            needed = tries_to_prove(self.target)
            said.append(
                f"{count_text(self.share.of, 'run')} cannot prove a rate above {self.target:.0%}; {needed} without a failure could."
            )
        if self.kind == "performance" and self.trials and not any(trial.cold_start for trial in self.trials):
            said.append("The server was already running: the first run is counted as cold, and no server start was measured.")
        if restored := sum(trial.restored for trial in self.trials):
            said.append(f"{count_text(restored, 'container')} came out of a snapshot.")
        faceless = sum(trial.ok and trial.similarity is None for trial in self.trials)
        if self.kind == "consistency" and faceless:
            said.append(f"{faceless} of {count_text(self.share.successes, 'picture')} without a face that could be compared.")
        return said

    def to_data(self) -> dict[str, Any]:
        """Return everything as plain data, without pictures."""
        return {
            "kind": self.kind,
            "workflow": self.workflow,
            "backend": self.places,
            "began": self.began,
            "wanted": self.wanted,
            "inputs": self.inputs,
            "target": self.target,
            "passed": self.passed,
            "stopped": self.stopped,
            "success": self.share.to_data(),
            "errors": self.codes,
            "similarity": self.similarity.to_data() if self.kind == "consistency" else None,
            "cold": {name: found.to_data() for name, found in self.times(cold=True).items()},
            "cold_parts": {name: found.to_data() for name, found in self.parts().items()},
            "warm": {name: found.to_data() for name, found in self.times(cold=False).items()},
            "cost_usd": self.cost_usd,
            "usd_per_file": self.usd_per_file,
            "per_minute": self.per_minute,
            "seconds": self.wall,
            "remarks": self.remarks(),
            "items": [trial.to_data() for trial in self.trials],
        }
