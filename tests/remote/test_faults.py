"""What goes wrong in a container: ComfyUI killed, wedged, killed again; weights that are not there; Modal's parts away."""

from __future__ import annotations

import io
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import modal
import pytest
from grpclib import Status

from ryla_gen import Flux
from ryla_gen.errors import ModelNotFoundError, ServerUnhealthyError, StorageFailedError, error_from_data
from ryla_gen.remote.config import FAMILIES
from ryla_gen.remote.variants import default_of
from ryla_gen.remote.worker import longer
from ryla_gen.workflows.registry import workflow_class
from tests.modal_loopback import Loopback
from tests.models.downloads.hub import Hub
from tests.models.loras.files import lora

from .conftest import (
    EMULATOR,
    SMALL,
    Open,
    all_events_of,
    comfyui_of,
    events_of,
    eventually,
    has_prompt,
    long,
    method,
    ran_whole,
    running,
    started,
    strike,
)

DEAF = f"{{python}} {Path(__file__).with_name('deaf_comfyui.py')} ryla_gen.emulator --port {{port}} --folder {{work}}"
"""A ComfyUI that cannot be told to stop."""
STALL = "12"
"""Seconds of silence after which a ComfyUI is hung: longer than a busy machine keeps one silent that is not."""
WAN = {"workflows": ["wan2"], "variants": True}
TURBO = "lightx2v_T2V_14B_cfg_step_distill_v2_lora_rank64_bf16.safetensors"
"""A file of it that no hash is known of: the loopback may give it any content."""


def spawned(inputs: dict[str, Any]) -> tuple[Any, str]:
    job = str(uuid.uuid4())
    return method("flux").spawn({"inputs": inputs, "job": job}), job


def test_comfyui_killed_mid_run_costs_a_restart_and_nothing_else(app: Loopback) -> None:
    call, job = spawned(long())
    container = running(app, job)
    neighbour, _ = spawned(SMALL)
    eventually(lambda: len(container.running) == 2)
    old = strike(container, signal.SIGKILL)
    reply = call.get(timeout=200)
    assert reply["ok"], reply
    assert neighbour.get(timeout=200)["ok"]
    assert comfyui_of(container) not in (None, old)
    kinds = [item["type"] for item in all_events_of(job)]
    assert kinds.count("started") == 1, "the first one was taken out above; the second restarts the caller's clock"
    assert kinds[-1] == "finished"
    assert method("flux").remote({"inputs": SMALL})["generation"]["server"]["container"] == container.id


def test_the_second_death_is_raised_and_the_container_takes_no_more(app: Loopback) -> None:
    call, job = spawned(long())
    container = running(app, job)
    strike(container, signal.SIGKILL)
    started(job)
    strike(container, signal.SIGKILL)
    with pytest.raises(ServerUnhealthyError, match="ComfyUI died while it ran") as raised:
        call.get(timeout=200)
    assert "log" in raised.value.args[2]
    assert eventually(lambda: [item for item in events_of(job) if item["type"] == "finished"])[-1]["state"] == "failed"
    reply = method("flux").remote({"inputs": SMALL})
    assert reply["generation"]["server"]["container"] != container.id
    assert container.left_behind == []


def test_a_wedged_comfyui_is_killed_and_the_prompt_runs_again(fresh: Open) -> None:
    loopback = fresh({"RYLA_STALL_SECONDS": STALL})
    call, job = spawned(long())
    container = running(loopback, job)
    old = strike(container, signal.SIGSTOP)
    assert call.get(timeout=200)["ok"]
    assert comfyui_of(container) not in (None, old)


def test_silence_counts_as_wedged_although_http_answers(fresh: Open) -> None:
    fresh({"RYLA_STALL_SECONDS": "0.4", "RYLA_COMFYUI_COMMAND": f"{EMULATOR} --knob delay_per_node=0.9"})
    with pytest.raises(ServerUnhealthyError, match="no progress for"):
        method("flux").remote({"inputs": SMALL})


