"""Workflows: their graphs are the known good ones, and what does not fit is refused with the way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import ryla_gen
from ryla_gen import (
    SDXL,
    CustomWorkflow,
    Flux,
    Flux2Klein,
    FluxDev,
    FluxFill,
    FluxInstantID,
    FluxKontext,
    FluxLora,
    FluxPulid,
    InstantID,
    Lora,
    QwenImage,
    QwenImageEdit,
    SeedVR2,
    Wan2,
    Wan22,
    ZImage,
)
from ryla_gen.comfy import schema
from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.families import packs_for
from ryla_gen.models.node_schemas import VERSIONS, node_schemas
from ryla_gen.models.weights_table import all_weights
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.remote.preload import smallest
from ryla_gen.workflows.base import Files, Workflow
from ryla_gen.workflows.fields import bounds
from ryla_gen.workflows.flux_edits import Padding
from ryla_gen.workflows.parts import Part
from ryla_gen.workflows.pictures import Box
from ryla_gen.workflows.registry import BUILT_IN, built_in_classes, prepared_names, workflow_class, workflow_names


def example(name: str) -> Workflow:
    """The request of a workflow's example, its media unread."""
    cls = workflow_class(name)
    assert cls.example is not None
    return cls.from_plain(cls.example.fields, trusted=True)


GRAPHS = Path(__file__).resolve().parents[1] / "data" / "graphs"
PROMPT = "a cinematic photo of a red fox in a snowy forest"
REFERENCE = "reference.png"
BOTTLE = "beautiful landscape scenery glass bottle with a galaxy inside cute fennec fox snow HDR sunset"
OUTPAINTED = Padding(left=400, right=400, bottom=400)

RECORDED: dict[str, Workflow] = {
    "flux": Flux(prompt=PROMPT),
    "flux_dev": FluxDev(prompt=PROMPT),
    "flux_dev_turbo8": FluxDev(prompt=PROMPT, speed="turbo"),
    "flux_dev_easycache": FluxDev(prompt=PROMPT, speed="balanced"),
    "flux_lora": FluxLora(prompt=PROMPT, lora_id="character"),
    "flux_fill_outpaint": FluxFill(prompt="beautiful scenery", image="photo.png", seed=7, padding=OUTPAINTED),
    "flux2_klein_edit": Flux2Klein(prompt="Change the bag color to blue.", images="one.png", seed=7),
    "sdxl_turbo": SDXL(prompt=BOTTLE, negative_prompt="text, watermark", speed="turbo"),
    "instantid_sdxl_advanced": InstantID(prompt=PROMPT, reference_image=REFERENCE),
    "flux_instantid_two_stage": FluxInstantID(prompt=PROMPT, reference_image=REFERENCE),
    "pulid_flux_dev": FluxPulid(prompt=PROMPT, reference_image=REFERENCE),
    "wan2_1_3b_mp4": Wan2(prompt=PROMPT),
    "wan2_1_3b_webp": Wan2(prompt=PROMPT, format="webp"),
    "wan2_14b_fp8_mp4": Wan2(prompt=PROMPT, model="14B", steps=20),
    "wan2_14b_lightx2v_4step_mp4": Wan2(prompt=PROMPT, model="14B", speed="turbo"),
    "wan2_14b_picture": Wan2(prompt=PROMPT, image="i.png", width=512, height=512, steps=20, seed=7),
    "wan22_picture_lightning": Wan22(prompt=PROMPT, image="i.png", speed="lightning", width=720, height=720, seed=7),
    "wan22_first_and_last": Wan22(
        prompt=PROMPT, image="i.png", last_image="l.png", width=640, height=640, cfg=4.0, shift=8.0, seed=7
    ),
    "wan22_5b": Wan22(prompt=PROMPT, model="5B", seed=7),
    "qwen_image": QwenImage(prompt=PROMPT),
    "qwen_image_lightning": QwenImage(prompt=PROMPT, speed="lightning", aspect_ratio="16:9"),
    "qwen_image_edit": QwenImageEdit(prompt=PROMPT, images="input.png"),
    "qwen_image_edit_lightning": QwenImageEdit(prompt=PROMPT, images=["one.png", "two.png"], speed="lightning"),
    "qwen_image_edit_mask": QwenImageEdit(prompt=PROMPT, images="input.png", mask="mask.png", batch_size=2),
    "seedvr2_image": SeedVR2(image="input.png", seed=42),
    "seedvr2_video": SeedVR2(video="input.mp4", seed=42),
}
"""Name of a graph that ComfyUI 0.3.71 and 0.28.2 accepted → the request that must build it."""
NAMED = {type(workflow).name for workflow in RECORDED.values()}
EXAMPLES = [name for name in prepared_names() if name not in NAMED or (GRAPHS / f"{name}.json").is_file()]
KNOWN_GOOD = {name: example(name) for name in EXAMPLES} | RECORDED
"""A workflow builds, with its example's fields, the graph that is recorded under its name, unless the list above says of what."""

