"""The engine against a real server (the emulator, with knobs): results, warnings, limits, canceling, faults."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ryla_gen import AsyncClient, CustomWorkflow, Flux, FluxDev, FluxLora, FluxPulid, InstantID, SeedVR2, Wan2
from ryla_gen import media as media_module
from ryla_gen.comfy.client import ComfyClient
from ryla_gen.contract import new_job_id
from ryla_gen.emulator.server import Emulator
from ryla_gen.engine import Engine
from ryla_gen.errors import (
    BackendUnreachableError,
    FaceNotFoundError,
    GenerationTimeoutError,
    GpuOutOfMemoryError,
    InvalidInputError,
    LoraNotFoundError,
    ModelNotFoundError,
    ServerUnhealthyError,
    StorageFailedError,
    WorkflowError,
    WorkflowInvalidError,
)
from ryla_gen.events import Event, Preview, Progress, Started
from ryla_gen.results import Generation
from ryla_gen.workflows.base import Workflow

from ..cli.emulated import hold_after_the_first
from ..comfy.proxy import proxied
from ..conftest import encoded, portrait

SMALL: dict[str, Any] = {"prompt": "a red boat", "width": 256, "height": 256, "seed": 7}


class Bench:
    """An engine on an emulator of its own."""

    def __init__(self, server: Emulator, client: ComfyClient) -> None:
        self.server = server
        self.client = client
        self.engine = Engine(client, backend="emulator")
        self.events: list[Event] = []

    async def run(self, workflow: Workflow, *, job: str | None = None, timeout: float | None = None) -> Generation:
        self.events.clear()
        return await self.engine.run(workflow.seeded(), job=job or new_job_id(), emit=self.emit, timeout=timeout)

    def emit(self, kind: type[Event], **fields: Any) -> None:
        self.events.append(kind(**fields))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with Emulator() as server:
        async with ComfyClient(server.start(), gone_after=1.0) as client:
            yield Bench(server, client)


async def test_a_result_says_everything_about_itself(bench: Bench) -> None:
    generation = await bench.run(FluxDev(**SMALL, steps=4, batch_size=2, negative_prompt="blur"))
    assert [item.name for item in generation.outputs] == ["flux_dev-7-0.png", "flux_dev-7-1.png"]
    assert [(item.kind, item.media_type, item.width, item.height) for item in generation.outputs] == [
        ("image", "image/png", 256, 256)
    ] * 2
    assert generation.outputs[0].data != generation.outputs[1].data
    assert (generation.seed, generation.backend, generation.cost.total_usd) == (7, "emulator", 0.0)
    assert [item.code for item in generation.warnings] == ["negative_prompt_ignored"]
    assert generation.graph["1"]["class_type"] == "CheckpointLoaderSimple"
    assert generation.server["comfyui"] == "0.28.2"
    assert 0 < generation.timings.running <= generation.timings.total


async def test_events_tell_the_way_and_the_fraction_never_falls(bench: Bench) -> None:
    # A large picture: one preview is kept, and dropped at the end, so it has to be read before.
    await bench.run(FluxDev(**SMALL | {"width": 1024, "height": 1024}, steps=20))
    fractions = [event.fraction for event in bench.events if isinstance(event, Progress)]
    assert isinstance(bench.events[0], Started)
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.8
    sampler = [event for event in bench.events if isinstance(event, Progress) and event.node == "KSampler" and event.step]
    assert [event.step for event in sampler] == list(range(1, 21))
    assert all(event.steps == 20 for event in sampler)
    assert any(isinstance(event, Preview) and event.data[:2] == b"\xff\xd8" for event in bench.events)


async def test_the_same_request_twice_gives_the_same_picture_under_its_own_name(bench: Bench) -> None:
    first, second = await bench.run(Flux(**SMALL)), await bench.run(Flux(**SMALL))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.job != second.job
    assert len(second.outputs) == 1


@pytest.mark.parametrize(("output_format", "magic"), [("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
async def test_other_formats_are_re_encoded_and_keep_their_metadata(bench: Bench, output_format: str, magic: bytes) -> None:
    generation = await bench.run(FluxDev(**SMALL, steps=2, output_format=output_format))  # type: ignore[arg-type]
    assert generation.output.data.startswith(magic)
    assert generation.output.media_type == f"image/{output_format}"
    stored = media_module.read_metadata(generation.output.data)
    assert json.loads(stored["ryla"])["inputs"]["prompt"] == "a red boat"
    assert json.loads(stored["prompt"]) == generation.graph


async def test_a_reference_picture_travels_once(bench: Bench, face: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = FluxPulid(**SMALL, steps=2, reference_image=face)
    await bench.run(workflow)
    uploads = list((bench.server.folders.input / "ryla").iterdir())

    async def refused(*_: object, **__: object) -> str:
        raise AssertionError("it travels once more")

    monkeypatch.setattr(bench.client, "upload", refused)
    assert (await bench.run(workflow.changed(seed=8))).seed == 8
    assert list((bench.server.folders.input / "ryla").iterdir()) == uploads


async def test_a_picture_that_was_not_read_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidInputError, match="has not been read"):
        await bench.run(InstantID(**{**SMALL, "width": 256}, reference_image="face.png"))


async def test_a_flat_reference_has_no_face(bench: Bench) -> None:
    flat = encoded(Image.new("RGB", (128, 128), "#808080"))
    with pytest.raises(FaceNotFoundError) as caught:
        await bench.run(InstantID(**SMALL, steps=2, reference_image=flat))
    assert caught.value.details["class_type"] == "ApplyInstantIDAdvanced"


async def test_an_unknown_checkpoint_is_refused_with_the_closest_name(bench: Bench) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        await bench.run(FluxDev(**SMALL, checkpoint="flux1-dev-fp16.safetensors"))
    assert "flux1-dev-fp8.safetensors" in str(caught.value)
    assert bench.server.stats.prompts == 0


async def test_an_unknown_lora_is_refused_and_one_that_arrives_later_is_found(bench: Bench) -> None:
    workflow = FluxLora(**SMALL, steps=2, lora_id="ada")
    with pytest.raises(LoraNotFoundError):
        await bench.run(workflow)
    stored = bench.server.folders.models / "loras" / "ada" / "0123456789abcdef.safetensors"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    generation = await bench.run(workflow)
    names = [node["inputs"]["lora_name"] for node in generation.graph.values() if node["class_type"] == "LoraLoader"]
    assert names == ["ada/0123456789abcdef.safetensors"]


async def test_an_unknown_lora_file_of_a_graph_of_one_s_own_is_left_to_the_server(bench: Bench) -> None:
    graph = FluxLora(**SMALL, steps=1, lora_id="ada").build().to_api()
    generation = await bench.run(CustomWorkflow(graph=graph))
    assert "emulated_weights" in [item.code for item in generation.warnings]


async def test_a_broken_link_is_not_taken_for_the_weights_that_the_server_stands_in_for(bench: Bench) -> None:
    graph = FluxDev(**SMALL, checkpoint="mine.safetensors").build().to_api()
    sampler = next(node_id for node_id, node in graph.items() if node["class_type"] == "KSampler")
    graph[sampler]["inputs"]["model"] = ["404", 0]
    with pytest.raises(WorkflowInvalidError, match="node '404'") as caught:
        await bench.run(CustomWorkflow(graph=graph))
    kinds = {item["error_type"] for item in caught.value.details["errors"]}
    assert kinds == {"exception_during_inner_validation"}
    assert bench.server.stats.prompts == 0


async def test_a_node_the_server_lacks_is_named(bench: Bench) -> None:
    graph = {"1": {"class_type": "VHS_VideoCombine", "inputs": {}}}
    with pytest.raises(WorkflowInvalidError, match="VHS_VideoCombine"):
        await bench.run(CustomWorkflow(graph=graph))


async def test_a_failing_node_is_named(bench: Bench) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    with pytest.raises((InvalidInputError, WorkflowError, ModelNotFoundError)) as caught:
        await bench.run(CustomWorkflow(graph=graph))
    assert "none.png" in str(caught.value)


async def test_a_graph_over_its_limit_is_stopped_on_the_server(bench: Bench) -> None:
    bench.server.knobs.delay_per_node = 600.0
    job = new_job_id()
    with pytest.raises(GenerationTimeoutError) as caught:
        await bench.run(FluxDev(**SMALL), job=job, timeout=0.3)
    assert caught.value.details == {"job": job, "limit": 0.3, "stopped": True}
    async with asyncio.timeout(60):  # the interrupt is told; the node ends a moment later
        while job in (queue := await bench.client.queue()).running + queue.pending:
            await asyncio.sleep(0.02)


async def test_silence_while_a_model_loads_is_no_fault(bench: Bench) -> None:
    bench.server.knobs.silent_seconds = 1.0
    before = time.monotonic()
    await bench.run(FluxDev(**SMALL, steps=2))
    assert time.monotonic() - before >= 1.0  # by this clock: the client counts from when it hears of the start


async def queued(bench: Bench, *, running: int, pending: int) -> None:
    """Wait until so many prompts run, and so many wait."""
    while True:
        found = bench.server.queue.to_data()
        if (len(found["queue_running"]), len(found["queue_pending"])) == (running, pending):
            return
        await asyncio.sleep(0.01)


async def test_a_cancelled_run_leaves_its_neighbour_alone(bench: Bench) -> None:
    bench.server.knobs.delay_per_node = 60.0  # an interrupt ends it
    doomed = asyncio.create_task(bench.run(FluxDev(**SMALL, steps=2), job="33333333-3333-4333-8333-333333333333"))
    await queued(bench, running=1, pending=0)
    other = asyncio.create_task(
        bench.engine.run(Flux(**SMALL), job="44444444-4444-4444-8444-444444444444", emit=lambda kind, **fields: None)
    )
    await queued(bench, running=1, pending=1)
    bench.server.knobs.delay_per_node = 0.0
    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed
    assert (await other).output.width == 256
    entry = await bench.client.history("33333333-3333-4333-8333-333333333333")
    assert entry is not None
    assert entry["status"]["status_str"] == "error"


async def test_a_dropped_websocket_loses_nothing_and_submits_nothing_twice(bench: Bench) -> None:
    bench.server.knobs.delay_per_node = 0.05
    bench.server.knobs.drop_websocket_after = 8
    generation = await bench.run(FluxDev(**SMALL, steps=4))
    assert bench.server.knobs.drop_websocket_after is None  # it did drop
    assert generation.output.width == 256
    assert bench.server.stats.prompts == 1


async def test_a_server_that_dies_is_named_within_seconds(bench: Bench) -> None:
    bench.server.knobs.die_on_prompt = True
    with pytest.raises((ServerUnhealthyError, BackendUnreachableError)):
        await asyncio.wait_for(bench.run(FluxDev(**SMALL)), 60)


async def test_a_gpu_that_is_full_is_named_and_the_next_run_works(bench: Bench) -> None:
    bench.server.knobs.out_of_memory_at = "VAEDecode"
    with pytest.raises(GpuOutOfMemoryError) as caught:
        await bench.run(FluxDev(**SMALL, steps=1))
    assert (caught.value.details["class_type"], caught.value.code) == ("VAEDecode", "out_of_memory")
    bench.server.knobs.out_of_memory_at = None
    assert (await bench.run(FluxDev(**SMALL, steps=1))).seed == 7


async def test_partly_accepted_is_refused(bench: Bench) -> None:
    bench.server.knobs.partial_node_errors = True
    with pytest.raises((WorkflowError, InvalidInputError, ModelNotFoundError)):
        await bench.run(FluxDev(**SMALL, steps=2))


async def test_nobody_listening_is_unreachable() -> None:
    async with ComfyClient("http://127.0.0.1:9") as client:
        with pytest.raises(BackendUnreachableError, match="127.0.0.1:9"):
            await Engine(client, backend="comfyui").run(
                Flux(**SMALL), job="55555555-5555-4555-8555-555555555555", emit=lambda kind, **fields: None
            )


async def test_a_graph_that_saves_nothing_is_a_failure(bench: Bench) -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}}
    with pytest.raises(WorkflowInvalidError, match="no output node"):
        await bench.run(CustomWorkflow(graph=graph))


async def test_a_black_picture_is_noticed(bench: Bench) -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    generation = await bench.run(CustomWorkflow(graph=graph))
    assert generation.output.media_type == "image/png"
    extrema = generation.image.convert("RGB").getextrema()
    expected = ["black_image"] if all(high == 0 for _, high in extrema) else []  # type: ignore[misc]
    assert [item.code for item in generation.warnings] == expected


async def test_a_video_is_counted_and_measured(bench: Bench) -> None:
    generation = await bench.run(Wan2(prompt="waves", width=256, height=256, length=9, steps=2, seed=1))
    video = generation.video
    assert (video.media_type, video.width, video.height, video.frames, video.fps) == ("video/mp4", 256, 256, 9, 16.0)
    animated = await bench.run(Wan2(prompt="waves", width=256, height=256, length=5, steps=2, seed=1, format="webp"))
    assert (animated.video.media_type, animated.video.frames) == ("image/webp", 5)


async def test_upscaling_by_a_factor_knows_the_input(bench: Bench) -> None:
    picture = encoded(portrait((200, 300)))
    generation = await bench.run(SeedVR2(image=picture, scale=2))
    assert (generation.output.width, generation.output.height) == (400, 600)


async def test_many_at_once_share_one_websocket(bench: Bench) -> None:
    jobs = [
        bench.engine.run(Flux(**{**SMALL, "seed": seed}), job=new_job_id(), emit=lambda kind, **fields: None) for seed in range(8)
    ]
    results = await asyncio.gather(*jobs)
    assert [item.seed for item in results] == list(range(8))
    assert len({item.output.data for item in results}) == 8
    assert bench.server.stats.sockets == 1


async def test_a_saved_picture_brings_its_workflow_back(bench: Bench, tmp_path: Any) -> None:
    import ryla_gen

    made = FluxDev(**SMALL, steps=3, guidance=2.5)
    generation = await bench.run(made)
    (path,) = generation.save(tmp_path / "x.png")
    assert ryla_gen.load(path) == made
    assert Image.open(io.BytesIO(path.read_bytes())).text["ryla:emulated"] == "true"  # type: ignore[attr-defined]


async def test_what_comfyui_would_do_in_silence_is_said(bench: Bench) -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": "64", "height": 64.7, "batch_size": 1, "color": 200, "colour": 3}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    generation = await bench.run(CustomWorkflow(graph=graph))
    said = [item.message for item in generation.warnings if item.code == "odd_input"]
    assert said == [
        "Node 1 (EmptyImage): width='64' is read as 64",
        "Node 1 (EmptyImage): height=64.7 is read as 64",
        "Node 1 (EmptyImage) has no input 'colour'; it is ignored (did you mean color?)",
    ]


def test_sizes_off_the_step_are_odd_and_links_are_not() -> None:
    from ryla_gen.comfy.lint import oddities
    from ryla_gen.models.node_schemas import node_schemas

    graph = {"6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 100, "height": ["1", 0], "batch_size": 1}}}
    (said,) = oddities(graph, node_schemas())
    assert "rounds it down to 96" in said


async def test_a_lora_in_the_home_folder_is_known_to_the_emulator(clean_environment: Path) -> None:
    stored = clean_environment / "emulator" / "models" / "loras" / "mine.safetensors"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    async with AsyncClient("emulator") as client:
        generation = await client.flux_lora(prompt="a fox", width=256, height=256, steps=2, lora_id="mine")
        assert generation.image.size == (256, 256)
        with pytest.raises(LoraNotFoundError):
            await client.flux_lora(prompt="a fox", lora_id="yours")


async def test_a_server_that_lost_its_uploads_gets_them_again(bench: Bench, face: bytes) -> None:
    workflow = InstantID(**SMALL, steps=1, reference_image=face)
    await bench.run(workflow)
    for path in (bench.server.folders.input / "ryla").iterdir():
        path.unlink()
    assert (await bench.run(workflow.changed(seed=8))).seed == 8
    assert bench.server.stats.prompts == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder whose output folder holds 16 KiB."""
    output = tmp_path / "output"
    output.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(output)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("only an administrator can mount a small disk")
    yield tmp_path
    subprocess.run(["umount", str(output)], check=True)


