"""Graphs that others made: what the emulator does not have is stood in for and told, or refused before the start."""

from __future__ import annotations

import asyncio
import copy
import inspect
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from running import Graph, Runner, folders_in, png

from ryla_gen import Client, CustomWorkflow, FluxLora, Generation, QwenImageEdit, ZImage
from ryla_gen.comfy.schema import input_specs
from ryla_gen.emulator.base import Folders
from ryla_gen.emulator.nodes import NODES
from ryla_gen.emulator.nodes.logic import evaluate
from ryla_gen.emulator.sampling.samplers import SAMPLERS
from ryla_gen.emulator.server import Emulator
from ryla_gen.emulator.server.coverage import coverage
from ryla_gen.emulator.server.plan import ExecutionPlan, nest_inputs
from ryla_gen.emulator.server.stand_ins import inputs_by_output
from ryla_gen.emulator.video import write
from ryla_gen.errors import LoraNotFoundError, ModelNotFoundError, NotEmulatedError
from ryla_gen.media.origin import EMULATED_EDIT, TOOL
from ryla_gen.media.provenance import read_mark
from ryla_gen.models.node_schemas import VERSIONS, node_schemas

SCHEMAS = node_schemas()


def z_image(**nodes: Any) -> Graph:
    """The shape of the official Z-Image template, small; further arguments replace nodes."""
    graph: Graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "my_z_image.safetensors", "weight_dtype": "default"}},
        "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "my_qwen.safetensors", "type": "lumina2"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 0], "text": "a lighthouse at dusk"}},
        "5": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["4", 0]}},
        "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "7": {"class_type": "ModelSamplingAuraFlow", "inputs": {"model": ["1", 0], "shift": 3.0}},
        "8": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["7", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["6", 0], "seed": 1, "steps": 3,
                "cfg": 1.0, "sampler_name": "res_multistep", "scheduler": "simple", "denoise": 1.0,
            },
        },
        "9": {"class_type": "VAEDecode", "inputs": {"samples": ["8", 0], "vae": ["3", 0]}},
        "10": {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "z"}},
    }  # fmt: skip
    return graph | nodes


def loaded(*middle: dict[str, Any]) -> Graph:
    """LoadImage, the given nodes each fed by the one before, SaveImage."""
    graph: Graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}}}
    for entry in middle:
        name = next(key for key, value in entry["inputs"].items() if value is ...)
        graph[str(len(graph) + 1)] = {**entry, "inputs": {**entry["inputs"], name: [str(len(graph)), 0]}}
    graph[str(len(graph) + 1)] = {"class_type": "SaveImage", "inputs": {"images": [str(len(graph)), 0], "filename_prefix": "x"}}
    return graph


MORPHOLOGY = {"class_type": "Morphology", "inputs": {"image": ..., "operation": "erode", "kernel_size": 3}}
PICTURE = Image.radial_gradient("L").convert("RGB").resize((64, 48))


@pytest.fixture(scope="module")
def served() -> Iterator[Emulator]:
    with Emulator(comfyui="0.28.2") as server:
        PICTURE.save(server.folders.input / "in.png")
        yield server


@pytest.fixture
def here(tmp_path: Path) -> Folders:
    folders = folders_in(tmp_path)
    PICTURE.save(folders.input / "in.png")
    return folders


# Weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_process", [True, False])
def test_files_that_are_not_known_are_gone_by_their_names_and_the_result_says_so(served: Emulator, in_process: bool) -> None:
    graph = z_image()
    graph["4"]["inputs"]["text"] = "a lighthouse, embedding:easynegative, dusk"
    graph["7"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["1", 0], "lora_name": "pixel\\art.safetensors", "strength_model": 1.0},
    }
    with Client("emulator") if in_process else Client(url=served.url) as client:
        generation = client.run(CustomWorkflow(graph=graph))
        again = client.run(CustomWorkflow(graph=graph))  # every node is cached: the warning comes all the same
    for made in (generation, again):
        (warning,) = [item for item in made.warnings if item.code == "emulated_weights"]
        for name in ("my_z_image.safetensors", "my_qwen.safetensors", "art.safetensors", "easynegative"):
            assert name in warning.message
        assert "ae.safetensors" not in warning.message  # that one it has
    assert generation.image.size == (64, 64)


