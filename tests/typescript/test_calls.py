"""What the TypeScript module promises, against the app on a loopback: every workflow, exact numbers, limits, canceling, faults."""

from __future__ import annotations

import io
import signal
import time
import uuid
from typing import Any

import modal
import pytest
from PIL import Image

from ryla_gen.names import CLAIMS_DICT
from ryla_gen.remote.claims import CANCELED
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.remote.conftest import eventually, ran_whole, started, strike, told

from .conftest import Scenario, size

SMALL = {"prompt": "a red fox in the snow", "width": 256, "height": 256, "steps": 2}
LONG = {**SMALL, "width": 2048, "height": 2048, "steps": 100, "batchSize": 4}
"""Some twenty seconds with nothing else to do: is stopped before its end, however late that is."""
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0x336699}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "mine"}},
}


def settle(app: Loopback, seconds: float = 120.0) -> None:
    """Wait until no container's ComfyUI has work, by its own word: what was canceled holds no GPU.

    Not by Modal's bookkeeping: its runtime never answers for an input that is canceled in the instant before our method begins.
    """
    deadline = time.monotonic() + seconds
    live = [container for container in app.containers if container.exit_code is None]
    while busy := [container for container in live if any(told(container, "/queue").values())]:
        logs = "\n".join(f"{container.id} runs {[*container.running]}:\n{container.log.read_text()[-4000:]}" for container in busy)
        assert time.monotonic() < deadline, f"still at work after {seconds:g} s\n{logs}"
        time.sleep(0.02)


def test_options_arrive_as_they_were_meant_and_the_result_is_whole(node: Scenario) -> None:
    options = {**SMALL, "negativePrompt": "fog", "cfg": 1.5, "guidance": 2.5, "seed": 2**64 - 1, "batchSize": 2}
    result = node("generate", workflow="flux_dev", options=options)
    assert result["seed"] == f"{2**64 - 1}n", "exact, though above what a float can hold"
    assert result["workflow"] == "flux_dev"
    assert [size(picture) for picture in result["images"]] == [(256, 256)] * 2
    assert result["image"] == result["images"][0] == result["outputs"][0]["data"]
    assert result["outputs"][0]["name"] == f"flux_dev-{2**64 - 1}-0.png"
    told = {name: result["inputs"][name] for name in ("negative_prompt", "cfg", "guidance", "batch_size")}
    assert told == {"negative_prompt": "fog", "cfg": 1.5, "guidance": 2.5, "batch_size": 2}
    assert result["cost"]["gpu"] == "L40S"
    assert result["costUsd"] == result["cost"]["totalUsd"] > 0
    assert result["cost"]["gpuSeconds"] == result["timings"]["running"] > 0


def test_many_at_once_and_every_seed_comes_back_as_it_was_given(node: Scenario) -> None:
    seeds = [*range(8), 2**32 - 1, 2**32, 2**40 + 1, 2**53 - 1]
    assert node("many", seeds=seeds) == seeds


@pytest.mark.parametrize("workflow", ["instantid", "flux_instantid", "flux_pulid"])
def test_a_reference_image_is_a_buffer(node: Scenario, face: bytes, workflow: str) -> None:
    options: dict[str, Any] = {**SMALL, "referenceImage": face}
    assert size(node("generate", workflow=workflow, options=options)["image"]) == (256, 256)


def test_pictures_above_modals_limits_travel_as_blobs(app: Loopback, node: Scenario) -> None:
    noise = io.BytesIO()
    Image.effect_noise((2048, 2048), 90).save(noise, "PNG")
    assert len(noise.getvalue()) > 2 * 1024 * 1024
    before = app.counts["BlobCreate"], app.counts["BlobGet"]
    options = {**SMALL, "width": 1280, "height": 1280, "steps": 1, "batchSize": 2, "referenceImage": noise.getvalue()}
    pictures = node("generate", workflow="instantid", options=options)["images"]
    assert sum(len(picture) for picture in pictures) > 2 * 1024 * 1024
    assert [size(picture) for picture in pictures] == [(1280, 1280)] * 2
    assert app.counts["BlobCreate"] == before[0] + 2, "one each way"
    assert app.counts["BlobGet"] == before[1] + 2


def test_videos_upscales_and_graphs(node: Scenario, face: bytes) -> None:
    video, larger, custom = node("families", face=face, graph=GRAPH)
    assert video["video"][4:8] == b"ftyp"
    assert (video["outputs"][0]["mediaType"], video["outputs"][0]["frames"], video["images"]) == ("video/mp4", 5, [])
    assert size(larger["image"]) == (512, 512)
    assert size(custom["image"]) == (64, 64)