def test_a_container_whose_comfyui_does_not_start_says_why(fresh: Open) -> None:
    fresh({"RYLA_COMFYUI_COMMAND": "{python} -c 'raise SystemExit(\"CUDA is not here\")'"})
    with pytest.raises(ServerUnhealthyError, match="CUDA is not here"):
        method("flux").remote({"inputs": SMALL})


def test_missing_weights_are_named_with_the_command_that_brings_them(fresh: Open) -> None:
    loopback = fresh({"RYLA_CHECK_WEIGHTS": "1"})
    reply = method("flux").remote({"inputs": SMALL})
    error = error_from_data(reply["error"])
    assert isinstance(error, ModelNotFoundError)
    assert "checkpoints/flux1-schnell-fp8.safetensors" in error.message
    assert "ryla-gen weights sync flux" in error.hint
    assert error.details["folder"] == "checkpoints"
    hints = [method("flux_dev").remote({"inputs": {**SMALL, **more}})["error"]["hint"] for more in ({}, {"speed": "turbo"})]
    commands = [f"Download them: ryla-gen weights sync flux-dev{more}" for more in ("", " --all-options")]
    assert [hint.partition(" If they")[0] for hint in hints] == commands
    for row in default_of(workflow_class("flux")).required_weights():
        path = loopback.volume("ryla-models") / row.folder / row.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
    assert method("flux").remote({"inputs": SMALL})["ok"], "the same container sees what was synced meanwhile"
    assert len(loopback.containers) == 1


def test_preloading_runs_the_familys_workflow_before_the_first_request(fresh: Open, tmp_path: Path) -> None:
    loopback = fresh({"RYLA_PRELOAD": "1"})
    reply = method("flux").remote({"inputs": SMALL})
    work = tmp_path / "work" / loopback.containers[0].id / "output" / "ryla"
    saved = sorted(path.name.partition("_0")[0] for path in work.rglob("*.png"))
    assert saved == ["flux", "flux_dev"]
    assert reply["generation"]["timings"]["cold_start"] > 0


def test_the_token_reaches_the_hub_when_it_is_attached_to_the_call_and_a_refusal_is_a_reply(fresh: Open) -> None:
    with Hub() as hub:
        loopback = fresh({"HF_ENDPOINT": hub.url}, secrets={"huggingface": {"HF_TOKEN": "hf_stranger"}})
        keeper = modal.Cls.from_name("ryla-comfyui", "Weights")
        job = str(uuid.uuid4())
        plain = keeper().sync.remote({"workflows": ["flux"], "job": job})
        assert plain["ok"] is False
        assert plain["error"]["code"] in ("model_not_found", "not_authorized")
        assert plain["error"]["hint"]
        assert hub.seen.logins["hub"] == set()
        assert [item["type"] for item in eventually(lambda: events_of(job))][-1] == "weights"
        secret = modal.Secret.from_name("huggingface")
        hub.put("Kijai/WanVideo_comfy", f"Lightx2v/{TURBO}", b"turbo" * 1000)
        reply = keeper.with_options(secrets=[secret])().sync.remote(WAN)
        failed = {item["file"] for item in reply["error"]["details"]["failures"]}
        assert "vae/wan_2.1_vae.safetensors" in failed and f"loras/{TURBO}" not in failed
        stored = loopback.volume("ryla-models") / "loras" / TURBO
        assert stored.read_bytes() == b"turbo" * 1000, "what came was committed, although other files failed"
        states = {item["file"]: item["state"] for item in keeper().verify.remote(WAN)["report"]["files"]}
        assert {file for file, state in states.items() if state == "present"} == {f"loras/{TURBO}"}
        assert failed == set(states) - {f"loras/{TURBO}"}
        assert hub.seen.logins["hub"] == {"Bearer hf_stranger"}
        assert method("flux").remote({"inputs": SMALL})["ok"]
        [pid] = [pid for container in loopback.containers if (pid := comfyui_of(container))]
        assert b"HF_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_claim_outlives_the_container_so_that_the_same_call_may_run_again(app: Loopback) -> None:
    call, job = spawned(long())
    container = running(app, job)
    app.kill_container(container)
    reply = call.get(timeout=200)
    assert reply["ok"], reply
    assert reply["generation"]["server"]["container"] != container.id
    other = method("flux").remote({"inputs": SMALL, "job": job})
    assert other["error"]["code"] == "already_claimed"