async def test_a_full_disk_of_the_server_is_not_the_graphs_fault(small_disk: Path) -> None:
    with Emulator(small_disk) as server:
        async with ComfyClient(server.url) as client:
            with pytest.raises(StorageFailedError, match="could not store a file"):
                await Bench(server, client).run(Flux(**SMALL))


async def begun(bench: Bench) -> None:
    """Wait until a job has made a step."""
    while not any(isinstance(event, Progress) for event in bench.events):
        await asyncio.sleep(0.01)


async def test_a_server_that_cannot_be_told_to_stop_hides_neither_the_limit_nor_the_cancelling(bench: Bench) -> None:
    bench.server.knobs.hold_nodes = True
    bench.server.knobs.refuse_cancels = 503
    with pytest.raises(GenerationTimeoutError, match="could not be told to stop"):
        await bench.run(FluxDev(**SMALL), job="11111111-1111-4111-8111-111111111111", timeout=0.5)
    bench.server.knobs.hold_nodes = False
    await queued(bench, running=0, pending=0)
    bench.server.knobs.hold_nodes = True
    bench.events.clear()
    running = asyncio.create_task(bench.run(FluxDev(**SMALL), job="22222222-2222-4222-8222-222222222222"))
    await begun(bench)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(bench.engine.uncancelled) == 2