def test_a_result_of_known_weights_says_nothing_of_stand_ins() -> None:
    graph = z_image()
    graph["1"]["inputs"]["unet_name"] = "flux1-dev.safetensors"
    graph["2"]["inputs"]["clip_name"] = "clip_l.safetensors"
    with Client("emulator") as client:
        warnings = client.run(CustomWorkflow(graph=graph)).warnings
    assert [item.code for item in warnings if item.code.startswith("emulated_")] == []


def test_a_stored_lora_that_is_not_there_stays_an_error() -> None:
    with Client("emulator") as client, pytest.raises(LoraNotFoundError) as caught:
        client.run(FluxLora(prompt="a fox", lora_id="nobody", width=256, height=256))
    assert "nobody" in caught.value.message
    assert "ryla-gen lora push" in caught.value.hint
    assert caught.value.started == "no"


def test_a_strict_emulator_refuses_such_names_as_comfyui_does() -> None:
    with Emulator(comfyui="0.28.2", strict=True) as server, Client(url=server.url) as client:
        with pytest.raises(ModelNotFoundError, match=r"my_z_image|my_qwen"):
            client.run(CustomWorkflow(graph=z_image()))
        assert server.stats.prompts == 0


def test_a_value_that_is_no_file_name_stays_a_mistake(served: Emulator) -> None:
    graph = z_image()
    graph["1"]["inputs"]["unet_name"] = "z image"
    with Client(url=served.url) as client, pytest.raises(ModelNotFoundError, match="z image"):
        client.run(CustomWorkflow(graph=graph))


@pytest.mark.parametrize(
    "empty", ["EmptyLatentImage", "EmptySD3LatentImage", "EmptyFlux2LatentImage", "EmptyCosmosLatentVideo", "EmptyLTXVLatentVideo"]
)
@pytest.mark.parametrize("vae", ["ae.safetensors", "wan_2.1_vae.safetensors", "qwen_image_vae.safetensors"])
def test_the_latents_of_an_unknown_model_fit(here: Folders, empty: str, vae: str) -> None:
    graph = z_image()
    graph["6"]["class_type"] = empty
    graph["3"]["inputs"]["vae_name"] = vae
    if "Video" in empty:
        graph["6"]["inputs"]["length"] = 9
    frames = Runner(graph, here).value("9", 0)
    assert frames.shape == (9 if "Video" in empty and vae != "ae.safetensors" else 1, 64, 64, 3)
    assert frames.std() > 0.01


# Words -----------------------------------------------------------------------------------------------------------


def words_of(generation: Generation) -> str:
    """What the warning about words names, between "paint" and the full stop; empty without a warning."""
    said = [item.message for item in generation.warnings if item.code == "emulated_words"]
    assert len(said) <= 1
    return said[0].removeprefix("The emulator did not paint: ").partition(". It stands in")[0] if said else ""


def test_the_words_that_no_picture_shows_are_named_once_and_the_same_for_cached_nodes(served: Emulator) -> None:
    tiny = {"width": 256, "height": 256, "seed": 7}
    with Client(url=served.url) as client:
        first = client.run(ZImage(prompt="An astronaut by the sea at dusk, Cinematic", **tiny, batch_size=2))
        again = client.run(ZImage(prompt="An astronaut by the sea at dusk, Cinematic", **tiny, batch_size=2))
        painted = client.run(ZImage(prompt="a lighthouse at dusk, red roof", **tiny))
    assert words_of(first) == words_of(again) == "'astronaut', 'cinematic'"
    assert painted.warnings == ()