def test_events_are_told_in_order(node: Scenario) -> None:
    answer = node("events")
    events = answer["events"]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "queued"
    assert kinds[-1] == "finished"
    assert {"started", "progress", "preview"} <= set(kinds)
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert {event["job"] for event in events} == {answer["job"]}
    preview = next(event for event in events if event["type"] == "preview")
    assert max(size(preview["data"])) <= 512


def test_polling_tells_queued_from_running_from_done(node: Scenario) -> None:
    answer = node("states")
    assert answer["slow"][-1] == "running"
    assert answer["slow"] in (["queued", "running"], ["running"])
    assert answer["quick"] == [state for state in ("queued", "running", "succeeded") if state in answer["quick"]]
    assert answer["quick"][-1] == "succeeded"
    assert size(answer["result"]["image"]) == (256, 256)


def test_the_time_limit_counts_from_the_start_and_cancels_the_call(app: Loopback, node: Scenario) -> None:
    before = ran_whole(app)
    error = node("generate", workflow="flux_dev", options=LONG, call={"timeoutMs": 400})["error"]
    assert (error["code"], error["httpStatus"]) == ("generation_timeout", 504)
    assert "ran longer than 0.4 s" in error["message"]
    assert app.counts["FunctionCallCancel"] >= 1
    settle(app)
    assert not ran_whole(app) - before


def test_the_environment_sets_the_time_limit(app: Loopback, node: Scenario) -> None:
    error = node("generate", {"MODAL_TIMEOUT": "300"}, workflow="flux_dev", options=LONG)["error"]
    assert "ran longer than 0.3 s" in error["message"]
    settle(app)


def test_a_job_that_finds_no_container_is_given_up(app: Loopback, node: Scenario) -> None:
    error = node("crowded", client={"queueTimeoutMs": 300})["error"]
    assert (error["code"], error["details"]["queued"]) == ("generation_timeout", True)
    settle(app)


def test_an_abort_signal_and_a_cancel_end_the_job(app: Loopback, node: Scenario) -> None:
    before = ran_whole(app)
    assert node("abort")["error"]["code"] == "job_canceled"
    settle(app)
    assert not ran_whole(app) - before
    answer = node("canceled")
    assert answer["poll"]["state"] == "canceled"
    assert answer["poll"]["error"]["code"] == answer["waited"]["error"]["code"] == "job_canceled"
    settle(app)


@pytest.mark.parametrize("remembered", [False, True], ids=["every request is new", "requests are remembered"])
@pytest.mark.parametrize("way", ["cancel", "timeoutMs"])
def test_a_job_that_was_sent_twice_is_stopped_wherever_it_runs(app: Loopback, node: Scenario, way: str, remembered: bool) -> None:
    app.knobs.remember_requests = remembered
    app.knobs.lose_answer_of["FunctionMap"] = 1
    before, sent = ran_whole(app), len(app.calls)
    submitted = node("submit", workflow="flux_dev", options=LONG)
    calls = app.calls[sent:]
    assert len(calls) == (1 if remembered else 2)
    eventually(lambda: node("poll", **submitted).get("fraction"))
    if way == "cancel":
        assert node("cancel", **submitted) is None
        assert node("poll", **submitted)["error"]["code"] == "job_canceled"
    else:
        assert node("wait", **submitted, options={"timeoutMs": 200})["error"]["code"] == "generation_timeout"
    assert all(eventually(lambda call=call: call.outputs) for call in calls)
    settle(app)
    assert not ran_whole(app) - before
    with connected(app):
        claims = modal.Dict.from_name(CLAIMS_DICT)
        owner, last = (claims.get(key) for key in (submitted["job"], f"{submitted['job']}/2"))
    assert owner in [call.id for call in calls]
    assert last == CANCELED, "written by JavaScript, read by Python"


def test_a_job_that_was_cancelled_before_a_container_took_it_never_runs(app: Loopback, node: Scenario) -> None:
    busy = [node("submit", workflow="flux_dev", options=LONG) for _ in range(5)]
    app.knobs.lose_answer_of["FunctionMap"] = 1
    sent = len(app.calls)
    waiting = node("submit", workflow="flux_dev", options=SMALL)
    assert node("cancel", **waiting) is None
    for one in busy:
        node("cancel", **one)
    calls = app.calls[sent:]
    assert all(eventually(lambda call=call: call.outputs) for call in calls)
    settle(app)
    assert waiting["job"] not in ran_whole(app)


@pytest.mark.parametrize("ends", [False, True], ids=["the input is restarted", "the input is over"])
def test_a_preempted_job_goes_on_or_says_that_it_was_preempted(app: Loopback, node: Scenario, ends: bool) -> None:
    app.knobs.interrupted_ends = ends
    long = LONG if ends else {**LONG, "width": 1536, "height": 1536}
    submitted = node("submit", workflow="flux_dev", options=long)
    eventually(lambda: node("poll", **submitted).get("fraction"))
    app.preempt(next(container for container in app.containers if container.exit_code is None and container.running))
    answer = node("wait", **submitted, options={"timeoutMs": 200_000})
    if ends:
        assert (answer["error"]["code"], answer["error"]["httpStatus"]) == ("preempted", 503)
    else:
        assert answer["job"] == submitted["job"]


