"""What a server lacks is said before the run, all of it in one error, with where it comes from and how to bring it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, CustomWorkflow, FluxDev, Wan2, Wan22
from ryla_gen.comfy.errors import missing_file
from ryla_gen.comfy.requirements import missing_for
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import ModelNotFoundError, WorkflowInvalidError
from ryla_gen.models.node_schemas import OLDEST_VERSION, node_schemas
from ryla_gen.remote.variants import default_of
from ryla_gen.workflows.preview import default_files
from ryla_gen.workflows.registry import workflow_class
from ryla_gen_cli.commands.weights import rows_of
from tests.cli.shell import envelope, here
from tests.media_samples import encoded, picture

FLUX = "flux1-dev-fp8.safetensors"


def bare(*without: str, **files: list[str]) -> dict[str, Any]:
    """Node schemas of a server without some node classes, whose model lists are empty but for ``files`` (input → names)."""
    found = json.loads(json.dumps({name: schema for name, schema in node_schemas(OLDEST_VERSION).items() if name not in without}))
    for schema in found.values():
        for inputs in (schema.get("input") or {}).values():
            for name, entry in (inputs or {}).items():
                if isinstance(entry[0], list) and any(str(item).endswith((".safetensors", ".pt", ".bin")) for item in entry[0]):
                    entry[0] = files.get(name, [])
                elif name in files:
                    entry[0] = files[name]
    return found


def graph_of(name: str) -> dict[str, Any]:
    return default_of(workflow_class(name)).build().to_api()


def test_a_server_that_has_everything_lacks_nothing() -> None:
    schemas = bare(ckpt_name=[FLUX])
    assert not missing_for("flux_dev", graph_of("flux_dev"), schemas)


def test_every_missing_file_is_named_with_its_folder_size_and_source() -> None:
    found = missing_for("wan2", graph_of("wan2"), bare(vae_name=["pixel_space"]))
    assert {item.folder for item in found.files} == {"diffusion_models", "text_encoders", "vae"}
    error = found.error()
    assert isinstance(error, ModelNotFoundError)
    assert "vae/wan_2.1_vae.safetensors (253.8 MB, Comfy-Org/Wan_2.1_ComfyUI_repackaged)" in error.message
    assert "ryla-gen weights sync wan2 --local COMFYUI/models" in error.hint and "ryla-gen local install wan2" in error.hint
    assert [item["file"] for item in error.details["files"]] == [item.name for item in found.files]
    assert error.details["bytes"] == found.bytes > 6_000_000_000


def test_a_file_of_unknown_size_is_not_said_to_have_none() -> None:
    graph = FluxDev(prompt="a fox", checkpoint="mine.safetensors").build().to_api()
    found = missing_for("flux_dev", graph, bare(ckpt_name=[FLUX]))
    assert found.bytes is None
    assert found.error().details["bytes"] is found.error().details["files"][0]["bytes"] is None
    assert missing_for("flux_dev", graph, bare(ckpt_name=["mine.safetensors"])).bytes == 0


def test_a_missing_pack_is_named_with_its_commit_and_what_nobody_can_see_without_it() -> None:
    graph = graph_of("flux_pulid")
    gone = [name for name in (node["class_type"] for node in graph.values()) if "Pulid" in name]
    found = missing_for("flux_pulid", graph, bare(*gone, ckpt_name=[FLUX]))
    error = found.error()
    assert isinstance(error, WorkflowInvalidError)
    assert all(name in error.message for name in gone) and "antelopev2" in error.message
    assert "git clone https://github.com/lldacing/ComfyUI_PuLID_Flux_ll" in error.hint
    assert error.details["packs"][0]["commit"] in error.hint
    assert "restart ComfyUI" in error.hint


def test_a_core_node_that_an_old_server_lacks_asks_for_an_update_and_a_strange_one_for_its_pack() -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": "NobodysNode", "inputs": {}}}
    hint = missing_for("workflow", graph, bare("EmptyImage"), files=False).hint
    assert "update ComfyUI to 0.3.71" in hint and "the node pack that provides NobodysNode" in hint


def test_a_lora_that_the_caller_chose_is_left_to_the_search_for_loras() -> None:
    graph = graph_of("flux_lora")
    assert [item.folder for item in missing_for("flux_lora", graph, bare(lora_name=[])).files] == ["checkpoints"]


CONTENT = "0123456789abcdef.safetensors"


@pytest.mark.parametrize(
    ("file", "available", "lora", "closest"),
    [
        ("nobody.safetensors", ["character.safetensors", f"ada/{CONTENT}"], True, ""),
        ("charakter.safetensors", ["character.safetensors", f"ada/{CONTENT}"], True, "character"),
        ("adda.safetensors", ["character.safetensors", f"ada/{CONTENT}"], True, "ada"),
        ("styles/Noir.safetensors", ["styles/Noir2.safetensors"], True, "styles/Noir2.safetensors"),
        ("nope.safetensors", [FLUX, "sd_xl_base_1.0.safetensors"], False, ""),
        ("flux1-dev-fp16.safetensors", [FLUX, "sd_xl_base_1.0.safetensors"], False, FLUX),
        ("flux1-dev-fp16.sft", [f"FLUX\\{FLUX}"], False, f"FLUX\\{FLUX}"),
    ],
)
def test_a_name_is_offered_only_where_it_is_alike_and_a_lora_by_its_id(
    file: str, available: list[str], lora: bool, closest: str
) -> None:
    hint = missing_file({}, file, "", available, lora=lora).hint
    assert hint.partition(" Closest name there: ")[2] == closest


@pytest.fixture(scope="module")
def poor() -> Iterator[Emulator]:
    """A server that has every node and no weights."""
    with Emulator(models={}) as server:
        yield server


def test_a_run_is_refused_before_it_is_sent_and_may_go_elsewhere(poor: Emulator) -> None:
    with Client(url=poor.url) as client, pytest.raises(ModelNotFoundError) as caught:
        client.run(Wan2(prompt="a fox"))
    assert len(caught.value.details["files"]) == 3 and caught.value.started == "no"
    assert poor.stats.prompts == 0


def test_files_that_only_an_option_needs_are_advised_with_the_option_that_brings_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [row.name for row in default_of(workflow_class("wan22")).required_weights()]
    request = Wan22(prompt="a fox", image=encoded(picture()))
    with Emulator(tmp_path, models={"diffusion_models": models, "text_encoders": models, "vae": models}) as server:
        with Client(url=server.url) as client, pytest.raises(ModelNotFoundError, match="wan2.2_i2v_high_noise") as caught:
            client.run(request)
        assert here("doctor", "--workflows", "wan22", "--all-options", "--url", server.url) == 1
        assert "ryla-gen weights sync wan22 --all-options" in " ".join(capsys.readouterr().out.split())
    assert "ryla-gen weights sync wan22 --all-options --local COMFYUI/models" in caught.value.hint
    assert "ryla-gen local install wan22 --all-options" in caught.value.hint
    missing = {item["file"] for item in caught.value.details["files"]}
    needed = {row.name for row in rows_of(("wan22",), every=True)}
    assert missing and missing <= needed, "the command brings every file that is missing"


def test_an_unseen_file_counts_among_those_of_options_only_where_it_is_advised() -> None:
    graph = graph_of("flux_pulid")
    known = default_files(workflow_class("flux_pulid"))
    gone = [name for name in (node["class_type"] for node in graph.values()) if "Pulid" in name]
    assert not missing_for("flux_pulid", graph, bare(*gone, ckpt_name=[FLUX]), default_files=known).all_options
    assert missing_for("flux_pulid", graph, bare(*gone, ckpt_name=[FLUX]), default_files=()).all_options


def test_weights_that_came_since_are_found_without_a_new_client(tmp_path: Path) -> None:
    with Emulator(tmp_path, models={}) as server, Client(url=server.url) as client:
        with pytest.raises(ModelNotFoundError):
            client.run(FluxDev(prompt="a fox", width=256, height=256, steps=1))
        (tmp_path / "models" / "checkpoints").mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / "checkpoints" / FLUX).write_bytes(b"weights")
        assert client.run(FluxDev(prompt="a fox", width=256, height=256, steps=1)).outputs


def test_a_graph_of_ones_own_names_all_its_unknown_classes(poor: Emulator) -> None:
    graph = {
        "1": {"class_type": "FirstOfThem", "inputs": {}},
        "2": {"class_type": "SecondOfThem", "inputs": {"image": ["1", 0]}},
    }
    with Client(url=poor.url) as client, pytest.raises(WorkflowInvalidError, match="FirstOfThem, SecondOfThem"):
        client.run(CustomWorkflow(graph=graph))


def test_the_command_says_what_is_ready_and_what_is_not(poor: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("doctor", "--workflows", "--url", poor.url, "--json") == 0
    items = {item["workflow"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}
    assert items["wan2"]["ready"] is False and len(items["wan2"]["files"]) == 3
    assert here("doctor", "--workflows", "wan2", "--url", poor.url) == 1
    shown = capsys.readouterr()
    assert "wan_2.1_vae.safetensors" in shown.out and "error[model_not_found]" in shown.err


def test_the_command_is_content_with_a_server_that_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator() as rich:
        assert here("doctor", "--workflows", "flux", "wan2", "--all-options", "--url", rich.url) == 0
    shown = capsys.readouterr()
    assert shown.out.count("yes") == 2 and shown.err == ""


def test_doctor_names_the_weights_that_a_server_lacks(poor: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("doctor", "wan2", "--url", poor.url, "--json") == 1
    checks = {item["name"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}
    assert checks["weights of wan2"]["state"] == "failed" and "weights sync wan2" in checks["weights of wan2"]["hint"]
    assert checks["picture"]["state"] == "skipped"