def test_when_nobody_can_say_who_has_the_job_it_does_not_run(app: Loopback) -> None:
    assert method("flux").remote({"inputs": SMALL})["ok"]
    app.knobs.refuse["DictUpdate"] = Status.FAILED_PRECONDITION
    began = time.monotonic()
    with pytest.raises(Exception, match="could not be claimed"):
        method("flux").remote({"inputs": SMALL})
    assert time.monotonic() - began < 30
    app.knobs.reset()
    assert method("flux").remote({"inputs": SMALL})["ok"]


def test_a_run_over_its_limit_is_stopped_and_the_next_one_runs(fresh: Open) -> None:
    fresh({"RYLA_COMFYUI_COMMAND": f"{EMULATOR} --knob delay_per_node=1.5"})
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    reply = method("workflow", "Custom").remote({"inputs": {"graph": graph, "limit": 0.1}})
    assert reply["error"]["code"] == "generation_timeout"
    assert "limit=SECONDS, up to 3600" in reply["error"]["hint"], "a caller's timeout changes nothing"
    assert method("workflow", "Custom").remote({"inputs": {"graph": graph}})["ok"]


def test_what_gives_a_request_more_time_is_said_truthfully() -> None:
    hint = longer(Flux(prompt="x"), FAMILIES["flux"])
    assert hint.startswith("Ask for less")
    assert "ryla-gen deploy --apply-to flux --gpu" in hint


def test_a_cancelled_job_is_not_run_again_when_comfyui_hung_and_was_ended(fresh: Open) -> None:
    loopback = fresh({"RYLA_STALL_SECONDS": STALL})
    call, job = spawned(long())
    container = running(loopback, job)
    old = strike(container, signal.SIGSTOP)
    call.cancel()
    eventually(lambda: comfyui_of(container) != old)
    assert method("flux").remote({"inputs": SMALL})["ok"]
    assert not has_prompt(container, job)
    assert job not in ran_whole(loopback)
    assert loopback.containers == [container]


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_comfyui_that_cannot_be_told_to_stop_is_ended_and_the_job_not_run_again(fresh: Open, cancelled: bool) -> None:
    loopback = fresh({"RYLA_COMFYUI_COMMAND": DEAF})
    job, served = str(uuid.uuid4()), method("workflow", "Custom")
    small = {"inputs": {"graph": Flux(**SMALL).build().to_api()}}
    assert served.remote(small)["ok"]
    [container] = loopback.containers
    old = comfyui_of(container)
    call = served.spawn({"inputs": {"graph": Flux(**long()).build().to_api(), "limit": 60 if cancelled else 1}, "job": job})
    if cancelled:
        running(loopback, job)
        call.cancel()
    else:
        assert call.get(timeout=200)["error"]["code"] == "generation_timeout"
    eventually(lambda: comfyui_of(container) != old)
    assert served.remote(small)["ok"]
    assert not has_prompt(container, job)
    assert job not in ran_whole(loopback)


def test_a_full_disk_is_told_as_one_and_not_as_python_does(app: Loopback, shared_work: Path) -> None:
    with modal.Volume.from_name("ryla-models", create_if_missing=True).batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(lora()), "/loras/no-room.safetensors")
    container = method("flux").remote({"inputs": SMALL})["generation"]["server"]["container"]
    part = shared_work / container / "models" / "loras" / ".no-room.safetensors.part"
    part.symlink_to("/dev/full")
    with pytest.raises(StorageFailedError, match="No space left on device"):
        method("flux_lora").remote({"inputs": {**SMALL, "lora_id": "no-room"}})
    assert method("flux_lora").remote({"inputs": {**SMALL, "lora_id": "no-room"}})["ok"], "there is room again"
