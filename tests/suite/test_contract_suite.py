"""One suite, unchanged, over every place a job can run: what is promised of one is promised of all."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ryla_gen import (
    SDXL,
    Client,
    CustomWorkflow,
    Flux,
    Flux2Klein,
    FluxDev,
    FluxInstantID,
    FluxLora,
    FluxPulid,
    Generation,
    InstantID,
    SeedVR2,
    Settings,
    Wan2,
    Wan22,
    Workflow,
    __version__,
    load,
)
from ryla_gen.errors import (
    FaceNotFoundError,
    GenerationTimeoutError,
    InvalidInputError,
    JobCanceledError,
    JobExpiredError,
    LoraNotFoundError,
    ModelNotFoundError,
    NodeFailedError,
    RylaGenError,
    WorkflowError,
    WorkflowInvalidError,
)
from ryla_gen.events import Finished, Progress, Queued, Started
from ryla_gen.locks.families import family_lock
from ryla_gen.media.provenance import read_mark
from ryla_gen.media.xmp import SOURCE_TYPES
from ryla_gen.models.node_schemas import GRAPH_VERSION
from ryla_gen.tools.provenance import make_certificate, verify
from ryla_gen.workflows.registry import BUILT_IN, workflow_class
from tests.conftest import encoded, portrait

from .conftest import Elsewhere, Place

FACE = encoded(portrait())
FLAT = encoded(portrait().convert("L").point(lambda _: 128).convert("RGB"))
SMALL: dict[str, Any] = {"prompt": "a red boat", "width": 256, "height": 256, "seed": 7}
SLOW = FluxDev(prompt="a red fox", steps=100, batch_size=3, seed=1)
"""Takes the emulator some seconds: is seen while it runs, and to its end."""
LONG = SLOW.changed(width=2048, height=2048)
"""Takes four times as long: is stopped in the middle, however late that is."""
TRIVIAL = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def example(name: str, media: bytes) -> Workflow:
    """The request of a workflow's example, with one picture for all of its media."""
    cls = workflow_class(name)
    fields = dict(cls.example.fields if cls.example else {})
    return cls(**{key: media if key in cls.media_fields() else value for key, value in fields.items()})


EVERY: dict[str, Workflow] = {
    "flux": Flux(**SMALL),
    "flux_dev": FluxDev(**SMALL, steps=2, output_format="webp"),
    "flux_lora": FluxLora(**SMALL, steps=2, lora_id="character"),
    "instantid": InstantID(**SMALL, steps=2, reference_image=FACE),
    "flux_instantid": FluxInstantID(**SMALL, steps=2, instantid_steps=2, reference_image=FACE),
    "flux_pulid": FluxPulid(**SMALL, steps=2, reference_image=FACE),
    "wan2": Wan2(prompt="waves", width=256, height=256, length=5, steps=2, seed=7),
    "seedvr2": SeedVR2(image=FACE, resolution=512, seed=7),
    "workflow": CustomWorkflow(graph=TRIVIAL),
}
EVERY |= {name: example(name, FACE) for name in BUILT_IN if name not in EVERY}
CLIP: dict[str, Any] = {**SMALL, "length": 5, "steps": 2}
EVERY |= {
    "wan2 from a picture": Wan2(**CLIP, image=FACE),
    "wan22 from a picture": Wan22(**CLIP, image=FACE),
    "wan22 between two pictures": Wan22(**CLIP, image=FACE, last_image=FLAT),
    "sdxl after three pictures": SDXL(**SMALL, steps=2, pose_image=FACE, depth_image=FLAT, edge_image=FACE),
    "flux2_klein with two pictures": Flux2Klein(**SMALL, steps=1, images=(FACE, FLAT)),
}
"""A request of each workflow; of those that pictures make another graph of, one with pictures too."""


@pytest.mark.parametrize("name", EVERY)
def test_every_workflow_runs_and_tells_about_itself(client: Client, place: Place, name: str) -> None:
    workflow = EVERY[name]
    generation = client.run(workflow, timeout=60)
    assert generation.backend == place.backend
    given = {name: value for name, value in workflow.described().items() if value is not None}
    made = generation.workflow.described()  # what was left open may be filled in: an edit has the size of its picture
    assert {name: made[name] for name in given} == given
    assert generation.seed == (getattr(workflow, "seed", None) or 0)
    assert generation.output.name == f"{workflow.name}-{generation.seed}-0{generation.output.suffix}"
    assert generation.output.kind == (workflow.output_kind or "image")
    assert generation.output.width and generation.output.height
    if "server version" not in place.cannot:
        # `ryla-gen emulator` is the release for graphs of one's own; built-in workflows have that of their images elsewhere.
        newest = place.backend == "comfyui" or (place.backend == "emulator" and workflow.own_graph)
        assert generation.server["comfyui"] == (GRAPH_VERSION if newest else family_lock(workflow.family).release)
    assert set(generation.graph) and all("class_type" in node for node in generation.graph.values())
    assert 0 <= generation.timings.running <= generation.timings.total
    record = client.jobs.list()[0]
    assert (record.id, record.state, record.seed) == (generation.job, "succeeded", generation.seed)
    assert record.cost_usd == generation.cost.total_usd


