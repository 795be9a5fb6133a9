"""Define the options that say what a Modal class runs on."""

from __future__ import annotations

from typing import Annotated

import typer

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