def test_of_several_prompts_every_positive_one_counts_and_no_negative_one() -> None:
    graph = z_image()
    graph["4"]["inputs"]["text"] = "a fox"
    graph["20"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "a hare", "clip": graph["4"]["inputs"]["clip"]}}
    graph["21"] = {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["4", 0], "conditioning_2": ["20", 0]}}
    sampler = next(node for node in graph.values() if node["class_type"] == "KSampler")
    sampler["inputs"]["positive"] = ["21", 0]
    graph["5"] = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 0], "text": "blurry"}}
    with Client("emulator") as client:
        assert words_of(client.run(CustomWorkflow(graph=graph))) == "'fox', 'hare'"


def test_two_results_of_one_graph_have_one_list_of_words() -> None:
    graph = z_image()
    kinds = {node["class_type"]: node_id for node_id, node in graph.items()}
    graph["4"]["inputs"]["text"] = "a fox"
    graph["20"] = {"class_type": "CLIPTextEncode", "inputs": {**graph["4"]["inputs"], "text": "a hare"}}
    sampler, decode, save = (graph[kinds[name]] for name in ("KSampler", "VAEDecode", "SaveImage"))
    graph["21"] = {"class_type": "KSampler", "inputs": {**sampler["inputs"], "positive": ["20", 0]}}
    graph["22"] = {"class_type": "VAEDecode", "inputs": {**decode["inputs"], "samples": ["21", 0]}}
    graph["23"] = {"class_type": "SaveImage", "inputs": {**save["inputs"], "images": ["22", 0]}}
    with Client("emulator") as client:
        made = client.run(CustomWorkflow(graph=graph))
    assert len(made.outputs) == 2
    assert set(words_of(made).split(", ")) == {"'fox'", "'hare'"}


def test_an_edit_names_only_what_it_cannot_change() -> None:
    picture = png(PICTURE)
    with Client("emulator") as client:
        made = client.run(
            QwenImageEdit(prompt="make the sky red and give him a hat", images=[picture], width=256, height=256, steps=1)
        )
    assert words_of(made) == "'hat'"


def test_a_page_of_words_is_cut() -> None:
    page = " ".join(["x" * 200, *(f"thing{number}" for number in range(50))])
    with Client("emulator") as client:
        said = words_of(client.run(ZImage(prompt=page, width=256, height=256, steps=1)))
    assert len(said) < 200 and said.endswith("and 43 more")


# Classes ---------------------------------------------------------------------------------------------------------


def test_a_class_without_an_emulation_passes_its_picture_on_and_is_named(served: Emulator) -> None:
    assert "Morphology" not in NODES
    with Client(url=served.url) as client:
        generation = client.run(CustomWorkflow(graph=loaded(MORPHOLOGY)))
    (warning,) = [item for item in generation.warnings if item.code == "emulated_nodes"]
    assert "Morphology" in warning.message
    original = np.asarray(PICTURE, float)[:24, :24]  # the mark is at the lower right
    assert np.abs(np.asarray(generation.image, float)[:24, :24] - original).max() <= 1


def test_what_has_no_source_behind_it_is_all_named_before_anything_runs(served: Emulator) -> None:
    painter = {"class_type": "Painter", "inputs": {"mask": "", "width": 64, "height": 64, "bg_color": "#000000"}}
    graph: Graph = {
        "1": painter,
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        "3": {"class_type": "ModelSave", "inputs": {"model": ["4", 0], "filename_prefix": "x"}},
        "4": {"class_type": "UNETLoader", "inputs": {"unet_name": "z.safetensors", "weight_dtype": "default"}},
    }
    before = served.stats.executed
    with Client(url=served.url) as client, pytest.raises(NotEmulatedError) as caught:
        client.run(CustomWorkflow(graph=graph))
    stops = {(item["node_id"], item["class_type"]) for item in caught.value.details["nodes"]}
    assert stops == {("1", "Painter"), ("3", "ModelSave")}
    assert caught.value.started == "no"
    assert served.stats.executed == before


