"""PostHog, through its official library, against a capture server: exact events, nothing private, and never in the way."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, CustomWorkflow, FluxDev, FluxLora, Generation, InstantID, Output, SeedVR2, Settings, telemetry
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import GenerationTimeoutError, JobCanceledError, ModelNotFoundError, WorkflowInvalidError
from ryla_gen.remote.deploy import DeployChanges, deploy
from ryla_gen.results import Timings
from ryla_gen.telemetry.sinks import posthog_event
from tests.cli.shell import environment
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.loras.files import lora

from .capture import Capture
from .conftest import SMALL

SECRET = "my secret garden"


def sent(capture: Capture) -> list[str]:
    """Names of all events, after everything was sent."""
    assert telemetry.flush(240)
    return capture.names()


def test_a_generation_is_requested_and_completed_with_exactly_the_seeds_properties(client: Client, capture: Capture) -> None:
    generation = client.flux_dev(**SMALL, seed=5)
    assert sent(capture) == ["modal_flux_dev_generation_requested", "modal_flux_dev_generation_completed"]
    assert capture.properties("modal_flux_dev_generation_requested") == {
        "workflow_type": "flux_dev",
        "prompt_length": 9,
        "width": 256,
        "height": 256,
        "steps": 1,
        "cfg": 1.0,
        "has_seed": True,
    }
    assert capture.properties("modal_flux_dev_generation_completed") == {
        "workflow_type": "flux_dev",
        "generation_time_ms": round(generation.timings.total * 1000),
        "success": True,
    }
    assert capture.keys == {"phc_test"}
    assert capture.encodings == {"gzip"}


def test_a_seed_that_was_drawn_is_not_one_that_was_given(client: Client, capture: Capture) -> None:
    assert client.flux(**SMALL).workflow.to_plain()["seed"] is not None
    sent(capture)
    assert capture.properties("modal_flux_generation_requested")["has_seed"] is False


def test_faces_say_their_strengths_and_flux_instantid_is_called_instantid(client: Client, capture: Capture, face: bytes) -> None:
    client.flux_instantid(**SMALL, instantid_steps=1, reference_image=face, instantid_strength=0.7)
    assert sent(capture) == ["modal_instantid_generation_requested", "modal_instantid_generation_completed"]
    asked = capture.properties("modal_instantid_generation_requested")
    assert (asked["workflow_type"], asked["instantid_strength"]) == ("flux_instantid", 0.7)
    assert (asked["controlnet_strength"], asked["face_provider"]) == (0.8, "CPU")
    assert capture.properties("modal_instantid_generation_completed")["workflow_type"] == "flux_instantid"


def test_flux_lora_is_called_lora_and_says_which(comfy: Emulator, client: Client, capture: Capture) -> None:
    folder = comfy.folders.models / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mira.safetensors").write_bytes(lora())
    client.flux_lora(**SMALL, lora_id="mira", lora_strength=0.6)
    assert sent(capture) == ["modal_lora_generation_requested", "modal_lora_generation_completed"]
    told = capture.properties("modal_lora_generation_completed")
    assert (told["workflow_type"], told["lora_id"], told["lora_strength"]) == ("flux_lora", "mira", 0.6)


def test_a_failure_says_its_code_and_not_a_word_of_the_prompt_or_of_a_path(client: Client, capture: Capture) -> None:
    """The error itself repeats what stood in the graph; what leaves does not."""
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "flux1-dev-fp8.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": f"{SECRET} /home/someone", "clip": ["1", 1]}},
        "3": {"class_type": SECRET, "inputs": {"conditioning": ["2", 0]}},
    }
    with pytest.raises(WorkflowInvalidError) as caught:
        client.run(CustomWorkflow(graph=graph))
    assert SECRET in str(caught.value)
    assert sent(capture) == ["modal_workflow_generation_requested", "modal_workflow_generation_failed"]
    assert capture.properties("modal_workflow_generation_failed") == {
        "workflow_type": "workflow",
        "error_type": "workflow_error",
        "error_message": "workflow_invalid: the server refused the graph",
    }
    assert b"secret" not in capture.raw
    assert b"someone" not in capture.raw


def test_missing_weights_are_a_model_error(client: Client, capture: Capture) -> None:
    with pytest.raises(ModelNotFoundError):
        client.run(FluxDev(**SMALL, checkpoint="private-name.safetensors"))
    sent(capture)
    assert capture.properties("modal_flux_dev_generation_failed")["error_type"] == "model_error"
    assert b"private-name" not in capture.raw


def test_a_time_limit_is_a_timeout(comfy: Emulator, client: Client, capture: Capture) -> None:
    comfy.knobs.delay_per_node = 3.0
    try:
        with pytest.raises(GenerationTimeoutError):
            client.run(FluxDev(**SMALL), timeout=0.1)
    finally:
        comfy.knobs.delay_per_node = 0.0
    sent(capture)
    assert capture.properties("modal_flux_dev_generation_failed")["error_type"] == "timeout"


def test_a_cancelled_job_is_neither_completed_nor_failed(comfy: Emulator, client: Client, capture: Capture) -> None:
    comfy.knobs.delay_per_node = 3.0
    try:
        job = client.submit(FluxDev(**SMALL))
        job.cancel()
        with pytest.raises(JobCanceledError):
            job.result()
    finally:
        comfy.knobs.delay_per_node = 0.0
    assert sent(capture) == ["modal_flux_dev_generation_requested"]


def test_looking_at_a_finished_job_again_tells_nothing_again(client: Client, capture: Capture) -> None:
    job = client.submit(FluxDev(**SMALL))
    job.result()
    client.jobs.get(job.id).result()
    assert sent(capture).count("modal_flux_dev_generation_completed") == 1


def test_an_end_that_is_told_twice_has_one_id(capture: Capture) -> None:
    for _ in range(2):
        telemetry.emit(telemetry.Completed(backend="modal", job="1", workflow="flux", seconds=1.0), Settings.load())
    assert sent(capture) == ["modal_flux_generation_completed"] * 2
    assert len({item["uuid"] for item in capture.events}) == 1


def test_nothing_but_the_seeds_properties_leaves_this_machine(client: Client, capture: Capture, clean_environment: Path) -> None:
    client.flux_dev(**{**SMALL, "prompt": SECRET})
    sent(capture)
    library = {"$lib", "$lib_version", "$geoip_disable", "$process_person_profile"}
    for event in capture.events:
        assert {name for name in event["properties"] if name.startswith("$")} == library
        assert (event["properties"]["$geoip_disable"], event["properties"]["$process_person_profile"]) == (True, False)
        assert uuid.UUID(event["distinct_id"]).version == 4
    for private in (SECRET, str(clean_environment), socket.gethostname(), sys.platform, str(Path.home())):
        assert private.encode() not in capture.raw


def test_the_id_is_random_kept_and_readable_by_its_owner_only(client: Client, capture: Capture, clean_environment: Path) -> None:
    client.flux(**SMALL)
    sent(capture)
    file = clean_environment / "telemetry_id"
    assert {item["distinct_id"] for item in capture.events} == {file.read_text().strip()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in clean_environment.iterdir() if path.name.endswith(".tmp")] == []


def test_the_id_can_be_chosen(comfy: Emulator, capture: Capture, monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> None:
    monkeypatch.setenv("RYLA_GEN_POSTHOG_DISTINCT_ID", "studio-7")
    with Client(url=comfy.url) as client:
        client.flux(**SMALL)
    sent(capture)
    assert {item["distinct_id"] for item in capture.events} == {"studio-7"}
    assert not (clean_environment / "telemetry_id").exists()


def test_emulated_runs_send_nothing(capture: Capture) -> None:
    with Client("emulator") as client:
        client.flux(**SMALL)
    assert sent(capture) == []
    assert capture.asked == 0


@pytest.mark.parametrize("said", ["1", "true", "yes"])
def test_do_not_track_is_honoured(said: str, comfy: Emulator, capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", said)
    with Client(url=comfy.url) as client:
        client.flux(**SMALL)
    assert sent(capture) == []
    assert capture.asked == 0


def test_without_a_key_nothing_is_sent(comfy: Emulator, capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RYLA_GEN_POSTHOG_KEY")
    with Client(url=comfy.url) as client:
        client.flux(**SMALL)
    assert sent(capture) == []


def test_the_key_is_a_secret_that_no_file_may_hold_and_no_screen_shows(capture: Capture, clean_environment: Path) -> None:
    settings = Settings.load()
    assert settings.posthog_key == "phc_test"
    assert "phc_test" not in repr(settings)
    assert "phc_test" not in str(list(settings.entries()))
    assert settings.warnings == ()


def test_a_server_that_never_answers_holds_nothing_up(client: Client, capture: Capture) -> None:
    capture.go.clear()
    for _ in range(3):
        assert client.flux(**SMALL).image.size == (256, 256)
    assert not telemetry.flush(0.2)  # what the end of a program would do
    assert client.flux(**SMALL).image.size == (256, 256)
    assert capture.came.wait(240)
    assert capture.asked >= 1 and capture.answered == 0


def test_a_server_that_fails_is_asked_twice_and_then_left_alone(client: Client, capture: Capture) -> None:
    capture.status = 500
    # One event: those of a generation go in one batch only where it takes less than half a second.
    telemetry.emit(telemetry.Completed(backend="modal", job="1", workflow="flux", seconds=1.0), Settings.load())
    assert telemetry.flush(240)
    assert capture.asked == 2
    capture.status = 200
    client.flux(**SMALL)
    assert sent(capture) == ["modal_flux_generation_requested", "modal_flux_generation_completed"]


def test_a_server_that_is_not_there_costs_no_generation(comfy: Emulator, capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        monkeypatch.setenv("RYLA_GEN_POSTHOG_HOST", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with Client(url=comfy.url) as client:
            assert client.flux(**SMALL).image.size == (256, 256)
            assert telemetry.flush(240)
            assert client.flux(**SMALL).image.size == (256, 256)
    assert capture.asked == 0


HANGING = """
from ryla_gen import Client
with Client(url={url!r}) as client:
    print(client.flux(prompt="a fox", width=256, height=256, steps=1).image.size)
