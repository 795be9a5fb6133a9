"""The contract: every shape that crosses a process is the one in the golden files, and strangers' data is read with care."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import FluxDev, InstantID, errors
from ryla_gen.contract import (
    CONTRACT,
    Options,
    Request,
    check_version,
    error_reply,
    new_job_id,
    plain,
    prompt_id_of,
    read_reply,
    read_request,
    readable_by,
    reply,
    request,
)
from ryla_gen.delivery.webhook_events import failure_event, result_event
from ryla_gen.errors import (
    ERRORS,
    ContractMismatchError,
    FaceNotFoundError,
    InternalError,
    InvalidInputError,
    RylaGenError,
    error_from_data,
)
from ryla_gen.events import Finished, Preview, Progress, Queued, Started, event_from_data
from ryla_gen.results import ColdStart, Cost, Generation, Output, Timings
from ryla_gen.version import __version__
from ryla_gen.workflows.base import Notice

GOLDEN = Path(__file__).parent / "golden"
JOB = "7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11"
AT = "2026-11-21T08:00:00.000Z"

GENERATION = Generation(
    workflow=FluxDev(prompt="a fox", seed=7),
    outputs=(
        Output("image", "image/png", "flux_dev-7-0.png", b"\x89PNG", 1024, 1024, node="9"),
        Output("video", "video/mp4", "wan2-7-0.mp4", b"\x00mp4", 832, 480, 33, 16.0, node="12"),
        Output("audio", "audio/flac", "workflow-7-2.flac", b"fLaC", node="14:2"),
        Output("text", "text/plain", "workflow-7-3.txt", text="a fox in the snow", node="15"),
        Output("file", "model/gltf-binary", "workflow-7-4.glb", b"glTF", node="16"),
    ),
    seed=7,
    job=JOB,
    backend="modal",
    timings=Timings(
        queued=0.2, cold_start=0.0, running=11.3, total=11.9, cold=ColdStart(boot=0.0, restore=2.5, weights=9.0), restored=True
    ),
    cost=Cost(0.0061, 0.0058, 0.0002, 0.0001, "L40S", 11.3, "2026-09-01"),
    warnings=(Notice("negative_prompt_ignored", "It has no effect."),),
    graph={"1": {"class_type": "SaveImage", "inputs": {}}},
    server={"comfyui": "0.3.71", "gpu": "L40S", "container": "ta-1", "app": __version__},
)

UPLOADED = Output(
    "image", "image/png", "flux_dev-7-0.png", width=1024, height=1024, node="9",
    url="https://bucket.example/flux_dev-7-0.png", sha256=hashlib.sha256(b"\x89PNG").hexdigest(), size=4,
)  # fmt: skip

SHAPES: dict[str, Any] = {
    "request": request(InstantID(prompt="a fox", seed=7, reference_image=b"\x89PNG"), JOB, Options(previews=False)),
    "reply": reply(GENERATION),
    "reply_uploaded": reply(replace(GENERATION, outputs=(UPLOADED, *GENERATION.outputs[1:4]))),
    "error_reply": error_reply(FaceNotFoundError("No face.", "Use another picture.", {"node_id": "60"})),
    "webhook_succeeded": result_event(replace(GENERATION, outputs=(UPLOADED, *GENERATION.outputs[1:])), at=AT),
    "webhook_failed": failure_event(FaceNotFoundError("x"), job=JOB, workflow="instantid", backend="modal", seed=7, at=AT),
    "event_queued": Queued(JOB, 0, AT, position=2).to_data(),
    "event_started": Started(JOB, 1, AT, cold_start=0.0).to_data(),
    "event_progress": Progress(JOB, 2, AT, fraction=0.35, step=7, steps=20, node="KSampler").to_data(),
    "event_preview": Preview(JOB, 3, AT, media_type="image/jpeg", data=b"\xff\xd8").to_data(),
    "event_finished": Finished(JOB, 4, AT, state="succeeded").to_data(),
}


def as_json(value: Any) -> Any:
    """JSON has no bytes: the golden files write them as {"$bytes": base64}."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_is_the_golden_one(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    shape = as_json(SHAPES[name])
    assert (shape | {"sdk": golden["sdk"]} if name == "request" else shape) == golden


def test_comfyui_gets_a_canonical_uuid_whatever_a_job_is_called() -> None:
    assert prompt_id_of(JOB) == JOB
    made = [prompt_id_of(job) for job in (f"{JOB}-1", f"{JOB}-2", JOB.upper(), "job7")]
    assert len({*made, JOB}) == 5
    assert all(str(uuid.UUID(item)) == item for item in made)
    assert made[0] == prompt_id_of(f"{JOB}-1"), "the same one in every container"


def test_every_golden_file_is_looked_at() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(SHAPES) | {"error_codes"}