def test_a_size_or_a_prompt_is_no_picture_behind_a_stand_in() -> None:
    """LoadImage gives only numbers and conditioning here; the picture would be the stand-in's alone."""
    graph = loaded()
    graph["1"]["inputs"]["image"] = "in.png"
    graph["3"] = {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}}
    graph["4"] = {
        "class_type": "Painter",
        "inputs": {"mask": "", "width": ["3", 0], "height": ["3", 1], "bg_color": "#000000"},
    }
    graph["2"]["inputs"]["images"] = ["4", 0]
    assert [stop.class_type for stop in coverage(graph, SCHEMAS, ["2"], NODES).stops] == ["Painter"]
    graph["4"]["inputs"]["image"] = ["1", 0]
    assert coverage(graph, SCHEMAS, ["2"], NODES).stops == ()


def test_each_picture_that_an_output_shows_needs_a_source() -> None:
    graph = loaded(MORPHOLOGY)
    graph["9"] = {"class_type": "Painter", "inputs": {"mask": "", "width": 64, "height": 64, "bg_color": "#000000"}}
    graph["3"] = {"class_type": "ImageCompare", "inputs": {"compare_view": "", "image_a": ["2", 0], "image_b": ["9", 0]}}
    assert [stop.node_id for stop in coverage(graph, SCHEMAS, ["3"], NODES).stops] == ["9"]


def test_a_long_chain_of_switches_is_looked_through_without_recursion() -> None:
    graph = loaded()
    for place in range(3, 3000):
        source = [str(place - 1), 0] if place > 3 else ["1", 0]
        graph[str(place)] = {"class_type": "ComfySwitchNode", "inputs": {"switch": True, "on_true": source, "on_false": source}}
    graph["2"]["inputs"]["images"] = ["2999", 0]
    assert coverage(graph, SCHEMAS, ["2"], NODES).stops == ()


def test_which_input_an_output_passes_on_follows_from_the_types() -> None:
    both = {"positive": "CONDITIONING", "negative": "CONDITIONING", "frame_rate": "FLOAT"}
    assert inputs_by_output(SCHEMAS["LTXVConditioning"], both) == [("positive",), ("negative",)]
    vace = {"positive": "CONDITIONING", "negative": "CONDITIONING", "vae": "VAE", "width": "INT", "height": "INT", "length": "INT"}
    assert inputs_by_output(SCHEMAS["WanVaceToVideo"], vace) == [("positive",), ("negative",), (), ()]
    assert inputs_by_output(SCHEMAS["DA3Inference"], {"da3_model": "DA3_MODEL", "image": "IMAGE"}) == [("image",)]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_emulated_class_takes_what_its_schema_lets_a_graph_give(version: str) -> None:
    schemas = node_schemas(version)
    wrong = []
    for kind, emulated in NODES.items():
        if kind not in schemas:
            continue
        parameters = list(inspect.signature(emulated.run).parameters.values())[1:]
        named = {item.name for item in parameters if item.kind is not item.VAR_KEYWORD}
        specs = input_specs(schemas[kind])
        if len(named) == len(parameters) and (extra := set(specs) - named):
            wrong.append((kind, "does not take", extra))
        needed = {item.name for item in parameters if item.default is item.empty and item.kind is not item.VAR_KEYWORD}
        if lacking := needed - set(schemas[kind]["input"].get("required") or {}):
            wrong.append((kind, "needs", lacking))
    assert wrong == []


# Inputs of the newer kind ----------------------------------------------------------------------------------------


def test_dotted_inputs_reach_a_node_as_one_mapping() -> None:
    given = {"a": "by", "a.by": 2, "images.image0": 1, "images.image1": 2, "plain": 3, "a.deep": "x", "a.deep.er": 4}
    assert nest_inputs(given) == {
        "a": {"a": "by", "by": 2, "deep": {"deep": "x", "er": 4}},
        "images": {"image0": 1, "image1": 2},
        "plain": 3,
    }


