"""Define what a server for agents may do: its folders, its budget, the workflows it offers. Must not start anything."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from ...errors import BackendNotConfiguredError, InvalidInputError, RylaGenError
from ...settings import Settings, home_folder
from ...settings.allowance import Allowance
from ...workflows.base import Workflow
from ...workflows.registry import graph_names, named_class, workflow_names

log = logging.getLogger(__name__)

AGENT_TAG = "mcp"
"""Tag of every job that an agent started, whichever process served it."""
DEFAULT_USD = 1.0
"""US dollars that one process may spend where nothing else is said: some fifty pictures, and nothing that hurts."""
WAIT_SECONDS = 50.0
"""How long a call waits for its job: hosts give a call up after 60 seconds, which would cancel the work."""
COMMON = ("z_image", "qwen_image_edit", "flux_dev", "wan22", "seedvr2")
"""Built-in workflows that are tools of their own by default: a picture, an edit, the other picture, a video, an enlargement.

All seventeen schemas are some 19,000 tokens of every conversation, and agents choose worse among many alike; these are a third.
The others are reached by ``run``, their fields by ``workflows``."""
RAISE_HINT = "Ask the person: only they can allow more, by starting the server with a higher --max-usd."


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What one server may do."""

    settings: Settings
    """Where it runs, with the budget of the process in ``allowance``."""
    output: Path
    """Folder in which every result is saved."""
    allowed: tuple[Path, ...]
    """Folders, without links, below which an agent may name a file."""
    confirm_above: float | None = None
    """US dollars of an estimate above which a person is asked; None asks never."""
    wait: float = WAIT_SECONDS
    """Seconds that a call waits for its job, which goes on afterwards."""
    chosen: tuple[str, ...] = ()
    """Workflows that are offered; none: the common ones as tools of their own, and the others by ``run``."""

    def tools(self) -> Mapping[str, type[Workflow]]:
        """Return the workflows that are tools of their own, by name.

        Raises:
            InvalidInputError: one that was chosen is not there.

        """
        if self.chosen:
            return {found.name: found for found in map(named_class, self.chosen)}
        return {name: named_class(name) for name in COMMON} | dict(_usable(graph_names()))

    def others(self) -> tuple[str, ...]:
        """Return the names of the workflows that ``run`` reaches besides.

        A graph of the agent's own is none of them: its nodes are whatever the server has installed.
        """
        if self.chosen:
            return ()
        known = [name for name in workflow_names() if name not in COMMON and name not in graph_names()]
        return tuple(name for name, cls in _usable(known) if not cls.own_graph)

    def offered(self, name: str) -> type[Workflow]:
        """Return a workflow that this server offers, by its name.

        Raises:
            InvalidInputError: it offers none of that name.

        """
        names = (*self.tools(), *self.others())
        name = name if name in names else name.replace("-", "_")  # as the command line spells it
        if name not in names:
            raise InvalidInputError(f"This server offers no workflow {name[:80]!r}.", f"Choose one of: {', '.join(names)}")
        return named_class(name)


def _usable(names: Iterable[str]) -> Iterator[tuple[str, type[Workflow]]]:
    """Yield the workflows that can be loaded: a lock or a plug-in that cannot be used must not keep an agent from the others."""
    for name in names:
        try:
            yield name, named_class(name)
        except RylaGenError as error:
            log.warning("The workflow %s is not offered: %s", name, error.message)


def settings_for(loaded: Settings, output: Path | None, max_usd: float | None) -> tuple[Settings, Path]:
    """Return the settings of a server, with a budget of its own, and the folder of its results.

    Args:
        loaded: what the person configured.
        output: the folder; None is the setting ``output_dir``, or a folder beside the journal where that is not set: a host
            starts its servers in any folder, which an agent must not read.
        max_usd: US dollars for the whole process; None is :data:`DEFAULT_USD`.

    Raises:
        BackendNotConfiguredError: what a RunPod endpoint costs is not set, so that no budget can hold.
        InvalidInputError: the budget is not a number of at least 0.

    """
    usd = DEFAULT_USD if max_usd is None else max_usd
    if not 0 <= usd < math.inf:  # NaN is neither
        raise InvalidInputError(f"--max-usd {usd:g} is no budget.", "Give a number of US dollars: --max-usd 2")
    if "runpod" in loaded.backend_names and not loaded.runpod_usd_per_second:
        text = "What the RunPod endpoint costs is not set, so no budget can hold for an agent."
        raise BackendNotConfiguredError(text, "Set it: ryla-gen config set runpod.usd_per_second 0.0004")
    if output is None:
        output = home_folder() / "pictures" if loaded.origin("output_dir") == "default" else loaded.output_dir
    place = output.expanduser().absolute()
    budget = Allowance(f"{AGENT_TAG}:{uuid4()}", usd, RAISE_HINT)
    return replace(loaded, allowance=budget, references="bytes", notebook=False, output_dir=place), place
