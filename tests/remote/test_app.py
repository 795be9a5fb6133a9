"""The deployed app, called as anybody calls it: without this SDK, by name, in plain data."""

from __future__ import annotations

import hashlib
import io
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import modal
import pytest
from PIL import Image

from ryla_gen.version import __version__
from tests.conftest import encoded, portrait
from tests.modal_loopback import Loopback

from .conftest import ROOT, SMALL, all_events_of, events_of, eventually, long, method, running

FLAT = encoded(Image.new("RGB", (64, 64), "#808080"))


def flux_containers(app: Loopback) -> list[Any]:
    return [container for container in app.containers if container.function.tag == "Flux.*"]


def test_a_bare_call_gives_a_picture_and_says_what_it_took(app: Loopback) -> None:
    reply = method("flux").remote({"inputs": SMALL})
    assert (reply["contract"], reply["ok"]) == (2, True)
    generation = reply["generation"]
    [output] = generation["outputs"]
    assert Image.open(io.BytesIO(output["data"])).size == (256, 256)
    assert (output["media_type"], output["name"]) == ("image/png", "flux-7-0.png")
    assert (generation["workflow"], generation["backend"], generation["seed"]) == ("flux", "modal", 7)
    assert uuid.UUID(generation["job"]).version == 4
    cost, timings = generation["cost"], generation["timings"]
    assert (cost["gpu"], cost["prices_as_of"]) == ("L40S", "2026-09-01")
    assert cost["gpu_seconds"] == timings["running"] > 0
    assert cost["gpu_usd"] == pytest.approx(timings["running"] * 0.000542)
    assert cost["total_usd"] == pytest.approx(cost["gpu_usd"] + cost["cpu_usd"] + cost["memory_usd"])
    container = flux_containers(app)[-1].id
    assert generation["server"] == {"comfyui": "0.28.2", "gpu": "L40S", "container": container, "app": __version__}


@pytest.mark.parametrize("file", ["flux.webp", "flux_dev.webp"])
def test_a_caller_of_version_0_1_is_served_in_its_contract(app: Loopback, file: str) -> None:
    noted = json.loads((ROOT / "tests" / "data" / "version_0_1" / "requests.json").read_text(encoding="utf-8"))[file]
    reply = method(noted["workflow"]).remote(noted["request"])
    assert (reply["contract"], reply["ok"]) == (1, True)
    assert reply["generation"].keys() >= noted["reply"]["generation"].keys()
    [output], [before] = reply["generation"]["outputs"], noted["reply"]["generation"]["outputs"]
    assert {**output, "data": None, "node": None} == {**before, "data": None, "node": None}
    kinds = [item["type"] for item in all_events_of(noted["request"]["job"])]
    assert (kinds[0], kinds[-1]) == ("queued", "finished")


def test_who_waited_for_the_container_hears_of_its_cold_start(fresh: Any) -> None:
    fresh()
    job, began = str(uuid.uuid4()), time.monotonic()
    first, second = (method("flux").remote({"inputs": SMALL, "job": item}) for item in (job, str(uuid.uuid4())))
    assert 0.1 < first["generation"]["timings"]["cold_start"] < time.monotonic() - began
    assert second["generation"]["timings"]["cold_start"] == 0.0
    started = next(item for item in all_events_of(job) if item["type"] == "started")
    assert started["cold_start"] == first["generation"]["timings"]["cold_start"]


def test_the_cost_has_the_region_that_the_class_was_deployed_with(fresh: Any) -> None:
    fresh({"RYLA_FAMILY": json.dumps({"region": ["eu"]})})
    cost = method("flux").remote({"inputs": SMALL})["generation"]["cost"]
    assert cost["region_factor"] == 1.25
    assert cost["gpu_usd"] == pytest.approx(1.25 * cost["gpu_seconds"] * 0.000542)


def test_a_job_id_that_comfyui_would_refuse_is_the_caller_s_all_the_way(app: Loopback) -> None:
    job = f"{uuid.uuid4()}-2"  # a part of a job, as the TypeScript module names it
    reply = method("flux").remote({"inputs": SMALL, "job": job})
    assert reply["ok"], reply
    assert reply["generation"]["job"] == job
    assert {item["job"] for item in all_events_of(job)} == {job}
    assert method("flux").remote({"inputs": SMALL, "job": job})["error"]["code"] == "already_claimed"


def test_the_same_seed_gives_the_same_picture_and_a_missing_one_is_drawn(app: Loopback) -> None:
    first, again = (method("flux").remote({"inputs": SMALL}) for _ in range(2))
    pictures = [Image.open(io.BytesIO(reply["generation"]["outputs"][0]["data"])).tobytes() for reply in (first, again)]
    assert pictures[0] == pictures[1]
    drawn = {method("flux").remote({"inputs": {**SMALL, "seed": None}})["generation"]["seed"] for _ in range(2)}
    assert len(drawn) == 2
    assert max(drawn) < 2**32


