"""Define the options that say what a Modal class runs on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from ryla_gen.remote.deploy import DeployChanges

from .common import Environment

Count = Annotated[
    int | None, typer.Option("--min-containers", metavar="NUMBER", min=0, help="Number of containers that always keep running.")
]
Most = Annotated[int | None, typer.Option("--max-containers", metavar="NUMBER", min=1, help="Maximum number of containers.")]
Spare = Annotated[
    int | None,
    typer.Option(
        "--buffer-containers", metavar="NUMBER", min=0, help="Number of idle containers besides the busy ones, under load."
    ),
]
Window = Annotated[
    int | None, typer.Option("--window", metavar="SECONDS", min=2, max=3600, help="How long an idle container keeps running.")
]
Gpu = Annotated[str | None, typer.Option("--gpu", metavar="NAMES", help="GPUs in order of preference, separated by commas.")]
Region = Annotated[str | None, typer.Option("--region", metavar="NAMES", help="Region where containers run, such as eu.")]


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """The options that say in what a deploy differs from the settings: of every app."""

    gpu: Gpu = None
    min_containers: Count = None
    max_containers: Most = None
    buffer_containers: Spare = None
    window: Window = None
    region: Region = None
    environment: Environment = None

    def changes(self, **more: Any) -> DeployChanges:
        """Return them as the deploy takes them.

        Args:
            more: what the options of one command say beside that.
        """
        given = asdict(self) | {"gpu": tuple(name.strip() for name in self.gpu.split(",") if name.strip()) if self.gpu else None}
        return DeployChanges(scaledown_window=given.pop("window"), **given, **more)