@pytest.mark.parametrize(
    ("way", "size"),
    [
        ({"resize_type": "scale by multiplier", "resize_type.multiplier": 0.5}, (32, 24)),
        ({"resize_type": "scale longer dimension", "resize_type.longer_size": 32}, (32, 24)),
        ({"resize_type": "scale shorter dimension", "resize_type.shorter_size": 24}, (32, 24)),
        ({"resize_type": "scale width", "resize_type.width": 32}, (32, 24)),
        (
            {"resize_type": "scale dimensions", "resize_type.width": 20, "resize_type.height": 20, "resize_type.crop": "center"},
            (20, 20),
        ),
        ({"resize_type": "scale to multiple", "resize_type.multiple": 40}, (40, 40)),
    ],
)
def test_a_picture_is_resized_as_its_dynamic_inputs_say(served: Emulator, way: dict[str, Any], size: tuple[int, int]) -> None:
    graph = loaded({"class_type": "ResizeImageMaskNode", "inputs": {"input": ..., "scale_method": "area", **way}})
    with Client(url=served.url) as client:
        assert client.run(CustomWorkflow(graph=graph)).image.size == size


def test_a_growing_list_of_pictures_is_one_batch(served: Emulator) -> None:
    graph = loaded()
    graph["3"] = {"class_type": "BatchImagesNode", "inputs": {"images.image0": ["1", 0], "images.image1": ["1", 0]}}
    graph["2"]["inputs"]["images"] = ["3", 0]
    with Client(url=served.url) as client:
        assert len(client.run(CustomWorkflow(graph=graph)).outputs) == 2


@pytest.mark.parametrize("linked", [True, False])
async def test_a_switch_runs_only_the_branch_that_it_takes(linked: bool) -> None:
    graph = loaded()
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    graph["4"] = {"class_type": "ImageFlip", "inputs": {"image": ["1", 0], "flip_method": "x-axis: vertically"}}
    graph["5"] = {"class_type": "PrimitiveBoolean", "inputs": {"value": True}}
    switch = ["5", 0] if linked else True
    graph["6"] = {"class_type": "ComfySwitchNode", "inputs": {"switch": switch, "on_false": ["3", 0], "on_true": ["4", 0]}}
    graph["2"]["inputs"]["images"] = ["6", 0]
    with Emulator(comfyui="0.28.2") as server:
        PICTURE.save(server.folders.input / "in.png")
        with Client(url=server.url) as client:
            await asyncio.to_thread(client.run, CustomWorkflow(graph=copy.deepcopy(graph)))
        assert server.stats.executed == (5 if linked else 4)  # all but node 3, and node 5 where it is linked


def test_a_plan_takes_up_what_a_lazy_node_turns_out_to_need_once() -> None:
    inputs = {"a": {}, "b": {"x": ["a", 0]}, "s": {"switch": ["c", 0], "x": ["b", 0]}, "c": {}}
    done: list[str] = []
    plan = ExecutionPlan(inputs, frozenset({"s"}), lambda node: ("x",) if node == "s" and "c" not in done else ())
    plan.find(["s"], set())
    for node in plan:
        done.append(node)  # noqa: PERF402 - the plan reads it between two nodes
    assert done == ["c", "a", "b", "s"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a * 32 + 1", 65),
        ("round(a / 3, 2)", 0.67),
        ("max(values)", 5),
        ("a if b > 3 else 0", 2),
        ("2 ** 10 // 3", 341),
        ("-a % 3", 1),
    ],
)
def test_expressions_are_calculated(text: str, value: float) -> None:
    assert evaluate(text, {"a": 2, "b": 5, "values": [2, 5]}) == value


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a.real", "(lambda: 1)()", "[x for x in values]", "9 ** 9 ** 9", "'a' * 3", "open", "1 +", "(" * 900],
)
def test_an_expression_holds_nothing_but_arithmetic(text: str) -> None:
    with pytest.raises(ValueError):
        evaluate(text, {"a": 2, "values": [2]})