def test_events_tell_the_whole_story_in_order(app: Loopback) -> None:
    job = str(uuid.uuid4())
    assert method("flux").remote(
        {"inputs": {**long(), "width": 1024, "height": 1024, "batch_size": 1}, "job": job, "options": {"previews": True}}
    )["ok"]
    events = all_events_of(job)
    kinds = [item["type"] for item in events]
    assert kinds[0] == "queued"
    assert kinds[-1] == "finished"
    assert events[-1]["state"] == "succeeded"
    assert kinds.index("started") < kinds.index("progress")
    assert "preview" in kinds
    fractions = [item["fraction"] for item in events if item["type"] == "progress"]
    assert fractions == sorted(fractions)
    assert [item["seq"] for item in events] == list(range(len(events)))
    assert {item["job"] for item in events} == {job}


def test_no_event_is_sent_to_who_wants_none(app: Loopback) -> None:
    job = str(uuid.uuid4())
    before = app.counts["QueuePut"]
    assert method("flux").remote({"inputs": SMALL, "job": job, "options": {"events": False}})["ok"]
    assert app.counts["QueuePut"] == before


def test_a_broken_queue_disturbs_nothing(app: Loopback) -> None:
    app.knobs.queue_unavailable = True
    assert method("flux").remote({"inputs": SMALL})["ok"]


@pytest.mark.parametrize(
    ("cls", "name", "inputs", "code"),
    [
        ("Flux", "flux", {"prompt": ""}, "invalid_input"),
        ("Flux", "flux", {"prompt": "x", "sparkle": 1}, "invalid_input"),
        ("Flux", "flux_lora", {**SMALL, "lora_id": "nobody"}, "lora_not_found"),
        ("Faces", "flux_pulid", {**SMALL, "reference_image": FLAT}, "face_not_found"),
        ("Faces", "instantid", {**SMALL, "reference_image": FLAT}, "face_not_found"),
        ("Faces", "instantid", {**SMALL, "reference_image": "/etc/passwd"}, "invalid_input"),
        ("Custom", "workflow", {"graph": {"1": {"class_type": "Nothing", "inputs": {}}}}, "workflow_invalid"),
    ],
)
def test_faults_of_the_request_are_replies(app: Loopback, cls: str, name: str, inputs: dict[str, Any], code: str) -> None:
    reply = method(name, cls).remote({"contract": 2, "inputs": inputs})
    assert (reply["contract"], reply["ok"]) == (2, False)
    assert reply["error"]["code"] == code
    assert reply["error"]["message"]
    assert reply["error"]["hint"]


def test_a_caller_from_another_contract_is_told_so(app: Loopback) -> None:
    reply = method("flux").remote({"contract": 99, "inputs": SMALL})
    assert reply["error"]["code"] == "contract_mismatch"


def test_every_family_answers(app: Loopback) -> None:
    face = encoded(portrait())
    calls = {
        ("Faces", "flux_pulid"): {**SMALL, "reference_image": face},
        ("Faces", "flux_instantid"): {**SMALL, "instantid_steps": 1, "reference_image": face},
        ("Video", "wan2"): {**SMALL, "length": 5},
        ("ZImage", "z_image"): SMALL,
        ("Qwen", "qwen_image_edit"): {**SMALL, "images": [face]},
        ("Flux2", "flux2_klein"): SMALL,
        ("Sdxl", "sdxl"): SMALL,
        ("Upscale", "seedvr2"): {"image": face, "resolution": 512},
        ("Custom", "workflow"): {"graph": graph()},
        ("Custom", "generate"): {"graph": graph()},
    }
    with ThreadPoolExecutor() as pool:
        calling = {key: pool.submit(method(key[1], key[0]).remote, {"inputs": inputs}) for key, inputs in calls.items()}
    for key, call in calling.items():
        assert call.result()["ok"], (key, call.result())
        assert call.result()["generation"]["outputs"]


def graph() -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0x336699}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "mine"}},
    }


def test_generate_serves_the_workflow_that_the_request_names(app: Loopback) -> None:
    reply = method("generate", "Custom").remote({"workflow": "flux", "inputs": SMALL})
    assert reply["generation"]["workflow"] == "flux"