def test_the_same_request_is_the_same_picture_everywhere(client: Client, clean_environment: Path) -> None:
    with Client("emulator") as reference:
        expected = reference.run(EVERY["flux"]).image.tobytes()
    assert client.run(EVERY["flux"]).image.tobytes() == expected


@pytest.mark.parametrize(("name", "term"), [("flux", "algorithmicMedia"), ("seedvr2", "composite")])
def test_every_file_says_what_made_it(client: Client, name: str, term: str) -> None:
    output = client.run(EVERY[name], timeout=60).output
    assert read_mark(output.data, output.media_type) == (f"{SOURCE_TYPES}{term}", f"ryla_gen {__version__} (emulated)")


def test_a_signed_file_is_loaded_and_run_again_and_signed_anew(place: Place, clean_environment: Path, tmp_path: Path) -> None:
    make_certificate(clean_environment / "provenance")
    settings = Settings.load(backend=place.backend, comfyui_url=place.url, provenance_sign=True, **place.arguments)
    with Client(settings=settings) as client:
        first = client.run(EVERY["flux_dev"])
        assert [notice for notice in first.warnings if notice.code == "unsigned"] == []
        (saved,) = first.save(tmp_path / "first.png")
        second = client.run(load(saved))
    (again,) = second.save(tmp_path / "second.png")
    assert second.image.tobytes() == first.image.tobytes()
    for file in (saved, again):
        found = verify(file)
        assert found.manifest is not None
        assert (found.manifest.seal, found.manifest.problems) == ("valid", ())
    assert saved.read_bytes() != again.read_bytes()


def test_a_saved_picture_brings_its_request_back(client: Client, tmp_path: Path) -> None:
    (saved,) = client.run(EVERY["flux_dev"]).save(tmp_path / "fox.webp")
    assert load(saved) == EVERY["flux_dev"]


def test_events_come_in_order_and_end_once(client: Client) -> None:
    events: list[Any] = []
    generation = client.run(FluxDev(**{**SMALL, "width": 512, "height": 512}, steps=20), on_event=events.append)
    kinds = [type(event) for event in events]
    assert kinds[0] is Queued
    assert kinds.index(Started) < kinds.index(Progress)
    assert kinds[-1] is Finished
    assert (kinds.count(Started), kinds.count(Finished)) == (1, 1)
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    assert {event.job for event in events} == {generation.job}


def test_a_drawn_seed_comes_back_and_makes_the_picture_again(client: Client) -> None:
    first = client.run(Flux(prompt="a red fox", width=256, height=256))
    assert client.run(first.workflow).image.tobytes() == first.image.tobytes()


def test_the_largest_seed_arrives_whole(client: Client) -> None:
    assert client.run(Flux(**{**SMALL, "seed": 2**64 - 1})).seed == 2**64 - 1


def test_a_notice_reaches_the_caller(client: Client) -> None:
    generation = client.run(FluxDev(**SMALL, steps=1, negative_prompt="blur"))
    assert [item.code for item in generation.warnings] == ["negative_prompt_ignored"]


def test_cancelling_stops_one_job_and_leaves_its_neighbours(client: Client) -> None:
    running = client.submit(LONG)
    next(event for event in running.events() if isinstance(event, Started))
    queued, neighbour = client.submit(LONG.changed(seed=2)), client.submit(Flux(**SMALL))
    queued.cancel()
    running.cancel()
    running.cancel()  # two callers may cancel one job
    for job in (running, queued):
        with pytest.raises(JobCanceledError):
            job.result(timeout=100)
        assert job.state == "canceled"
    assert neighbour.result(timeout=60).seed == 7
    states = {record.id: record.state for record in client.jobs.list()}
    assert states == {running.id: "canceled", queued.id: "canceled", neighbour.id: "succeeded"}


def test_a_job_is_taken_up_again_by_another_process(client: Client, place: Place, elsewhere: Elsewhere) -> None:
    script = """
import os
from ryla_gen import Client, FluxDev
job = Client().submit(FluxDev(prompt="a red fox", steps=40, width=512, height=512, seed=9))
next(event for event in job.events() if event.type == "started")
print(job.id, flush=True)
os._exit(1)
"""
    done = elsewhere(script)
    job_id = done.stdout.strip()
    assert job_id, done.stderr
    if not place.outlives:
        with pytest.raises(JobExpiredError):
            client.jobs.get(job_id)
        return
    job = client.jobs.get(job_id)
    generation = job.result(timeout=60)
    assert (generation.seed, generation.job) == (9, job_id)
    assert generation.image.size == (512, 512)
    assert client.jobs.get(job.handle).result(timeout=60).image.tobytes() == generation.image.tobytes()


