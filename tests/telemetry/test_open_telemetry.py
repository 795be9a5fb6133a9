"""OpenTelemetry: a span of each generation and metrics, under the names of its conventions, and no word of the request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from ryla_gen import Client, CustomWorkflow, FluxDev, telemetry
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import RylaGenError, WorkflowInvalidError
from ryla_gen.events import Started

from .conftest import SMALL

ROOT = Path(__file__).resolve().parents[2]
SECRET = "my secret garden"


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of the emulator."""
    with Client("emulator") as made:
        yield made


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Where the application's spans go."""
    made, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    trace.set_tracer_provider(provider)
    return made


def spans(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """What was exported since the last time."""
    assert telemetry.flush(240)
    found = list(exporter.get_finished_spans())
    exporter.clear()
    return found


def test_a_generation_is_a_span_below_the_callers(client: Client, exporter: InMemorySpanExporter) -> None:
    with trace.get_tracer("app").start_as_current_span("page") as page:
        generation = client.flux(**SMALL)
    outer, inner = sorted(spans(exporter), key=lambda span: span.name != "page")
    assert (outer.name, inner.name) == ("page", "generate_content flux")
    assert inner.parent is not None and inner.parent.span_id == page.get_span_context().span_id
    told = dict(inner.attributes or {})
    assert (told["ryla_gen.job"], told["ryla_gen.state"], told["ryla_gen.width"]) == (generation.job, "completed", 256)
    assert SMALL["prompt"] not in str(told)
    assert outer.start_time is not None and inner.start_time is not None and inner.end_time is not None
    assert outer.start_time <= inner.start_time + 1000 and inner.start_time < inner.end_time


def test_a_failure_is_a_span_with_an_error_and_no_word_of_the_request(client: Client, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(WorkflowInvalidError):
        client.run(CustomWorkflow(graph={"1": {"class_type": SECRET, "inputs": {}}}))
    (span,) = spans(exporter)
    assert span.status.status_code is trace.StatusCode.ERROR
    assert (span.status.description, dict(span.attributes or {})["error.type"]) == (
        "the server refused the graph",
        "workflow_invalid",
    )
    assert SECRET not in span.to_json()


def test_a_job_that_another_process_asked_for_has_a_span_too(exporter: InMemorySpanExporter) -> None:
    telemetry.emit(telemetry.Completed(backend="modal", job="of another process", workflow="flux", seconds=4.0, at=100.0))
    (span,) = spans(exporter)
    assert (span.start_time, span.end_time) == (96_000_000_000, 100_000_000_000)


def test_a_deploy_is_a_span_as_long_as_it_took(exporter: InMemorySpanExporter) -> None:
    telemetry.emit(telemetry.AppDeployed(backend="modal", app="ryla-comfyui", models=("a",), seconds=2.0, at=100.0))
    (span,) = spans(exporter)
    assert (span.name, span.start_time, span.end_time) == ("app_deployed", 98_000_000_000, 100_000_000_000)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """What a span says."""
    return dict(span.attributes or {})


def test_a_span_speaks_the_words_of_the_conventions_beside_ours(client: Client, exporter: InMemorySpanExporter) -> None:
    generation = client.flux(**SMALL)
    (span,) = spans(exporter)
    told = {name: value for name, value in attributes(span).items() if name.startswith("gen_ai.")}
    assert told == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "emulator",
        "gen_ai.request.model": "flux",
        "gen_ai.request.seed": generation.seed,
        "gen_ai.output.type": "image",
    }
    assert span.kind is trace.SpanKind.CLIENT
    assert span.name == f"{told['gen_ai.operation.name']} {told['gen_ai.request.model']}"


def test_a_seed_that_an_exporter_could_not_send_is_left_out(client: Client, exporter: InMemorySpanExporter) -> None:
    for seed in (2**63 - 1, 2**63):
        client.run(FluxDev(**SMALL, seed=seed))
    first, second = spans(exporter)
    assert attributes(first)["gen_ai.request.seed"] == 2**63 - 1
    assert "gen_ai.request.seed" not in attributes(second)
    assert 2**63 not in attributes(second).values()


@pytest.fixture(scope="module")
def provider() -> InMemoryMetricReader:
    """What reads the application's metrics."""
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


@pytest.fixture
def reader(provider: InMemoryMetricReader) -> InMemoryMetricReader:
    """The same, with nothing left of what was measured before."""
    assert telemetry.flush(240)
    provider.get_metrics_data()
    return provider


def measured(reader: InMemoryMetricReader) -> dict[str, Metric]:
    """Every metric of this package so far, by its name."""
    assert telemetry.flush(240)
    data = reader.get_metrics_data()
    scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
    return {metric.name: metric for scope in scopes if scope.scope.name == "ryla_gen" for metric in scope.metrics}


def points(metric: Metric, model: str) -> list[Any]:
    """Points of one workflow."""
    return [point for point in metric.data.data_points if (point.attributes or {})["gen_ai.request.model"] == model]


def test_a_generation_is_measured_with_its_queue_and_its_cost(reader: InMemoryMetricReader) -> None:
    for seconds, cost in ((4.0, 0.25), (600.0, 0.5)):
        telemetry.emit(
            telemetry.Completed(backend="modal", job="a", workflow="measured", seconds=seconds, queued=1.5, cost_usd=cost)
        )
    found = measured(reader)
    wanted = {"gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "modal", "gen_ai.request.model": "measured"}
    (duration,) = points(found["gen_ai.client.operation.duration"], "measured")
    assert isinstance(duration, HistogramDataPoint)
    assert (duration.count, duration.sum, dict(duration.attributes or {})) == (2, 604.0, wanted)
    assert tuple(duration.explicit_bounds[:14]) == CONVENTION
    assert duration.explicit_bounds[-1] > 2600  # the conventions' bounds end at 82 s: too soon for a video
    (queued,) = points(found["ryla_gen.queue.duration"], "measured")
    assert (queued.count, queued.sum, dict(queued.attributes)) == (2, 3.0, wanted)
    (cost,) = points(found["ryla_gen.cost"], "measured")
    assert (cost.value, dict(cost.attributes)) == (0.75, wanted)
    assert {name: metric.unit for name, metric in found.items()} == {
        "gen_ai.client.operation.duration": "s",
        "ryla_gen.queue.duration": "s",
        "ryla_gen.cost": "{USD}",
    }


def test_what_failed_and_canceled_generations_cost_is_measured(reader: InMemoryMetricReader) -> None:
    job = {"backend": "modal", "job": "c", "workflow": "lost"}
    telemetry.emit(telemetry.Completed(**job, seconds=1.0, cost_usd=1.0))
    telemetry.emit(telemetry.Canceled(**job, cost_usd=0.5))
    telemetry.emit(telemetry.Failed(**job, code="out_of_memory", cost_usd=0.25))
    telemetry.emit(telemetry.Failed(**job, code="internal"))
    told = {(point.attributes or {}).get("error.type"): point.value for point in points(measured(reader)["ryla_gen.cost"], "lost")}
    assert told == {None: 1.5, "out_of_memory": 0.25}


@pytest.mark.parametrize("ending", ["failed", "canceled"])
def test_an_end_without_a_result_tells_what_the_journal_has_of_its_cost(
    ending: str, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "36000")
    with Emulator() as server, Client(url=server.url) as client:
        server.knobs.delay_per_node, server.knobs.hold_nodes = 0.05, ending == "canceled"
        server.knobs.raise_at = "SaveImage" if ending == "failed" else ""
        job = client.submit(FluxDev(**SMALL))
        if ending == "canceled":
            next(event for event in job.events() if isinstance(event, Started))
            job.cancel()
        with pytest.raises(RylaGenError):
            job.result()
        record = client.history.get(job.id)
    assert record is not None and record.cost_usd
    (span,) = [span for span in spans(exporter) if attributes(span).get("ryla_gen.job") == job.id]
    assert (attributes(span)["ryla_gen.state"], attributes(span)["ryla_gen.cost_usd"]) == (ending, record.cost_usd)


CONVENTION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds of the duration, as the conventions have them."""


def test_what_a_client_runs_is_measured(client: Client, reader: InMemoryMetricReader) -> None:
    before = sum(point.count for point in points(found, "flux")) if (found := duration_of(reader)) else 0
    generation = client.flux(**SMALL)
    found = duration_of(reader)
    assert found is not None
    (point,) = points(found, "flux")
    assert point.count == before + 1
    assert point.max >= generation.timings.total
    (queued,) = points(measured(reader)["ryla_gen.queue.duration"], "flux")
    assert queued.max >= generation.timings.queued


def duration_of(reader: InMemoryMetricReader) -> Metric | None:
    """The metric of durations; None before the first generation."""
    return measured(reader).get("gen_ai.client.operation.duration")


def test_a_failure_is_measured_under_its_code_and_a_canceled_job_is_not(client: Client, reader: InMemoryMetricReader) -> None:
    with pytest.raises(WorkflowInvalidError):
        client.run(CustomWorkflow(graph={"1": {"class_type": SECRET, "inputs": {}}}))
    job = {"backend": "modal", "job": "b", "workflow": "canceled"}
    telemetry.emit(telemetry.Requested(**job))
    telemetry.emit(telemetry.Canceled(**job))
    telemetry.emit(telemetry.Failed(backend="modal", job="of another process", workflow="canceled", code="internal"))
    found = duration_of(reader)
    assert found is not None
    (point,) = points(found, CustomWorkflow.name)
    assert (point.count, point.attributes["error.type"]) == (1, "workflow_invalid")
    assert points(found, "canceled") == []  # nobody can say how long the failure of another process's job took
    assert SECRET not in found.to_json()


def test_the_page_lists_every_name_and_the_conventions_know_theirs(client: Client, reader: InMemoryMetricReader) -> None:
    client.flux(**SMALL)
    page = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    known = {value for module in (gen_ai_attributes, gen_ai_metrics, error_attributes) for value in strings(module)}
    rows = re.findall(r"^\| `((?:gen_ai|error|ryla_gen)\.[a-z_.]+)` \| ", page, re.MULTILINE)
    ours = {"ryla_gen.cost", "ryla_gen.queue.duration"}
    assert {name for name in rows if not name.startswith("ryla_gen.")} <= known
    assert {*measured(reader)} == {name for name in rows if name.endswith((".duration", ".cost"))}
    assert ours <= {*rows}


def strings(module: object) -> list[str]:
    """What the names of a module stand for."""
    return [value for value in vars(module).values() if isinstance(value, str)]