def test_codes_are_never_renamed_and_each_has_one_class() -> None:
    golden = json.loads((GOLDEN / "error_codes.json").read_text(encoding="utf-8"))
    assert {code: cls.http_status for code, cls in ERRORS.items()} == golden
    for code, cls in ERRORS.items():
        assert cls.code == code
        assert cls.__doc__
        assert cls.__name__ in (errors.__doc__ or "")
        assert cls("x").hint, f"{code} leaves the reader without a remedy"


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_survives_pickle_and_plain_data(code: str) -> None:
    error = ERRORS[code]("What happened.", "What to do.", {"node_id": "3"})
    for copy in (pickle.loads(pickle.dumps(error)), error_from_data(error.to_data())):
        assert type(copy) is type(error)
        assert (copy.message, copy.hint, copy.details) == (error.message, error.hint, error.details)
    assert str(error) == "What happened.\n  What to do."


def test_a_code_of_a_newer_side_is_still_an_error_of_ours() -> None:
    error = error_from_data({"code": "brand_new", "message": "Something.", "later": 1})
    assert type(error) is RylaGenError
    assert error.message == "Something."


def test_a_request_is_read_as_it_was_written() -> None:
    workflow = InstantID(prompt="a fox", seed=7, reference_image=b"\x89PNG")
    read = read_request(request(workflow, JOB, Options(events=False)), "instantid")
    assert (read.workflow, read.job, read.options) == (workflow, JOB, Options(events=False))


def test_only_inputs_are_required() -> None:
    read = read_request({"inputs": {"prompt": "a fox"}}, "flux_dev")
    assert isinstance(read.workflow, FluxDev)
    assert read.workflow.seed is not None
    assert len(read.job) == 36


