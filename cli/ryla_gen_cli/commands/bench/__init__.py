"""``ryla-gen bench``: measures success rate, face consistency and speed. What to run and whether to; ``run`` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...common import Backend, Json, Overwrite, Quiet, Timeout, Url, example, group, screen_of
from ...prompts import Yes

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


@app.command("success-rate", epilog=example("ryla-gen bench success-rate flux-dev --count 20 --report success.html"))
def success_rate(
    context: typer.Context,
    workflow: Name = "flux-dev",
    prompt: Prompt = None,
    count: Count = 20,
    target: Annotated[
        float, typer.Option("--target", metavar="SHARE", min=0, max=1, help="Share of successes that must be exceeded.")
    ] = 0.95,
    fields: Fields = None,
    seed: Seed = None,
    in_flight: InFlight = 1,
    report: Report = None,
    overwrite: Overwrite = False,
    backend: Backend = None,
    url: Url = None,
    timeout: Timeout = None,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a workflow many times; exit with 1 unless more than the target share succeeds."""
    from .run import BenchPlan, bench

    screen = screen_of(context, as_json=as_json, quiet=quiet)
    plan = BenchPlan("success-rate", workflow, count, prompt or (), fields or (), seed, target=target, in_flight=in_flight)
    bench(screen, plan.at(backend, url, timeout, report, overwrite=overwrite), yes=yes)


@app.command(epilog=example("ryla-gen bench consistency face.png --count 5 --report consistency.html"))
def consistency(
    context: typer.Context,
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Picture of the face to keep.", show_default=False)],
    workflow: Annotated[str, typer.Option("--workflow", metavar="NAME", help="A workflow that keeps a face.")] = "instantid",
    prompt: Prompt = None,
    count: Count = 5,
    target: Annotated[
        float | None, typer.Option("--target", metavar="COSINE", min=-1, max=1, help="Mean similarity that must be reached.")
    ] = None,
    fields: Fields = None,
    seed: Seed = None,
    in_flight: InFlight = 1,
    report: Report = None,
    overwrite: Overwrite = False,
    backend: Backend = None,
    url: Url = None,
    timeout: Timeout = None,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make pictures of one face in several scenes and measure how similar each is to the reference, by ArcFace embeddings."""
    from .run import BenchPlan, bench

    screen = screen_of(context, as_json=as_json, quiet=quiet)
    plan = BenchPlan("consistency", workflow, count, prompt or (), fields or (), seed, target=target, in_flight=in_flight)
    bench(screen, plan.at(backend, url, timeout, report, overwrite=overwrite, reference=reference), yes=yes)


@app.command(epilog=example("ryla-gen bench performance flux-dev --count 10 --report performance.html"))
def performance(
    context: typer.Context,
    workflow: Name = "flux-dev",
    prompt: Prompt = None,
    count: Count = 10,
    fields: Fields = None,
    seed: Seed = None,
    in_flight: InFlight = 1,
    report: Report = None,
    overwrite: Overwrite = False,
    backend: Backend = None,
    url: Url = None,
    timeout: Timeout = None,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure cold and warm times with percentiles, and US dollars per picture."""
    from .run import BenchPlan, bench

    screen = screen_of(context, as_json=as_json, quiet=quiet)
    plan = BenchPlan("performance", workflow, count, prompt or (), fields or (), seed, in_flight=in_flight)
    bench(screen, plan.at(backend, url, timeout, report, overwrite=overwrite), yes=yes)