# Samplers and files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_paints_and_seeds_differ(here: Folders, name: str) -> None:
    made = []
    for seed in (1, 2):
        graph = z_image()
        graph["8"]["inputs"] |= {"sampler_name": name, "seed": seed, "cfg": 3.0}
        made.append(Runner(graph, here).value("9", 0))
        assert np.isfinite(made[-1]).all()
        assert made[-1].std() > 0.01
    assert np.abs(made[0] - made[1]).max() > 0.01


@pytest.mark.parametrize("kind", [kind for kind, schema in SCHEMAS.items() if set(schema["output"]) & {"SAMPLER", "SIGMAS"}])
def test_every_node_of_samplers_and_schedules_runs(served: Emulator, kind: str) -> None:
    """In a graph with SamplerCustom, its inputs at their defaults; those it links to are there."""
    parts = {"MODEL": ["1", 0], "LATENT": ["6", 0], "SIGMAS": ["20", 0], "SAMPLER": ["21", 0]}
    inputs = {}
    for name, spec in input_specs(SCHEMAS[kind]).items():
        default = spec.config.get("default", (list(spec.options) if spec.options else [0])[0])
        inputs[name] = parts[spec.type] if isinstance(spec.type, str) and spec.type in parts else default
    if kind == "ManualSigmas":
        inputs["sigmas"] = "1.0, 0.6, 0.3, 0.0"
    if "steps" in inputs:
        inputs["steps"] = 4
    place = SCHEMAS[kind]["output"][0]
    graph = z_image(
        **{
            "20": {"class_type": "BasicScheduler", "inputs": {"model": ["1", 0], "scheduler": "simple", "steps": 4, "denoise": 1.0}}
        },
        **{"21": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}},
        **{"22": {"class_type": kind, "inputs": inputs}},
    )
    graph["8"] = {
        "class_type": "SamplerCustom",
        "inputs": {
            "model": ["1", 0], "add_noise": True, "noise_seed": 1, "cfg": 1.0, "positive": ["4", 0], "negative": ["5", 0],
            "sampler": ["22" if place == "SAMPLER" else "21", 0], "sigmas": ["22" if place == "SIGMAS" else "20", 0],
            "latent_image": ["6", 0],
        },
    }  # fmt: skip
    with Client(url=served.url) as client:
        assert client.run(CustomWorkflow(graph=graph)).image.size == (64, 64)


def song(save: dict[str, Any]) -> Graph:
    """A small graph of an audio model that nobody has."""
    graph = z_image()
    graph["6"] = {"class_type": "EmptyAceStep1.5LatentAudio", "inputs": {"seconds": 1.5, "batch_size": 1}}
    graph["9"] = {"class_type": "VAEDecodeAudio", "inputs": {"samples": ["8", 0], "vae": ["3", 0]}}
    graph["10"] = {**save, "inputs": {**save["inputs"], "audio": ["9", 0], "filename_prefix": "song"}}
    return graph


@pytest.mark.parametrize(
    ("save", "codec"),
    [
        ({"class_type": "SaveAudioMP3", "inputs": {"quality": "V0"}}, "mp3"),
        ({"class_type": "SaveAudioOpus", "inputs": {"quality": "128k"}}, "opus"),
        ({"class_type": "SaveAudio", "inputs": {}}, "flac"),
        ({"class_type": "SaveAudioAdvanced", "inputs": {"format": "mp3", "format.quality": "V0"}}, "mp3"),
    ],
)
def test_an_audio_model_plays_a_plain_tune_that_says_it_is_emulated(served: Emulator, save: dict[str, Any], codec: str) -> None:
    with Client(url=served.url) as client:
        one, other = (client.run(CustomWorkflow(graph=song(save)).with_values({"8.seed": seed})).outputs[0].data for seed in (1, 2))
    assert one != other
    with av.open(io.BytesIO(one)) as sound:
        stream = sound.streams.audio[0]
        assert stream.codec_context.name.startswith(codec)
        assert sum(frame.samples for frame in sound.decode(audio=0)) / stream.rate == pytest.approx(1.5, abs=0.15)
        assert "true" in {**sound.metadata, **stream.metadata}.get("ryla:emulated", "")