def test_undefined_from_javascript_counts_as_absent() -> None:
    undefined = type("UndefinedType", (), {})()
    read = read_request({"inputs": {"prompt": "a fox", "seed": undefined}, "job": undefined, "options": undefined}, "flux_dev")
    assert read.workflow.name == "flux_dev"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "must be an object"),
        ({}, "inputs must be an object"),
        ({"inputs": {"prompt": "x", "later_field": 1}}, "does not know later_field"),
        ({"inputs": {"prompt": "x"}, "job": "../../x"}, "job must be a uuid"),
        ({"inputs": {"prompt": "x"}, "job": 7}, "job must be a uuid"),
        ({"inputs": {"prompt": "x"}, "options": "yes"}, "options must be an object"),
        ({"inputs": {}}, "prompt"),
    ],
)
def test_nonsense_is_refused(data: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read_request(data, "flux_dev")


def test_another_contract_names_the_side_to_update() -> None:
    with pytest.raises(ContractMismatchError) as caught:
        read_request({"contract": 3, "inputs": {"prompt": "x"}}, "flux_dev")
    assert "this side" in str(caught.value)
    with pytest.raises(ContractMismatchError) as caught:
        read_reply({"contract": 0, "ok": True}, GENERATION.workflow)
    assert "ryla-gen deploy" in caught.value.hint


@pytest.mark.parametrize("number", [1, 2, 2.0])
def test_both_contracts_are_read(number: float) -> None:
    assert CONTRACT == 2
    assert read_request({"contract": number, "inputs": {"prompt": "x"}}, "flux_dev").workflow.name == "flux_dev"
    assert read_reply({**reply(GENERATION), "contract": number}, GENERATION.workflow) == GENERATION


def test_a_caller_of_contract_1_gets_its_own_number_and_a_text_as_a_file() -> None:
    written = reply(GENERATION)
    text = {"kind": "text", "media_type": "text/plain", "name": "caption.txt", "text": "a füx", "node": "7"}
    written["generation"]["outputs"].append(text)
    older = readable_by({"contract": 1}, written)
    file = {"kind": "file", "media_type": "text/plain", "name": "caption.txt", "data": "a füx".encode(), "node": "7"}
    assert (older["contract"], older["generation"]["outputs"][-1]) == (1, file)
    assert older["generation"]["outputs"][:2] == written["generation"]["outputs"][:2]
    assert [item["kind"] for item in older["generation"]["outputs"]] == ["image", "video", "file", "file", "file", "file"]
    assert read_reply(older, GENERATION.workflow).outputs[-1].data == "a füx".encode()
    assert readable_by({"contract": 1}, SHAPES["error_reply"]) == {**SHAPES["error_reply"], "contract": 1}
    for current in ({}, {"contract": 2}, {"contract": 99}, None, []):
        assert readable_by(current, written) is written


def test_an_uploaded_output_of_any_kind_reaches_a_caller_of_contract_1() -> None:
    """A client that met an older app goes on in its contract, also after a newer one was deployed."""
    there = {"url": "s3://bucket/a", "sha256": "0" * 64, "bytes": 3}
    for kind, media_type in (("audio", "audio/flac"), ("image", "image/png"), ("file", "application/json")):
        written = reply(GENERATION)
        written["generation"]["outputs"] = [{"kind": kind, "media_type": media_type, "name": "a", **there}]
        (item,) = read_reply(readable_by({"contract": 1}, written), GENERATION.workflow).outputs
        assert (item.url, item.size, item.data) == ("s3://bucket/a", 3, b"")


def test_what_is_printed_of_options_holds_no_address() -> None:
    secret = "a-token"
    options = Options(output_to=(f"https://a.example/x?sig={secret}",), webhook=f"https://b.example/hook?t={secret}")
    assert secret not in f"{options!r}{Request(GENERATION.workflow, 'x', options)!r}"


def test_a_reply_becomes_the_generation_again_and_unknown_keys_are_ignored() -> None:
    data = reply(GENERATION)
    data["later"] = data["generation"]["later"] = data["generation"]["outputs"][0]["later"] = 1
    assert read_reply(data, GENERATION.workflow) == GENERATION
    with pytest.raises(FaceNotFoundError, match="No face"):
        read_reply(SHAPES["error_reply"], GENERATION.workflow)


def test_only_plain_data_crosses() -> None:
    assert plain({"a": (1, 2)}) == {"a": [1, 2]}
    with pytest.raises(InternalError, match="PosixPath|WindowsPath"):
        plain({"reference_image": Path("x.png")})


def test_events_are_read_back_and_newer_ones_are_skipped() -> None:
    for event in (Queued(JOB, 0, AT, position=2), Preview(JOB, 1, AT, data=b"x"), Finished(JOB, 2, AT, state="failed")):
        assert event_from_data({**event.to_data(), "later": 1}) == event
    assert event_from_data({"type": "telepathy", "job": JOB}) is None


def test_job_ids_are_uuid4() -> None:
    assert len({new_job_id() for _ in range(100)}) == 100
    assert new_job_id()[14] == "4"


def test_the_version_is_in_every_request() -> None:
    assert SHAPES["request"]["sdk"] == __version__


@pytest.mark.parametrize(
    ("theirs", "number", "says"),
    [
        ("app", 0, "The app is older. Deploy it again: ryla-gen deploy"),
        ("app", CONTRACT + 1, "The caller is older. Update it: pip install -U ryla-gen"),
        ("caller", 0, "The caller is older. Update it: pip install -U ryla-gen"),
        ("caller", CONTRACT + 1, "The app is older. Deploy it again: ryla-gen deploy"),
    ],
)
def test_whoever_is_older_is_the_one_to_update(theirs: str, number: int, says: str) -> None:
    with pytest.raises(ContractMismatchError) as caught:
        check_version({"contract": number}, theirs=theirs)
    assert caught.value.hint == says


GOOD = reply(GENERATION)


def changed(**more: Any) -> dict[str, Any]:
    return {**GOOD, "generation": {**GOOD["generation"], **more}}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "ok",
        {"ok": True},
        {"ok": True, "generation": []},
        {"ok": False},
        {"ok": False, "error": "no"},
        changed(seed=None),
        changed(seed=float("nan")),
        changed(seed="7"),
        changed(seed=10**400),
        changed(outputs=None),
        changed(outputs={}),
        changed(outputs=[7]),
        changed(outputs=[{"kind": "image"}]),
        changed(outputs=[{"kind": "image", "media_type": "image/png", "name": "a", "data": "text"}]),
        changed(outputs=[{"kind": "text", "media_type": "text/plain", "name": "a"}]),
        changed(job=None),
    ],
)
def test_a_reply_of_another_shape_is_a_contract_mismatch(data: Any) -> None:
    with pytest.raises(ContractMismatchError, match="cannot be read"):
        read_reply(data, GENERATION.workflow)


@pytest.mark.parametrize("odd", [None, 7, "x", [], {"queued": "long", "total_usd": float("nan")}, [None], [{"code": 7}]])
def test_what_only_describes_a_result_costs_it_nothing(odd: Any) -> None:
    read = read_reply(changed(timings=odd, cost=odd, warnings=odd, graph=odd, server=odd, face_similarity=odd), GENERATION.workflow)
    assert read.outputs == GENERATION.outputs


def test_a_kind_of_a_newer_app_is_a_file() -> None:
    new = {"kind": "hologram", "media_type": "model/x", "name": "a.x", "data": b"x", "later": 1}
    (output,) = read_reply(changed(outputs=[new]), GENERATION.workflow).outputs
    assert (output.kind, output.data) == ("file", b"x")


@pytest.mark.parametrize(
    "odd", [None, 7, "x", [], {"type": "progress", "fraction": "much"}, {"type": "progress", "step": float("nan")}]
)
def test_an_event_of_another_shape_is_none(odd: Any) -> None:
    assert event_from_data(odd if isinstance(odd, dict) else {"type": odd}) is None