def test_a_job_runs_once_however_often_it_arrives(app: Loopback) -> None:
    job = str(uuid.uuid4())
    request = {"inputs": SMALL, "job": job}
    calls = [method("flux").spawn(request) for _ in range(4)]
    replies = [call.get(timeout=200) for call in calls]
    [winner] = [index for index, reply in enumerate(replies) if reply["ok"]]
    for index, reply in enumerate(replies):
        if index != winner:
            assert reply["error"]["code"] == "already_claimed"
            assert reply["error"]["details"]["handle"] == f"modal:{calls[winner].object_id}"
    assert [item["type"] for item in all_events_of(job)].count("finished") == 1, "who lost said nothing in the winner's partition"


def test_cancelling_one_input_leaves_its_neighbours_alone(app: Loopback) -> None:
    jobs = [str(uuid.uuid4()) for _ in range(3)]
    calls = [method("flux").spawn({"inputs": long() if index == 0 else SMALL, "job": job}) for index, job in enumerate(jobs)]
    running(app, jobs[0])
    calls[0].cancel()
    assert all(call.get(timeout=200)["ok"] for call in calls[1:])
    assert (
        eventually(lambda: next((item for item in events_of(jobs[0]) if item["type"] == "finished"), None))["state"] == "canceled"
    )


def test_a_lora_comes_from_the_volume_when_it_is_first_asked_for(app: Loopback) -> None:
    folder = app.volume("ryla-models") / "loras" / "mine"
    first = lora(folder, b"first", "flux")
    reply = method("flux_lora").remote({"inputs": {**SMALL, "lora_id": "mine"}})
    assert reply["ok"], reply
    assert lora_name(reply) == f"mine/{first}"
    second = lora(folder, b"second", "flux")
    assert lora_name(method("flux_lora").remote({"inputs": {**SMALL, "lora_id": "mine"}})) == f"mine/{second}", "pushed again"
    (folder.parent / "plain.safetensors").write_bytes(safetensors(b"plain"))
    assert lora_name(method("flux_lora").remote({"inputs": {**SMALL, "lora_id": "plain"}})) == "plain.safetensors"
    lora(folder.parent / "wide", b"other", "sdxl")
    assert method("flux_lora").remote({"inputs": {**SMALL, "lora_id": "wide"}})["error"]["code"] == "lora_incompatible"
    broken = lora(folder.parent / "broken", b"whole", "flux")
    (folder.parent / "broken" / broken).write_bytes(b"torn")
    error = method("flux_lora").remote({"inputs": {**SMALL, "lora_id": "broken"}})["error"]
    assert error["code"] == "lora_not_found"
    assert "is damaged" in error["message"]


def safetensors(content: bytes) -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}).encode()
    return len(header).to_bytes(8, "little") + header + content


def lora(folder: Path, content: bytes, base: str) -> str:
    """Store a LoRA as the contract says; the name of its file."""
    data = safetensors(content)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{digest[:16]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    card = {"id": folder.name, "file": name, "sha256": digest, "bytes": len(data), "base": base, "trigger_words": []}
    (folder / "lora.json").write_text(json.dumps(card))
    return name


def lora_name(reply: dict[str, Any]) -> str:
    assert reply["ok"], reply
    [name] = [node["inputs"]["lora_name"] for node in reply["generation"]["graph"].values() if node["class_type"] == "LoraLoader"]
    return str(name)


def test_the_worker_runs_five_requests_at_once(app: Loopback) -> None:
    first, job = long(), str(uuid.uuid4())
    calls = [method("flux").spawn({"inputs": first, "job": job})]
    container = running(app, job)  # ComfyUI runs one after the other: while this one runs, the others come in
    calls += [method("flux").spawn({"inputs": {**SMALL, "seed": seed}}) for seed in range(9)]
    assert [call.get(timeout=200)["generation"]["seed"] for call in calls] == [first["seed"], *range(9)]
    assert container.peak == 5


def test_what_a_deploy_registers_is_what_was_agreed(app: Loopback) -> None:
    registered = json.dumps(app.registered("ryla-comfyui"), indent=1) + "\n"
    snapshot = Path(__file__).with_name("deployed.json").read_text(encoding="utf-8")
    assert registered == snapshot, "the deploy changed: write it again with python -m docs_tools, and read the difference"


def test_weights_are_asked_for_by_workflow(app: Loopback) -> None:
    keeper = modal.Cls.from_name("ryla-comfyui", "Weights")()
    reply = keeper.status.remote({"workflows": ["flux_dev"], "variants": True})
    assert [item["file"] for item in reply["report"]["files"]] == [
        "checkpoints/flux1-dev-fp8.safetensors",
        "loras/flux.1-turbo-alpha.safetensors",
    ]
    assert {item["state"] for item in reply["report"]["files"]} == {"missing"}
    assert keeper.status.remote({"workflows": ["flux_deb"]})["error"]["code"] == "invalid_input"
    assert keeper.sync.remote({})["error"]["code"] == "invalid_input"
