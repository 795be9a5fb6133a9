"""What a request needs is read from its graph: a plug-in and a JSON graph get the LoRAs and the checks that built-ins get."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from ryla_gen import Client, CustomWorkflow, FluxDev, FluxInstantID, FluxLora, FluxPulid, Generation, InstantID, Lora, Wan2
from ryla_gen.errors import FaceNotFoundError, LoraIncompatibleError
from ryla_gen.graphs.graph import Graph
from ryla_gen.workflows.base import Files, Workflow
from ryla_gen.workflows.fields import ImageInput
from tests.models.loras.files import file_name, lora, stored

SMALL: dict[str, Any] = {"prompt": "a red fox", "width": 256, "height": 256, "steps": 2, "seed": 7}


class Styled(Workflow):
    """A plug-in of somebody's: it asks for a stored LoRA and for a face, and inherits from no built-in."""

    name: ClassVar[str] = "styled"
    family: ClassVar[str] = "flux"

    style: str = "ada"
    photo: ImageInput | None = None

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        source = FluxLora(**SMALL, lora_id="placeholder") if self.photo is None else FluxPulid(**SMALL, reference_image=b"x")
        graph = Graph.from_api(source.build(files if self.photo is None else Files(prefix=files.prefix)).to_api())
        for node in graph.nodes.values():
            if node.class_type == "LoraLoader":
                node.inputs["lora_name"] = files.lora(self.style)  # type: ignore[index]
            if node.class_type == "LoadImage":
                node.inputs["image"] = files.of("photo")  # type: ignore[index]
        return graph


def json_graph(workflow: Workflow, **loaders: str) -> dict[str, Any]:
    """A built-in's graph as somebody exported it, with other files in its loaders."""
    graph = copy.deepcopy(workflow.build().to_api())
    for node in graph.values():
        node["inputs"] |= {name: value for name, value in loaders.items() if name in node["inputs"]}
    return graph


def lora_names(generation: Generation) -> list[str]:
    return [node["inputs"]["lora_name"] for node in generation.graph.values() if node["class_type"] == "LoraLoader"]


@pytest.fixture
def client() -> Iterator[Client]:
    with Client("emulator") as made:
        yield made