async def test_a_job_that_is_canceled_while_its_server_is_asked_about_it_is_stopped() -> None:
    with Emulator() as server:
        server.knobs.hold_nodes = True
        async with ComfyClient(server.start()) as other, proxied(server.url) as proxy, ComfyClient(proxy.url) as client:
            await other.submit(Flux(**SMALL).build().to_api(), prompt_id=new_job_id())
            job, engine = new_job_id(), Engine(client, backend="comfyui", queue_timeout=0.5)
            proxy.held_path = "/queue"
            running = asyncio.create_task(engine.run(Flux(**SMALL), job=job, emit=lambda kind, **fields: None))
            while proxy.waiting < 2:  # for its position, and when its waiting time is over: it may have begun all the same
                await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            proxy.held_path = ""
            assert job not in json.dumps(server.queue.to_data())
            assert server.queue.remaining() == 1


async def test_the_limit_holds_although_the_start_was_told_to_nobody() -> None:
    with Emulator() as server:
        hold_after_the_first(server)  # the second does not end by itself
        async with ComfyClient(server.start(), gone_after=20.0) as client:
            bench = Bench(server, client)
            server.knobs.delay_per_node = 0.3
            first = asyncio.create_task(bench.run(Flux(**SMALL)))
            await begun(bench)
            job = new_job_id()
            second = asyncio.create_task(bench.run(Flux(**SMALL | {"seed": 8}), job=job, timeout=1.0))
            while server.stats.prompts < 2:
                await asyncio.sleep(0.01)
            server.knobs.away = True
            while job not in json.dumps(server.queue.to_data()["queue_running"]):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            server.knobs.away = False
            with pytest.raises(GenerationTimeoutError, match="longer than 1 s"):
                await second
            assert any(isinstance(event, Started) for event in bench.events)
            await first
