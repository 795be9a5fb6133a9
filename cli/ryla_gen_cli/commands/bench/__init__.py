"""Implement ``ryla-gen bench``: measure success rate, face consistency and speed. Only options and consent; ``run`` runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...common import Backend, Json, MaxUsd, Overwrite, Quiet, Timeout, Url, example, group, grouped, screen_of
from ...prompts import Yes

if TYPE_CHECKING:
    from ryla_gen.tools.evaluations.measures import Kind

app = group(
    "Measure how well a workflow works, on any backend. If you stop it, what has been measured is kept.",
    example("ryla-gen bench success-rate flux-dev --count 20 --report success.html"),
)

Name = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of the workflow; ryla-gen workflows list shows all.")]
Prompt = Annotated[
    list[str] | None,
    typer.Option("--prompt", metavar="TEXT", help="Prompt; repeat it to use several in turn. Default: five scenes."),
]
Count = Annotated[int, typer.Option("--count", "-n", metavar="NUMBER", min=1, max=10_000, help="Number of runs.")]
Fields = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field of the workflow, such as steps=30; repeatable.")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of the first run; each further run adds 1. Random by default."),
]
InFlight = Annotated[int, typer.Option("--in-flight", metavar="NUMBER", min=1, help="Maximum number of jobs in progress at once.")]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write a page with pictures and plots to this file, such as report.html."),
]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The options of every measurement."""

    prompt: Prompt = None
    fields: Fields = None
    seed: Seed = None
    in_flight: InFlight = 1
    report: Report = None
    overwrite: Overwrite = False
    backend: Backend = None
    url: Url = None
    timeout: Timeout = None
    max_usd: MaxUsd = None
    yes: Yes = False
    as_json: Json = False
    quiet: Quiet = False

    def bench(
        self,
        context: typer.Context,
        kind: Kind,
        workflow: str,
        count: int,
        *,
        target: float | None = None,
        reference: Path | None = None,
    ) -> None:
        """Measure one kind of thing, and say what came out."""
        from .run import BenchPlan, bench  # the client and its backends, which no help text needs

        plan = BenchPlan(
            kind,
            workflow,
            count,
            self.prompt or (),
            self.fields or (),
            self.seed,
            target=target,
            in_flight=self.in_flight,
            backend=self.backend,
            url=self.url,
            timeout=self.timeout,
            max_usd=self.max_usd,
            report=self.report,
            overwrite=self.overwrite,
            reference=reference,
        )
        bench(screen_of(context, as_json=self.as_json, quiet=self.quiet), plan, yes=self.yes)


@app.command("success-rate", epilog=example("ryla-gen bench success-rate flux-dev --count 20 --report success.html"))
@grouped
def success_rate(
    context: typer.Context,
    workflow: Name = "flux-dev",
    count: Count = 20,
    target: Annotated[
        float, typer.Option("--target", metavar="SHARE", min=0, max=1, help="Share of successes that must be exceeded.")
    ] = 0.95,
    *,
    options: BenchOptions,
) -> None:
    """Run a workflow many times; exit with 1 unless more than the target share succeeds."""
    options.bench(context, "success-rate", workflow, count, target=target)


@app.command(epilog=example("ryla-gen bench consistency face.png --count 5 --report consistency.html"))
@grouped
def consistency(
    context: typer.Context,
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Picture of the face to keep.", show_default=False)],
    workflow: Annotated[str, typer.Option("--workflow", metavar="NAME", help="A workflow that keeps a face.")] = "instantid",
    count: Count = 5,
    target: Annotated[
        float | None, typer.Option("--target", metavar="COSINE", min=-1, max=1, help="Mean similarity that must be reached.")
    ] = None,
    *,
    options: BenchOptions,
) -> None:
    """Make pictures of one face in several scenes and measure how similar each is to the reference, by ArcFace embeddings."""
    options.bench(context, "consistency", workflow, count, target=target, reference=reference)


@app.command(epilog=example("ryla-gen bench performance flux-dev --count 10 --report performance.html"))
@grouped
def performance(
    context: typer.Context,
    workflow: Name = "flux-dev",
    count: Count = 10,
    *,
    options: BenchOptions,
) -> None:
    """Measure cold and warm times with percentiles, and US dollars per picture."""
    options.bench(context, "performance", workflow, count)