FILES = Files(
    media={
        "reference_image": REFERENCE,
        "image": "input.png",
        "images[0]": "one.png",
        "mask": "mask.png",
        "last_image": "last.png",
        "video": "input.mp4",
    }
)


def shape(api: dict[str, Any]) -> list[str]:
    """A graph without its node ids: every node spelled out with all that leads to it."""
    memo: dict[str, str] = {}

    def spell(node_id: str) -> str:
        if node_id not in memo:
            node = api[node_id]
            inputs = {
                name: f"{spell(value[0])}@{value[1]}" if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
            if inputs.get("text") == "P":  # the two-stage graph's placeholder
                inputs["text"] = PROMPT
            memo[node_id] = json.dumps([node["class_type"], inputs], sort_keys=True, ensure_ascii=False)
        return memo[node_id]

    return sorted(spell(node_id) for node_id in api)


@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_a_request_builds_the_known_good_graph(name: str) -> None:
    known = json.loads((GRAPHS / f"{name}.json").read_text())
    if name == "flux_instantid_two_stage":
        for node in known.values():
            if node["class_type"] == "EmptyLatentImage":
                node["inputs"].update(width=1024, height=1024)
    assert shape(KNOWN_GOOD[name].build(FILES).to_api()) == shape(known)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_every_graph_fits_the_node_schemas_of_every_release(name: str, version: str) -> None:
    schemas = node_schemas(version)
    graph = KNOWN_GOOD[name].build(FILES).to_api()
    unknown = {node["class_type"] for node in graph.values()} - set(schemas)
    if unknown and version != type(KNOWN_GOOD[name]).image_lock().release:
        pytest.skip(f"ComfyUI {version} has no {', '.join(sorted(unknown))}")
    assert unknown == set()
    for node in graph.values():
        known = {spec for group in ("required", "optional") for spec in schemas[node["class_type"]]["input"].get(group, {})}
        assert set(node["inputs"]) <= known
    errors = schema.validate(graph, schemas, version=version).node_errors
    others = [error for entry in errors.values() for error in entry["errors"] if error["type"] != "value_not_in_list"]
    assert others == []  # which files are there is the server's to know


@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_every_default_survives_a_round_trip_through_plain_data(name: str) -> None:
    workflow = KNOWN_GOOD[name]
    assert type(workflow).from_plain(workflow.to_plain(), trusted=True) == workflow
    assert json.loads(json.dumps(workflow.described())) == workflow.described()


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_field_of_every_workflow_is_documented(name: str) -> None:
    cls = workflow_class(name)
    assert cls.name == name
    assert cls.family in CLASS_OF_FAMILY
    assert [field for field, info in cls.model_fields.items() if not info.description] == []
    assert getattr(ryla_gen, cls.__name__) is cls


def spelled(number: float) -> str:
    """A bound as the docstrings write it."""
    return {2**64 - 1: "2⁶⁴−1", 2**32 - 1: "2³²−1"}.get(int(number), f"{number:.10g}")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_number_names_its_bounds_in_its_docstring(name: str) -> None:
    silent = []
    for field, info in workflow_class(name).model_fields.items():
        low, high, grid = bounds(info)
        text = info.description or ""
        numbers = [number for number in (low, high) if number is not None]
        unnamed = [number for number in numbers if not re.search(rf"(?<![\w.,]){re.escape(spelled(number))}(?![\w])", text)]
        silent += [f"{field}: {number}" for number in unnamed]
        if grid and f"multiple of {grid}" not in text and not (grid == 2 and "even" in text):
            silent.append(f"{field}: a multiple of {grid}")
    assert silent == []


def test_names_with_hyphens_are_the_same_workflows() -> None:
    assert workflow_class("flux-dev") is FluxDev
    assert set(BUILT_IN) <= set(workflow_names())
    with pytest.raises(InvalidInputError, match="Did you mean flux-dev"):
        workflow_class("flux-dve")


REFUSED: list[tuple[type[Workflow], dict[str, Any], str]] = [
    (FluxDev, {"prompt": "x", "width": 1000}, "width=992"),
    (FluxDev, {"prompt": "x", "width": 4000}, "width=2048"),
    (FluxDev, {"prompt": "x", "steps": 0}, "steps=1"),
    (FluxDev, {"prompt": "x", "steps": "20"}, "not str"),
    (FluxDev, {"prompt": "x", "steps": True}, "not bool"),
    (FluxDev, {"prompt": "x", "steps": 2.5}, "steps"),
    (FluxDev, {"prompt": "x", "cfg": float("nan")}, "finite"),
    (FluxDev, {"prompt": "x", "cfg": float("inf")}, "finite"),
    (FluxDev, {"prompt": "x", "seed": -1}, "seed=0"),
    (FluxDev, {"prompt": "x", "seed": 2**64}, "18446744073709551615"),
    (FluxDev, {"prompt": "x", "checkpoint": "../../etc/passwd"}, "inside the server's model folder"),
    (FluxDev, {"prompt": "x", "checkpoint": "C:\\x.safetensors"}, "inside the server's model folder"),
    (FluxDev, {"prompt": "x", "step": 3}, "did you mean steps"),
    (FluxDev, {"prompt": ""}, "at least 1 character"),
    (FluxDev, {"prompt": "  \n"}, "empty"),
    (FluxDev, {"prompt": "x" * 10_000_000}, "20000 characters"),
    (FluxDev, {"prompt": 7}, "string"),
    (FluxDev, {}, "prompt"),
    (FluxDev, {"prompt": "x", "sampler": "eular"}, "sampler"),
    (InstantID, {"prompt": "x", "reference_image": b"", "width": 2048, "height": 2048}, "width=15"),
    (InstantID, {"prompt": "x", "reference_image": b"", "width": 1017}, "width=1016"),
    (InstantID, {"prompt": "x", "reference_image": 3}, "Give a path"),
    (InstantID, {"prompt": "x", "reference_image": b"", "instantid_strength": 1.1}, "instantid_strength=1.0"),
    (FluxLora, {"prompt": "x"}, "either lora_id or loras"),
    (FluxLora, {"prompt": "x", "lora_id": "a", "loras": [{"id": "b"}]}, "either lora_id or loras"),
    (FluxLora, {"prompt": "x", "lora_id": "../x"}, "lora_id"),
    (FluxLora, {"prompt": "x", "loras": [{"lora_id": "a"}]}, "loras.0.lora_id"),
    (FluxLora, {"prompt": "x", "loras": [{}]}, "loras.0.id"),
    (FluxLora, {"prompt": "x", "loras": [{"id": "a", "strength": "1"}]}, "loras.0.strength: must be a number, not str"),
    (FluxFill, {"prompt": "x", "image": b"", "padding": {"left": True}}, "padding.left: must be a number, not bool"),
    (
        FluxFill,
        {"prompt": "x", "image": b"", "mask_box": {"x": "3", "y": 0, "width": 8, "height": 8}},
        "mask_box.x: must be a number",
    ),
    (FluxLora, {"prompt": "x", "lora_id": "x", "lora_strength": 2.5}, "lora_strength=2.0"),
    (Wan2, {"prompt": "x", "length": 32}, "length=33"),
    (Wan2, {"prompt": "x", "width": 1280, "height": 1280}, "height="),
    (Wan2, {"prompt": "x", "speed": "turbo"}, "14B"),
    (SeedVR2, {}, "either image or video"),
    (SeedVR2, {"image": b"", "video": b""}, "either image or video"),
    (SeedVR2, {"image": b"", "resolution": 1080, "scale": 2}, "either resolution or scale"),
    (SeedVR2, {"image": b"", "seed": 2**32}, "4294967295"),
    (SeedVR2, {"video": b"", "batch_size": 6}, "batch_size=5"),
    (CustomWorkflow, {"graph": {"nodes": [], "links": []}}, "Workflow > Export"),
    (CustomWorkflow, {"graph": {}}, "no nodes"),
    (CustomWorkflow, {"graph": []}, "dictionary"),
    (CustomWorkflow, {"graph": {"1": {"inputs": {}}}}, "Node 1 has no class_type"),
    (CustomWorkflow, {"graph": {"1": {"class_type": "LoadImage", "inputs": {"image": "/etc/passwd"}}}}, "outside"),
    (CustomWorkflow, {"graph": {"1": {"class_type": "VAELoader", "inputs": {"vae_name": "..\\..\\x"}}}}, "outside"),
    (CustomWorkflow, {"graph": {"1": {"class_type": "EmptyImage", "inputs": {}}}, "prompt": "x"}, "No CLIPTextEncode"),
    (CustomWorkflow, {"graph": {"1": {"class_type": "EmptyImage", "inputs": {}}}, "images": {"a.png": b""}}, "no LoadImage"),
]


@pytest.mark.parametrize(("cls", "fields", "says"), REFUSED, ids=lambda value: value.__name__ if isinstance(value, type) else None)
def test_what_does_not_fit_is_refused_before_anything_is_sent(cls: type[Workflow], fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        cls(**fields)
    assert says in str(caught.value)
    assert caught.value.code == "invalid_input"
    assert "ryla-gen workflows show" in caught.value.hint
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("part", "fields", "says"),
    [
        (Lora, {"id": "mira", "strength": 5}, "strength=2.0"),
        (Lora, {"id": "mira.safetensors"}, "ryla-gen lora push mira.safetensors --id mira"),
        (Box, {"x": 0, "y": 0, "width": 0, "height": 8}, "width=1"),
        (Padding, {"left": 3}, "left=0"),
    ],
    ids=["strength", "file", "box", "padding"],
)
def test_a_part_of_a_request_says_by_itself_what_does_not_fit(part: type[Part], fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        part(**fields)
    assert says in str(caught.value)
    assert f"help({part.__name__})" in caught.value.hint
    with pytest.raises(TypeError, match="without a name"):
        part(1, 2, 3, 4, 5)


def test_the_nearest_size_offered_is_itself_accepted() -> None:
    with pytest.raises(InvalidInputError) as caught:
        Wan2(prompt="x", width=1280, height=1280)
    size = next(item["nearest"] for item in caught.value.details["errors"])
    width, height = (int(side.partition("=")[2]) for side in size.split(", "))
    assert Wan2(prompt="x", width=width, height=height).width == width


@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (SDXL, {"speed": "turbo", "steps": 20}),
        (Wan22, {"model": "5B", "width": 1232, "height": 752}),
        (ZImage, {"width": 2048, "height": 1024, "upscale": 2.0}),
    ],
    ids=["turbo has ten steps", "the smaller model's grid", "too large when enlarged"],
)
def test_the_nearest_values_offered_are_themselves_accepted(cls: type[Workflow], given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        cls(prompt="x", **given)
    offered = next(item["nearest"] for item in caught.value.details["errors"])
    nearest = {name: float(value) for name, _, value in (part.partition("=") for part in offered.split(", "))}
    assert cls(prompt="x", **{**given, **nearest}).required_nodes()


PICTURES: dict[type[Workflow], dict[str, Any]] = {FluxInstantID: {"reference_image": b"x"}, QwenImageEdit: {"images": ("x.png",)}}


@pytest.mark.parametrize(
    ("cls", "field"), [(ZImage, "denoise"), (Flux, "denoise"), (QwenImageEdit, "denoise"), (FluxInstantID, "refine_denoise")]
)
def test_a_schedule_of_millions_of_steps_is_not_asked_for(cls: type[Workflow], field: str) -> None:
    given = {"prompt": "x", **PICTURES.get(cls, {"image": b"x"})}
    with pytest.raises(InvalidInputError) as caught:
        cls.from_plain({**given, field: 1e-9}, trusted=True)
    assert f"{field}=0.01" in caught.value.hint
    least = {**given, field: 0.01, "steps": 50} | ({"sampler": "detailed"} if cls is ZImage else {})
    named = [node["inputs"].get("steps", 1) for node in cls.from_plain(least, trusted=True).build().to_api().values()]
    assert max(named) <= 10_000, "what ComfyUI's samplers and schedulers take"
    assert cls.from_plain({**given, field: 0}, trusted=True).build()


def test_numbers_from_javascript_are_read_leniently() -> None:
    assert FluxDev.from_plain({"prompt": "x", "seed": 2.0**33, "steps": 8.0}).seed == 2**33


def test_requests_from_elsewhere_cannot_name_files() -> None:
    for name in ("/etc/passwd", "https://example.com/x.png", "x.png"):
        with pytest.raises(InvalidInputError, match="Only bytes and data URLs"):
            InstantID.from_plain({"prompt": "x", "reference_image": name})
    with pytest.raises(InvalidInputError, match="Only bytes and data URLs"):
        CustomWorkflow.from_plain(
            {"graph": {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}, "images": {"a.png": "/etc/passwd"}}
        )
    assert InstantID.from_plain({"prompt": "x", "reference_image": "data:image/png;base64,AAAA"})


def test_a_seed_is_drawn_once_and_stays_small_enough_for_javascript() -> None:
    seeds = {FluxDev(prompt="x").seeded().seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(seed is not None and 0 <= seed < 2**32 for seed in seeds)
    assert FluxDev(prompt="x", seed=2**64 - 1).seeded().seed == 2**64 - 1


def test_a_negative_prompt_at_cfg_1_is_noticed() -> None:
    assert [notice.code for notice in FluxDev(prompt="x", negative_prompt="blur").notices()] == ["negative_prompt_ignored"]
    assert FluxDev(prompt="x", negative_prompt="blur", cfg=2).notices() == ()
    assert FluxInstantID(prompt="x", reference_image=b"").notices() == ()


def test_turbo_brings_its_own_steps_unless_they_are_given() -> None:
    assert FluxDev(prompt="x", speed="turbo").steps == 8
    assert FluxDev(prompt="x", speed="turbo", steps=12).steps == 12
    wan = Wan2(prompt="x", model="14B", speed="turbo")
    assert (wan.steps, wan.cfg, wan.shift) == (4, 1.0, 5.0)


def test_the_trigger_word_stands_in_front_unless_the_prompt_has_it() -> None:
    def text(prompt: str) -> str:
        graph = FluxLora(prompt=prompt, lora_id="ada", trigger_word="ADA").build().to_api()
        return str(next(node["inputs"]["text"] for node in graph.values() if node["class_type"] == "CLIPTextEncode"))

    assert text("on a boat") == "ADA, on a boat"
    assert text("ada on a boat") == "ada on a boat"


def test_several_loras_are_applied_one_after_another() -> None:
    workflow = FluxLora(prompt="x", loras=(Lora("ada", 0.5), Lora("ink")))
    loaders = [
        node
        for node in workflow.build(Files(loras={"ada": "ada/0f.safetensors"})).to_api().values()
        if node["class_type"] == "LoraLoader"
    ]
    assert [(node["inputs"]["lora_name"], node["inputs"]["strength_model"]) for node in loaders] == [
        ("ada/0f.safetensors", 0.5),
        ("ink.safetensors", 1.0),
    ]
    from_list = FluxLora(prompt="x", loras=[Lora("ada", 0.5), Lora("ink")])
    assert from_list == workflow
    assert (from_list.loras, hash(from_list)) == (workflow.loras, hash(workflow)), "held as a tuple: frozen, and a key of dicts"


def test_a_custom_graph_gets_prompt_seed_and_images_and_saves_into_its_own_folder() -> None:
    graph = json.loads((GRAPHS / "flux_instantid_two_stage.json").read_text())
    workflow = CustomWorkflow(graph=graph, prompt="NEW", seed=5, images={"reference.png": b"x"})
    built = workflow.build(Files(prefix="ryla/job-1/workflow", media={"images[reference.png]": "ryla/aa.png"})).to_api()
    texts = {key: node["inputs"]["text"] for key, node in built.items() if node["class_type"] == "CLIPTextEncode"}
    assert texts == {"39": "NEW", "40": graph["40"]["inputs"]["text"], "106": "NEW", "133": ""}
    assert {node["inputs"]["seed"] for node in built.values() if "seed" in node["inputs"]} == {5}
    assert built["13"]["inputs"]["image"] == "ryla/aa.png"
    assert built["109"]["inputs"]["filename_prefix"] == "ryla/job-1/ryla"
    assert graph["39"]["inputs"]["text"] != "NEW"  # the caller's own graph is left alone


def test_a_custom_graph_cannot_save_outside_its_folder() -> None:
    graph = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "../../evil/..", "images": ["2", 0]}}}
    built = CustomWorkflow(graph=graph).build(Files(prefix="ryla/job-1/workflow")).to_api()
    assert built["1"]["inputs"]["filename_prefix"] == "ryla/job-1/output"