def test_a_job_that_was_sent_twice_runs_once_and_both_callers_get_it(node: Scenario) -> None:
    job = str(uuid.uuid4())
    answer = node("twice", job=job)
    assert answer["seeds"][0] == answer["seeds"][1], "drawn once"
    assert answer["jobs"] == [job, job]


def test_faults_of_the_request_are_typed(node: Scenario, face: bytes) -> None:
    error = node("generate", workflow="flux_dev", options={**SMALL, "width": 250})["error"]
    assert (error["code"], error["httpStatus"]) == ("invalid_input", 400)
    assert error["details"]["errors"][0]["field"] == "width"
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), "#808080").save(flat, "PNG")
    error = node("generate", workflow="flux_pulid", options={**SMALL, "referenceImage": flat.getvalue()})["error"]
    assert (error["code"], error["httpStatus"]) == ("face_not_found", 400)
    error = node("generate", workflow="workflow", options={"graph": {"1": {"class_type": "Nothing", "inputs": {}}}})["error"]
    assert (error["code"], error["httpStatus"]) == ("workflow_invalid", 400)


def test_what_cannot_be_called_says_what_mends_it(app: Loopback, node: Scenario) -> None:
    def failing(variables: dict[str, str] | None = None, **client: Any) -> tuple[str, str]:
        error = node("generate", variables, workflow="flux", options=SMALL, client=client)["error"]
        return error["code"], error["hint"]

    assert failing(app="absent") == ("not_deployed", "Deploy the app: ryla-gen deploy")
    assert failing({"MODAL_TOKEN_SECRET": "as-wrong"}) == ("not_authorized", "Make one: modal token new")
    code, hint = failing({"MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""})
    assert (code, "MODAL_TOKEN_ID" in hint) == ("not_authorized", True)
    assert failing({"MODAL_WORKSPACE": "another"}) == (
        "not_authorized",
        "Switch to the right token: modal profile activate another",
    )
    assert failing(workspace="another")[0] == "not_authorized"
    app.knobs.missing_methods = {"Flux.flux"}
    assert failing()[0] == "not_deployed"


def test_the_right_workspace_is_accepted(node: Scenario) -> None:
    assert node("generate", {"MODAL_WORKSPACE": "loopback"}, workflow="flux", options=SMALL)["workflow"] == "flux"


def test_an_expired_result_and_an_unknown_call_are_told_apart_from_running_ones(app: Loopback, node: Scenario) -> None:
    submitted = node("submit", workflow="flux", options=SMALL)
    assert node("wait", **submitted)["workflow"] == "flux"
    app.knobs.expire_results = True
    poll = node("poll", **submitted)
    assert (poll["state"], poll["error"]["code"]) == ("expired", "result_expired")
    assert node("wait", **submitted)["error"]["code"] == "result_expired"
    assert node("poll", callId="fc-unknown")["error"]["code"] == "job_expired"


def test_an_answer_lost_on_the_way_and_a_plane_that_is_away_cost_no_second_run(app: Loopback, node: Scenario) -> None:
    app.knobs.lose_answer_of["FunctionMap"] = 1
    assert node("generate", workflow="flux", options=SMALL)["workflow"] == "flux"
    submitted = node("submit", workflow="flux", options={**LONG, "width": 1024, "height": 1024, "steps": 50})
    app.away(2.0)
    assert node("wait", **submitted)["job"] == submitted["job"]


def test_a_broken_queue_disturbs_nothing(app: Loopback, node: Scenario) -> None:
    app.knobs.queue_unavailable = True
    submitted = node("submit", workflow="flux", options=SMALL)
    assert node("wait", **submitted)["workflow"] == "flux"
    assert node("poll", **submitted)["state"] == "succeeded"


def test_a_comfyui_that_dies_twice_is_a_machine_fault(app: Loopback, node: Scenario) -> None:
    submitted = node("submit", workflow="flux_dev", options=LONG)
    eventually(lambda: node("poll", **submitted).get("fraction"))
    container = next(container for container in app.containers if container.exit_code is None and container.running)
    strike(container, signal.SIGKILL)
    with connected(app):
        started(submitted["job"], times=2)  # polling takes no event away: the first start is among them
    strike(container, signal.SIGKILL)
    error = node("wait", **submitted)["error"]
    assert (error["code"], error["httpStatus"]) == ("server_unhealthy", 503)
    assert "ComfyUI died" in error["message"]
    assert "ryla-gen jobs logs ryla-comfyui" in error["hint"]


TINY = {"width": 256, "height": 256, "steps": 1}


def test_base_images_have_consecutive_seeds(node: Scenario) -> None:
    first = 2**53 - 2
    made = node("characters", method="submitBaseImages", arguments=["a red fox", False, first, 2, TINY])
    assert (made["state"], made["fraction"], made["succeeded"], made["total"]) == ("succeeded", 1, 2, 2)
    assert [part["now"]["result"]["seed"] for part in made["parts"]] == [first, first + 1]
    assert [size(part["now"]["result"]["image"]) for part in made["parts"]] == [(256, 256)] * 2


def test_the_face_workflow_and_the_checkpoint_are_settings(node: Scenario, face: bytes) -> None:
    def swapped(settings: dict[str, str], *, nsfw: bool = False, **variables: str) -> Any:
        arguments = [face, "reading", nsfw, 7, TINY]
        return node("characters", variables, method="submitFaceSwap", arguments=arguments, settings=settings)

    made = swapped({"faceWorkflow": "instantid", "sdxlCheckpoint": "sd_xl_base_1.0.safetensors"})
    result = made["parts"][0]["now"]["result"]
    assert (result["workflow"], result["inputs"]["checkpoint"]) == ("instantid", "sd_xl_base_1.0.safetensors")
    named = {"RYLA_GEN_CHARACTERS_NSFW_CHECKPOINT": "flux1-dev-fp8.safetensors"}
    result = swapped({}, nsfw=True, **named)["parts"][0]["now"]["result"]
    assert (result["workflow"], result["inputs"]["checkpoint"]) == ("flux_pulid", "flux1-dev-fp8.safetensors")
    error = swapped({}, nsfw=True)["error"]
    assert (error["code"], error["hint"]) == ("invalid_input", "Name a file of the app: RYLA_GEN_CHARACTERS_NSFW_CHECKPOINT")


def test_a_recipe_is_named_or_the_default_or_the_one_that_has_a_checkpoint(node: Scenario, face: bytes) -> None:
    def made(method: str, *arguments: Any, settings: dict[str, str] | None = None, **variables: str) -> Any:
        answer = node("characters", variables, method=method, arguments=[*arguments], settings=settings or {})
        return [part["now"]["result"]["workflow"] for part in answer["parts"]] if "parts" in answer else answer["error"]

    checkpoint = {"RYLA_GEN_CHARACTERS_NSFW_CHECKPOINT": "flux1-dev-fp8.safetensors"}
    assert made("submitBaseImages", "a fox", False, 7, 1, TINY) == ["z_image"]
    assert made("submitBaseImages", "a fox", False, 7, 1, {**TINY, "recipe": "flux_dev"}) == ["flux_dev"]
    assert made("submitBaseImages", "a fox", True, 7, 1, TINY, **checkpoint) == ["flux_dev"]
    assert made("submitCharacterSheet", face, False, ["back"], TINY) == ["qwen_image_edit"]
    assert made("submitCharacterSheet", face, False, ["back"], TINY, settings={"sheetRecipe": "kontext"}) == ["flux_kontext"]
    assert made("submitCharacterSheet", face, False, ["back"], TINY, settings={"faceWorkflow": "instantid"}) == ["instantid"]
    refused = made("submitBaseImages", "a fox", True, 7, 1, {**TINY, "recipe": "z_image"}, **checkpoint)
    assert (refused["code"], refused["hint"]) == ("invalid_input", "Leave the recipe out: then one with a checkpoint is used.")
    unknown = made("submitBaseImages", "a fox", False, 7, 1, {"recipe": "zimage"})
    assert (unknown["message"], unknown["hint"]) == (
        "There is no recipe zimage for base images.",
        "Recipes for base images: z_image, flux_dev.",
    )


def test_a_sheet_tells_of_each_picture_and_can_be_cancelled(app: Loopback, node: Scenario, face: bytes) -> None:
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), "#808080").save(flat, "PNG")
    by_face = {**TINY, "recipe": "flux_pulid"}
    failed = node("characters", method="submitCharacterSheet", arguments=[flat.getvalue(), False, ["front", "back"], by_face])
    assert (failed["state"], failed["succeeded"]) == ("failed", 0)
    assert [part["now"]["error"]["code"] for part in failed["parts"]] == ["face_not_found"] * 2
    slow = {**TINY, "width": 2048, "height": 2048, "steps": 100}
    canceled = node("characters", method="submitCharacterSheet", arguments=[face, False, ["front"], slow], cancel=True)
    assert canceled["state"] == "canceled"
    error = node("characters", method="submitCharacterSheet", arguments=[face, False, ["back", "back"], TINY])["error"]
    assert error["code"] == "invalid_input"
    settle(app)