def test_fifty_through_map_come_in_order_each_once(client: Client) -> None:
    graphs = [
        CustomWorkflow(graph={**TRIVIAL, "1": {**TRIVIAL["1"], "inputs": {**TRIVIAL["1"]["inputs"], "color": 3000 * color}}})
        for color in range(50)
    ]  # type: ignore[dict-item]
    results = [item for item in client.map(graphs, in_flight=5) if isinstance(item, Generation)]
    colours = [item.graph["1"]["inputs"]["color"] for item in results]
    assert colours == [3000 * color for color in range(50)]
    assert len({item.job for item in results}) == 50
    assert len(client.jobs.list(limit=100)) == 50


def test_one_failure_in_a_map_loses_nothing_else(client: Client) -> None:
    mixed = [Flux(**SMALL), FluxDev(**SMALL, checkpoint="none.safetensors"), Flux(**{**SMALL, "seed": 8})]
    results = list(client.map(mixed, return_exceptions=True))
    assert [getattr(item, "code", "fine") for item in results] == ["fine", "model_not_found", "fine"]


def noise_video(frames: int) -> bytes:
    """A video that does not compress."""
    buffer = io.BytesIO()
    random = np.random.default_rng(1)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=16, options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
        for _ in range(frames):
            picture = random.integers(0, 255, (512, 512, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def test_a_video_of_twenty_megabytes_goes_in_and_a_large_one_comes_out(client: Client, place: Place) -> None:
    place.require("large files")
    video = noise_video(53)
    assert len(video) > 20_000_000
    generation = client.run(SeedVR2(video=video, resolution=512, seed=1, batch_size=5), timeout=280)
    assert (generation.video.width, generation.video.height, generation.video.frames) == (512, 512, 53)
    pictures = client.run(Flux(prompt="a red fox in the snow", seed=1, batch_size=16), timeout=280)
    assert sum(len(item.data) for item in pictures.outputs) > 8_000_000
    assert len(pictures.outputs) == 16


def with_video_latent() -> dict[str, Any]:
    """A graph that is accepted, and whose sampler raises."""
    graph = Flux(**SMALL).build().to_api()
    [latent] = [node for node in graph.values() if node["class_type"].startswith("Empty")]
    latent |= {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 256, "height": 256, "length": 5, "batch_size": 1}}
    return graph


FAULTS: dict[str, tuple[Callable[[], Workflow], type[RylaGenError], set[str]]] = {
    "a missing checkpoint": (lambda: FluxDev(**SMALL, checkpoint="none.safetensors"), ModelNotFoundError, {"file"}),
    "a missing LoRA": (lambda: FluxLora(**SMALL, lora_id="nobody"), LoraNotFoundError, set()),
    "no face for InstantID": (lambda: InstantID(**SMALL, steps=1, reference_image=FLAT), FaceNotFoundError, set()),
    "no face for PuLID": (lambda: FluxPulid(**SMALL, steps=1, reference_image=FLAT), FaceNotFoundError, set()),
    "an unknown node": (
        lambda: CustomWorkflow(graph={"1": {"class_type": "NoSuchNode", "inputs": {}}}),
        WorkflowInvalidError,
        set(),
    ),
    "nothing to save": (lambda: CustomWorkflow(graph={"1": TRIVIAL["1"]}), WorkflowError, set()),
    "a video's latent in a model of pictures": (
        lambda: CustomWorkflow(graph=with_video_latent()),
        NodeFailedError,
        {"node_id", "class_type", "exception_type"},
    ),
    "no such picture": (lambda: InstantID(**SMALL, reference_image="/no/such/file.png"), InvalidInputError, set()),
}


PLACES = {
    "modal": ("ryla-gen deploy", "modal token", "on Modal"),
    "comfyui": (" --url ", "server's machine", "local install", "COMFYUI/models"),
    "runpod": ("docs/runpod.md", "endpoint"),
}
"""Words of a hint by the backend that they help with."""


def elsewhere(hint: str, backend: str) -> list[str]:
    """The words of a hint that are about another backend than the one that ran."""
    found = [word for place, words in PLACES.items() if place != backend for word in words if word in hint]
    # What the emulator cannot run, a server can.
    return [word for word in found if (backend, word) != ("emulator", " --url ")]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_request_is_the_same_typed_error_everywhere(client: Client, fault: str) -> None:
    make, expected, details = FAULTS[fault]
    if fault == "no face for PuLID" and client.settings.backend_names[0] in ("comfyui", "runpod"):
        generation = client.run(make())  # where nobody looks first, the node only logs it: the result warns
        assert [item.code for item in generation.warnings] == ["face_unchecked"]
        return
    with pytest.raises(expected) as caught:
        client.run(make(), timeout=60)
    error = caught.value
    assert type(error) is expected or expected is WorkflowError
    assert error.message
    assert error.hint
    assert details <= set(error.details)
    assert elsewhere(error.hint, client.settings.backend_names[0]) == []
    json.dumps(error.to_data())
    assert client.run(EVERY["workflow"]).output.width == 64  # the place is none the worse for it


def test_a_graph_over_its_limit_is_stopped(client: Client) -> None:
    with pytest.raises(GenerationTimeoutError):
        client.run(CustomWorkflow(graph=dict(SLOW.build().to_api()), limit=0.5))
    assert client.run(EVERY["workflow"]).output.width == 64