def test_a_graph_file_that_is_missing_or_no_json_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Cannot read"):
        CustomWorkflow.from_file(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InvalidInputError, match="is not JSON"):
        CustomWorkflow.from_file(tmp_path / "bad.json")


def test_weights_and_node_packs_are_found_from_the_graph() -> None:
    needed = FluxPulid(prompt="x", reference_image=b"").required_weights()
    assert {row.folder for row in needed} == {"checkpoints", "pulid", "insightface", "text_encoders", "facexlib"}
    assert sum(row.folder == "insightface" for row in needed) == 5
    assert [pack.name for pack in packs_for(InstantID(prompt="x", reference_image=b"").required_nodes())] == ["ComfyUI_InstantID"]
    assert packs_for(FluxDev(prompt="x").required_nodes()) == ()


def test_the_weights_table_leaves_the_unknown_unknown() -> None:
    for row in all_weights():
        assert row.sha256 is None or len(row.sha256) == 64
        assert (row.sha256 is None) == (row.sha256_source is None)
        assert row.bytes is None or row.bytes > 1000
        assert ".." not in row.name and not row.name.startswith("/")


def test_time_limits_grow_with_the_work() -> None:
    assert FluxDev(prompt="x").time_limit() == 120
    assert FluxDev(prompt="x", steps=40).time_limit() == 240
    assert FluxDev(prompt="x", batch_size=4).time_limit() == 480
    edits = [FluxKontext(prompt="x", image=b"", **fields).time_limit() for fields in ({}, {"batch_size": 4}, {"cfg": 2.0})]
    assert edits == [120, 480, 240]
    assert CustomWorkflow(graph={"1": {"class_type": "EmptyImage", "inputs": {}}}, limit=7).time_limit() == 7


def test_a_request_cannot_be_changed_only_copied() -> None:
    workflow = FluxDev(prompt="x", steps=4)
    with pytest.raises(Exception, match="frozen"):
        workflow.steps = 5
    assert (workflow.changed(steps=5).steps, workflow.steps) == (5, 4)


@pytest.mark.parametrize(
    ("node", "kind", "name"), [("\ud800", "LoadX", "image"), ("1", "Load\ud800", "image"), ("1", "LoadX", "\ud800")]
)
def test_a_lone_surrogate_in_a_graph_is_a_typed_error(node: str, kind: str, name: str) -> None:
    with pytest.raises(InvalidInputError):
        CustomWorkflow(graph={node: {"class_type": kind, "inputs": {name: "/etc/passwd"}}})


@pytest.mark.parametrize("cls", [cls for cls in built_in_classes() if not cls.own_graph], ids=lambda cls: cls.name)
def test_a_new_container_can_warm_up_with_every_workflow(cls: type[Workflow]) -> None:
    request = smallest(cls.name)
    assert {name: getattr(request, name) for name in cls.smallest} == dict(cls.smallest)
    assert request.required_weights()