@pytest.fixture
def flat() -> bytes:
    """A picture without a face, for the emulator's rule."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "#808080").save(buffer, "PNG")
    return buffer.getvalue()


# -- reading ----------------------------------------------------------------------------------------------------------


def test_loras_and_their_base_are_read_from_the_graph() -> None:
    assert FluxLora(**SMALL, lora_id="ada").stored_loras() == {"ada": "flux"}
    assert FluxLora(**SMALL, loras=[Lora("ada"), Lora("bob")], checkpoint="mine.safetensors").stored_loras() == {
        "ada": "flux",
        "bob": "flux",
    }
    assert FluxDev(**SMALL, speed="turbo").stored_loras() == {}, "a file of the weights table is no stored LoRA"
    flux = json_graph(FluxLora(**SMALL, lora_id="ada"))
    assert CustomWorkflow(graph=flux).stored_loras() == {"ada": "flux"}
    pushed = json_graph(FluxLora(**SMALL, lora_id="ada"), lora_name="ada/0123456789abcdef.safetensors")
    assert CustomWorkflow(graph=pushed).stored_loras() == {"ada": "flux"}
    windows = json_graph(FluxLora(**SMALL, lora_id="ada"), lora_name="ada\\0123456789abcdef.safetensors")
    assert CustomWorkflow(graph=windows).stored_loras() == {"ada": "flux"}
    sdxl = json_graph(FluxLora(**SMALL, lora_id="ada"), ckpt_name="sd_xl_base_1.0.safetensors")
    assert CustomWorkflow(graph=sdxl).stored_loras() == {"ada": "sdxl"}
    unknown = json_graph(FluxLora(**SMALL, lora_id="ada"), ckpt_name="somebodys.safetensors")
    assert CustomWorkflow(graph=unknown).stored_loras() == {"ada": None}
    folder = json_graph(FluxLora(**SMALL, lora_id="ada"), lora_name="styles/Ada v2.safetensors")
    assert CustomWorkflow(graph=folder).stored_loras() == {}, "a file in a folder of the server's own"


def test_the_text_encoders_tell_the_base_of_a_model_that_the_table_does_not_know() -> None:
    graph = json_graph(Wan2(prompt="waves", seed=7), unet_name="somebodys_wan.safetensors")
    [loader] = [node_id for node_id, node in graph.items() if node["class_type"] == "UNETLoader"]
    graph["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": [loader, 0], "lora_name": "ada.safetensors"}}
    assert CustomWorkflow(graph=graph).stored_loras() == {"ada": "wan"}
    known = json_graph(Wan2(prompt="waves", seed=7))
    assert CustomWorkflow(graph={**known, "lora": graph["lora"]}).stored_loras() == {"ada": "wan 1.3B"}, (
        "the table's file has a size"
    )


@pytest.mark.parametrize(
    ("kind", "encoder", "base"),
    [
        ("qwen_image", "qwen_2.5_vl_7b_fp8_scaled.safetensors", "qwen"),
        ("flux2", "qwen_3_4b.safetensors", "flux2"),
        ("flux2", "mistral_3_small_flux2_bf16.safetensors", "flux2"),
        ("wan", "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "wan"),
        ("lumina2", "qwen_3_4b.safetensors", "z_image"),
        ("lumina2", "gemma_2_2b_fp16.safetensors", None),
        ("sd3", "qwen_3_4b.safetensors", None),
    ],
)
def test_a_text_encoders_type_tells_the_base_and_its_file_where_two_models_share_the_type(
    kind: str, encoder: str, base: str | None
) -> None:
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "somebodys.safetensors"}},
        "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": encoder, "type": kind}},
        "3": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0], "lora_name": "ada.safetensors"}},
    }
    assert CustomWorkflow(graph=graph).stored_loras() == {"ada": base}


def test_a_circle_of_models_is_read_to_its_end() -> None:
    graph = {
        "1": {"class_type": "LoraLoader", "inputs": {"model": ["2", 0], "lora_name": "ada.safetensors"}},
        "2": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "lora_name": "bob.safetensors"}},
    }
    assert CustomWorkflow(graph=graph).stored_loras() == {"ada": None, "bob": None}


def test_faces_are_read_from_the_graph(face: bytes) -> None:
    assert FluxPulid(**SMALL, reference_image=face).face_pictures() == {"reference_image": face}
    assert InstantID(prompt="x", reference_image=face).face_pictures() == {}, "InstantID's node says so itself"
    assert FluxInstantID(prompt="x", reference_image=face).face_pictures() == {}
    assert Styled(photo=face).face_pictures() == {"photo": face}
    graph = json_graph(FluxPulid(**SMALL, reference_image=face))
    assert CustomWorkflow(graph=graph).face_pictures() == {"reference_image.png": None}, "it lies on the server"
    assert CustomWorkflow(graph=graph, images={"reference_image.png": face}).face_pictures() == {
        "images[reference_image.png]": face
    }
    [loader] = [node_id for node_id, node in graph.items() if node["class_type"] == "LoadImage"]
    graph["crop"] = {"class_type": "ImageScale", "inputs": {"image": [loader, 0], "width": 512, "height": 512}}
    [pulid] = [node for node in graph.values() if node["class_type"] == "ApplyPulidFlux"]
    pulid["inputs"]["image"] = ["crop", 0]
    assert CustomWorkflow(graph=graph).face_pictures() == {"reference_image.png": None}, "through a node on the way"


# -- running ----------------------------------------------------------------------------------------------------------


def test_a_plug_in_and_a_json_graph_use_a_pushed_lora(client: Client, tmp_path: Path) -> None:
    data = lora(seed=1)
    client.loras.push(stored(tmp_path, "ada.safetensors", data))
    name = f"ada/{file_name(data)}"
    assert lora_names(client.run(Styled())) == [name]
    for drawn in ("ada.safetensors", "ada/0123456789abcdef.safetensors"):
        graph = json_graph(FluxLora(**SMALL, lora_id="ada"), lora_name=drawn)
        assert lora_names(client.run(CustomWorkflow(graph=graph))) == [name]


def test_a_lora_for_another_base_is_refused_for_a_plug_in_and_for_a_json_graph(client: Client, tmp_path: Path) -> None:
    client.loras.push(stored(tmp_path, "wide.safetensors", lora("sdxl, kohya")))
    for workflow in (Styled(style="wide"), CustomWorkflow(graph=json_graph(FluxLora(**SMALL, lora_id="wide")))):
        with pytest.raises(LoraIncompatibleError, match="made for SDXL, not for FLUX.1"):
            client.run(workflow)


def test_a_picture_without_a_face_is_refused_for_a_plug_in_and_for_a_json_graph(client: Client, flat: bytes, face: bytes) -> None:
    graph = json_graph(FluxPulid(**SMALL, reference_image=face))
    with pytest.raises(FaceNotFoundError) as caught:
        client.run(CustomWorkflow(graph=graph, images={"reference_image.png": flat}))
    assert caught.value.details == {"input": "images[reference_image.png]"}
    with pytest.raises(FaceNotFoundError) as caught:
        client.run(Styled(photo=flat))
    assert caught.value.details == {"input": "photo"}
    assert client.run(CustomWorkflow(graph=graph, images={"reference_image.png": face})).image.size == (256, 256)