def test_a_shape_is_a_cube_in_a_file_that_says_it_is_emulated(served: Emulator) -> None:
    graph = z_image()
    graph["6"] = {"class_type": "EmptyLatentHunyuan3Dv2", "inputs": {"resolution": 3072, "batch_size": 1}}
    graph["9"] = {
        "class_type": "VAEDecodeHunyuan3D",
        "inputs": {"samples": ["8", 0], "vae": ["3", 0], "num_chunks": 8000, "octree_resolution": 256},
    }
    graph["11"] = {"class_type": "VoxelToMesh", "inputs": {"voxel": ["9", 0], "algorithm": "surface net", "threshold": 0.6}}
    graph["10"] = {"class_type": "SaveGLB", "inputs": {"mesh": ["11", 0], "filename_prefix": "mesh"}}
    with Client(url=served.url) as client:
        data = client.run(CustomWorkflow(graph=graph)).outputs[0].data
    assert data[:4] == b"glTF"
    assert int.from_bytes(data[8:12], "little") == len(data)
    assert b"(emulated)" in data


def test_a_transparent_picture_keeps_its_mark(served: Emulator) -> None:
    graph = loaded()
    graph["3"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 48}}
    graph["4"] = {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["1", 0], "alpha": ["3", 0]}}
    graph["2"]["inputs"]["images"] = ["4", 0]
    with Client(url=served.url) as client:
        alpha = np.asarray(client.run(CustomWorkflow(graph=graph)).image.getchannel("A"))
    assert alpha[:24, :24].max() == 0
    assert alpha.max() > 100


def test_a_video_in_and_out_again(served: Emulator) -> None:
    frames = [np.asarray(PICTURE)] * 5
    write(served.folders.input / "in.mp4", frames, PICTURE.size, Fraction(8), "h264", {})
    graph: Graph = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "in.mp4"}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": ["2", 2], "bit_depth": ["2", 3]}},
        "4": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0], "filename_prefix": "v", "format": "auto", "codec": "auto"}},
    }
    with Client(url=served.url) as client:
        video = client.run(CustomWorkflow(graph=graph)).video
    assert (video.frames, video.fps) == (5, 8.0)


def test_files_on_the_server_and_the_result_have_the_same_mark_once_and_what_was_given_has_none(served: Emulator) -> None:
    graph = loaded()
    before = {*served.folders.output.rglob("*.png")}
    graph["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    with Client(url=served.url) as client:
        made = client.run(CustomWorkflow(graph=graph)).outputs
    (saved,) = {*served.folders.output.rglob("*.png")} - before
    previews = list(served.folders.temp.glob("*.png"))
    for data in (saved.read_bytes(), *(path.read_bytes() for path in previews), *(output.data for output in made)):
        assert read_mark(data, "image/png") == (EMULATED_EDIT, f"{TOOL} (emulated)")
        assert data.count(b"<?xpacket begin") == 1
    assert previews
    assert read_mark((served.folders.input / "in.png").read_bytes(), "image/png") == (None, None)


def test_a_picture_that_was_saved_goes_on(here: Folders) -> None:
    """0.28.2's output nodes have outputs of their own."""
    graph = loaded()
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}}
    assert png(PICTURE)
    assert Runner(graph, here).value("3", 0).shape == (1, 48, 64, 3)