"""


def test_a_program_ends_although_the_server_never_answers(comfy: Emulator, capture: Capture) -> None:
    capture.go.clear()
    done = subprocess.run(
        [sys.executable, "-c", HANGING.format(url=comfy.url)], env=environment(), capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "(256, 256)", "")
    assert capture.answered == 0  # a slow machine may not even have asked by then


PATIENT = """
from ryla_gen.telemetry import dispatch
dispatch.AT_EXIT_SECONDS = 60.0  # a busy machine may need longer than the second that people's programs wait
"""


def test_the_events_of_a_short_program_arrive_before_it_ends(comfy: Emulator, capture: Capture) -> None:
    program = PATIENT + HANGING.format(url=comfy.url)
    subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, timeout=600, check=True)
    assert capture.names() == ["modal_flux_generation_requested", "modal_flux_generation_completed"]


WITHOUT = """
import sys
sys.modules["posthog"] = None  # as where the extra is not installed
from ryla_gen import Client
with Client(url={url!r}) as client:
    print(client.flux(prompt="a fox", width=256, height=256, steps=1).image.size)
"""


def test_a_key_without_the_library_names_the_extra_once_and_costs_nothing(comfy: Emulator, capture: Capture) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(url=comfy.url)], env=environment(), capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout.strip()) == (0, "(256, 256)")
    assert done.stderr.count("pip install 'ryla-gen[posthog]'") == 1
    assert "Traceback" not in done.stderr


def result(workflow: Any, **more: Any) -> Generation:
    """A result as a backend gives it."""
    output = Output("image", "image/png", "a.png", b"x")
    graph = workflow.build().to_api()
    return Generation(workflow, (output,), 5, str(uuid.uuid4()), "modal", Timings(total=12.3456), graph=graph, **more)


def test_loras_that_a_container_loaded_are_told_with_size_and_time() -> None:
    loaded = [{"id": "mira", "bytes": 38_500_000, "seconds": 1.25}, "nonsense"]
    told = list(telemetry.describe_result(result(FluxLora(**SMALL, lora_id="mira"), server={"loras": loaded}), backend="modal"))
    assert [posthog_event(item) for item in told] == [
        ("modal_lora_loaded", {"lora_id": "mira", "lora_size_mb": 38.5, "load_time_ms": 1250}),
        (
            "modal_lora_generation_completed",
            {"workflow_type": "flux_lora", "generation_time_ms": 12346, "success": True, "lora_id": "mira", "lora_strength": 1.0},
        ),
    ]


def test_a_workflow_without_prompt_and_size_says_none_of_them(face: bytes) -> None:
    told = posthog_event(telemetry.describe_request(SeedVR2(image=face), job="1", backend="modal", has_seed=False))
    assert told is not None
    assert told[0] == "modal_seedvr2_generation_requested"
    assert {name: told[1][name] for name in ("prompt_length", "width", "steps")} == {
        "prompt_length": None,
        "width": None,
        "steps": None,
    }


def test_a_measured_face_is_an_event_of_its_own(face: bytes) -> None:
    generation = result(InstantID(**SMALL, reference_image=face), face_similarity=0.71)
    told = [posthog_event(item) for item in telemetry.describe_result(generation, backend="modal")]
    assert told[1] == ("modal_instantid_face_consistency_measured", {"consistency_score": 0.71, "generation_time_ms": 12346})


def test_a_deploy_says_the_app_its_time_and_which_known_weights_are_there(
    capture: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import modal

    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with Loopback() as loopback, connected(loopback):
        weights = tmp_path / "weights"
        weights.write_bytes(b"tiny")
        with modal.Volume.from_name("ryla-models", create_if_missing=True).batch_upload() as batch:
            batch.put_file(weights, "/checkpoints/flux1-dev-fp8.safetensors")
            batch.put_file(weights, "/checkpoints/a-private-model.safetensors")
        done = deploy(DeployChanges(), lambda line: None)
    assert sent(capture) == ["modal_app_deployed"]
    assert capture.properties("modal_app_deployed") == {
        "app_name": "ryla-comfyui",
        "models_installed": ["flux1-dev-fp8.safetensors"],
        "deployment_time": round(done.seconds, 3),
    }
    assert os.fsencode(tmp_path) not in capture.raw
