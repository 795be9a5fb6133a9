"""LoRAs in folders: the emulator's and a pod's. Pushed, replaced, killed halfway, used, refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import AsyncClient, Client, CustomWorkflow, FluxLora, Generation, Settings, Wan2
from ryla_gen.emulator.server import Emulator
from ryla_gen.engine.loras import require_base
from ryla_gen.errors import (
    BackendNotConfiguredError,
    InvalidInputError,
    LoraIncompatibleError,
    LoraNotFoundError,
    NodeFailedError,
    OutputExistsError,
    StorageFailedError,
)
from ryla_gen.events import Started
from ryla_gen.models.loras.base import Stage

from .files import PEFT, file_name, layers, lora, safetensors, stored

ROOT = Path(__file__).resolve().parents[3]
SMALL: dict[str, Any] = {"prompt": "a red boat", "width": 256, "height": 256, "steps": 2, "seed": 7}


@pytest.fixture
def client(clean_environment: Path) -> Iterator[Client]:
    with Client("emulator") as made:
        yield made


@pytest.fixture
def folder(clean_environment: Path) -> Path:
    """The emulator's folder of LoRAs."""
    return clean_environment / "emulator" / "models" / "loras"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def lora_name(generation: Generation) -> str:
    [name] = [node["inputs"]["lora_name"] for node in generation.graph.values() if node["class_type"] == "LoraLoader"]
    return str(name)


def test_the_card_says_what_the_contract_says(client: Client, folder: Path, tmp_path: Path) -> None:
    data = lora(metadata={"modelspec.trigger_phrase": "ohwx"})
    client.loras.push(stored(tmp_path, "Ada.safetensors", data))
    card = json.loads((folder / "ada" / "lora.json").read_text())
    assert card.pop("pushed_at").endswith("Z")
    assert card == {
        "id": "ada",
        "file": file_name(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "base": "flux",
        "trigger_words": ["ohwx"],
        "source": "Ada.safetensors",
        "variant": "",
        "notes": [],
    }


def test_new_content_is_another_file_another_picture_and_the_old_one_goes(client: Client, folder: Path, tmp_path: Path) -> None:
    first, second = lora(seed=1), lora(seed=2)
    client.loras.push(stored(tmp_path, "ada.safetensors", first))
    one = client.run(FluxLora(**SMALL, lora_id="ada"))
    assert client.loras.push(stored(tmp_path, "ada.safetensors", second)).removed == (f"ada/{file_name(first)}",)
    two = client.run(FluxLora(**SMALL, lora_id="ada"))
    assert (lora_name(one), lora_name(two)) == (f"ada/{file_name(first)}", f"ada/{file_name(second)}")
    assert one.image.tobytes() != two.image.tobytes()
    assert names(folder) == sorted([f"ada/{file_name(second)}", "ada/lora.json"])


def test_the_same_again_changes_nothing_and_new_words_change_the_card_alone(client: Client, folder: Path, tmp_path: Path) -> None:
    path = stored(tmp_path, "ada.safetensors", lora())
    client.loras.push(path)
    before = (folder / "ada" / "lora.json").read_bytes()
    assert client.loras.push(path).outcome == "already"
    assert (folder / "ada" / "lora.json").read_bytes() == before
    done = client.loras.push(path, trigger_words=["ohwx", "ohwx", "two\nlines"])
    assert (done.outcome, done.sent, done.card.trigger_words) == ("pushed", 0, ("ohwx", "two lines"))


def test_two_pushes_of_one_id_at_once_end_with_one_of_them_whole(clean_environment: Path, folder: Path, tmp_path: Path) -> None:
    paths = [stored(tmp_path, f"{seed}.safetensors", lora(seed=seed)) for seed in range(6)]

    async def all_at_once() -> None:
        async with AsyncClient("emulator") as client:
            await asyncio.gather(*(client.loras.push(path, id="ada") for path in paths))
            assert (await client.loras.verify("ada")).ok
            assert [item.kind for item in await client.loras.list()] == ["stored"]

    asyncio.run(all_at_once())
    assert not [name for name in names(folder) if name.endswith(".part")]


HALFWAY = """
import sys
from ryla_gen import Client
def report(now):
    if now.stage == "sending" and now.bytes >= {half}:
        print("half", flush=True)
        sys.stdin.read()
Client("emulator").loras.push({path!r}, id="ada", progress=report)
"""


def test_a_push_killed_halfway_shows_nothing_and_the_next_one_goes_on(client: Client, folder: Path, tmp_path: Path) -> None:
    client.loras.push(stored(tmp_path, "old.safetensors", lora(seed=1)), id="ada")
    data = safetensors({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (1024, 3072)}, seed=3)
    path = stored(tmp_path, "new.safetensors", data)
    script = HALFWAY.format(half=3 << 20, path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    process.kill()
    process.communicate(timeout=600)
    assert client.loras.show("ada").file == f"ada/{file_name(lora(seed=1))}"
    assert client.loras.verify("ada").ok
    assert lora_name(client.run(FluxLora(**SMALL, lora_id="ada"))) == f"ada/{file_name(lora(seed=1))}"
    [part] = (folder / "ada").glob(".*.part")
    assert 3 << 20 <= part.stat().st_size < len(data)
    there, first = part.stat().st_size, []
    client.loras.push(path, id="ada", progress=lambda now: first.append((now.stage, now.bytes)))
    assert ("sending", 1 << 20) in first, "what is there is read again"
    assert names(folder) == sorted([f"ada/{file_name(data)}", "ada/lora.json"])
    assert client.loras.verify("ada").ok
    assert there > 0


def test_a_half_file_of_other_bytes_is_not_continued(client: Client, folder: Path, tmp_path: Path) -> None:
    data = lora(seed=4)
    stored(folder / "ada", f".{file_name(data)}.part", b"nonsense")
    client.loras.push(stored(tmp_path, "ada.safetensors", data))
    assert client.loras.verify("ada").ok
    assert client.loras.pull("ada", tmp_path / "back.safetensors").read_bytes() == data


def test_a_plain_file_is_used_listed_pulled_and_replaced_by_a_push(client: Client, folder: Path, tmp_path: Path) -> None:
    stored(folder, "hand.safetensors", lora(seed=5))
    assert lora_name(client.run(FluxLora(**SMALL, lora_id="hand"))) == "hand.safetensors"
    assert [(item.id, item.kind, item.card) for item in client.loras.list()] == [("hand", "plain", None)]
    assert client.loras.verify("hand").ok
    assert client.loras.pull("hand", tmp_path).name == "hand.safetensors"
    client.loras.push(stored(tmp_path, "better.safetensors", lora(seed=6)), id="hand")
    assert lora_name(client.run(FluxLora(**SMALL, lora_id="hand"))) == f"hand/{file_name(lora(seed=6))}"
    assert len(client.loras.remove("hand")) == 3
    assert names(folder) == []


def test_files_that_are_no_loras_are_left_alone(client: Client, folder: Path) -> None:
    for name in ("Upper.safetensors", "readme.txt", "style.ckpt"):
        stored(folder, name, b"x")
    stored(folder / "sub" / "deep", "x.safetensors", b"x")
    assert client.loras.list() == []
    for wrong in ("Upper", "../ada", "", "sub/deep/x", "sub"):
        with pytest.raises(LoraNotFoundError):
            client.loras.remove(wrong) if wrong != "sub" else client.loras.show(wrong)
    assert len(names(folder)) == 4


@pytest.mark.parametrize("card", ["{", "[]", "{}", '{"file": "../../x.safetensors"}', '{"file": "a.safetensors", "sha256": "no"}'])
def test_a_broken_card_is_said_to_be_broken(client: Client, folder: Path, tmp_path: Path, card: str) -> None:
    stored(folder / "ada", "lora.json", card.encode())
    assert client.loras.show("ada").kind == "broken"
    assert not client.loras.verify("ada").ok
    with pytest.raises(LoraNotFoundError, match="is damaged"):
        client.loras.pull("ada", tmp_path / "x.safetensors")
    assert list(tmp_path.glob("x*")) == []
    assert client.loras.push(stored(tmp_path, "ada.safetensors", lora())).outcome == "pushed"
    assert client.loras.verify("ada").ok


def test_verify_sees_a_changed_byte_and_pull_writes_nothing_then(client: Client, folder: Path, tmp_path: Path) -> None:
    data = lora()
    client.loras.push(stored(tmp_path, "ada.safetensors", data))
    (folder / "ada" / file_name(data)).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = client.loras.verify("ada")
    assert not found.ok
    assert "sha256" in found.problems[0]
    (folder / "ada" / file_name(data)).write_bytes(b"PK\3\4")
    assert any("ends before its header" in text for text in client.loras.verify("ada").problems)
    with pytest.raises(LoraNotFoundError, match="its sha256 is"):
        client.loras.pull("ada", tmp_path / "back.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ada.safetensors", "home"]


def test_a_pull_never_writes_over_a_file_unless_told(client: Client, tmp_path: Path) -> None:
    path = stored(tmp_path, "ada.safetensors", lora())
    client.loras.push(path)
    with pytest.raises(OutputExistsError):
        client.loras.pull("ada", path)
    assert client.loras.pull("ada", path, overwrite=True) == path
    with pytest.raises(StorageFailedError):
        client.loras.pull("ada", path / "below" / "x.safetensors")


def test_another_base_is_refused_and_nothing_ran(client: Client, folder: Path, tmp_path: Path) -> None:
    client.loras.push(stored(tmp_path, "wide.safetensors", lora("sdxl, kohya")))
    stored(folder, "hand.safetensors", lora("wan, kohya"))
    for lora_id, base in {"wide": "SDXL", "hand": "Wan 1.3B"}.items():
        with pytest.raises(LoraIncompatibleError, match=f"made for {base}, not for FLUX.1") as caught:
            client.run(FluxLora(**SMALL, lora_id=lora_id))
        assert "ryla-gen lora list" in caught.value.hint


def test_a_lora_for_another_size_of_the_base_is_refused(client: Client, folder: Path, tmp_path: Path) -> None:
    client.loras.push(stored(tmp_path, "wide.safetensors", lora("wan, VideoX-Fun")))
    stored(folder, "hand.safetensors", lora("wan, VideoX-Fun"))
    graph = Wan2(prompt="waves", seed=7).build().to_api()  # its model is Wan 2.1's with 1.3B
    [loader] = [node_id for node_id, node in graph.items() if node["class_type"] == "UNETLoader"]
    for lora_id in ("wide", "hand"):
        inputs = {"model": [loader, 0], "lora_name": f"{lora_id}.safetensors", "strength_model": 1.0}
        named = {**graph, "lora": {"class_type": "LoraLoaderModelOnly", "inputs": inputs}}
        with pytest.raises(
            LoraIncompatibleError, match=f"{lora_id} was made for Wan 14B, not for Wan 1.3B: it would have no effect"
        ):
            client.run(CustomWorkflow(graph=named))


def test_a_base_fits_where_one_of_the_two_sizes_is_not_known() -> None:
    for made_for, base in (("wan 14B", "wan"), ("wan", "wan 14B"), ("wan 14B", "wan 14B"), (None, "wan 14B"), ("wan 14B", None)):
        require_base("ada", made_for, base)
    for made_for, base in (("flux2 klein 4B", "flux2 klein 9B"), ("flux2 klein 4B", "flux"), ("wan 14B", "wan 5B")):
        with pytest.raises(LoraIncompatibleError):
            require_base("ada", made_for, base)


def test_what_was_found_in_a_file_is_stored_with_it_and_said_again(client: Client, folder: Path, tmp_path: Path) -> None:
    path = stored(tmp_path, "Ada_high_noise.safetensors", lora("wan, diffusers"))
    card = client.loras.push(path, id="ada").card
    assert card.model == "wan 1.3B"
    assert [note.split(" ")[:3] for note in card.notes] == [["ComfyUI", "loads", "none"], ["By", "its", "file's"]]
    assert client.loras.show("ada").card == card
    assert client.loras.push(path, id="ada").outcome == "already"
    before = json.loads((folder / "ada" / "lora.json").read_text())
    (folder / "ada" / "lora.json").write_text(json.dumps({**before, "notes": "odd", "variant": None}))
    assert client.loras.show("ada").card == replace(card, notes=(), variant="")
    assert client.loras.push(path, id="ada").card.notes == card.notes, "a card of an older version is written again"


def test_a_lora_without_effect_is_said_and_leaves_the_picture_as_it_is(client: Client, tmp_path: Path) -> None:
    client.loras.push(stored(tmp_path, "odd.safetensors", lora("nobody knows")), base="flux")
    with_it = client.run(FluxLora(**SMALL, lora_id="odd"))
    assert [item.code for item in with_it.warnings] == ["lora_keys_not_loaded"]
    assert "2 of the 2 tensors of the LoRA odd" in with_it.warnings[0].message
    without = client.run(FluxLora(**SMALL, lora_id="odd", lora_strength=0))
    assert without.image.tobytes() == with_it.image.tobytes()
    assert client.run(FluxLora(**SMALL, lora_id="character")).warnings == ()


def test_only_a_wan_2_1_image_to_video_model_takes_layers_that_read_a_picture(client: Client, tmp_path: Path) -> None:
    names = ["diffusion_model.blocks.0.self_attn.q", "diffusion_model.blocks.0.cross_attn.k_img"]
    client.loras.push(stored(tmp_path, "pan.safetensors", safetensors(layers(names, 5120, *PEFT))))
    for model, left_out in {"wan2.1_i2v_480p_14B_fp16": [], "wan2.2_i2v_high_noise_14B": ["2 of the 4 tensors"]}.items():
        graph = Wan2(prompt="waves", seed=7, width=256, height=256, length=5, steps=1).build().to_api()
        [loader] = [node_id for node_id, node in graph.items() if node["class_type"] == "UNETLoader"]
        for node in graph.values():
            node["inputs"] = {name: ["lora", 0] if value == [loader, 0] else value for name, value in node["inputs"].items()}
        graph[loader]["inputs"]["unet_name"] = f"{model}.safetensors"
        inputs = {"model": [loader, 0], "lora_name": "pan.safetensors", "strength_model": 1.0}
        graph["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
        said = [item.message for item in client.run(CustomWorkflow(graph=graph)).warnings if item.code == "lora_keys_not_loaded"]
        assert [part for part in left_out if part not in str(said)] == []
        assert len(said) == len(left_out)


def test_a_file_that_is_none_fails_in_its_loader(client: Client, folder: Path) -> None:
    stored(folder, "torn.safetensors", lora()[:-1])
    with pytest.raises(NodeFailedError, match="LoraLoader"):
        client.run(FluxLora(**SMALL, lora_id="torn"))


def test_a_missing_lora_names_the_command_that_stores_it(client: Client) -> None:
    with pytest.raises(LoraNotFoundError) as caught:
        client.run(FluxLora(**SMALL, lora_id="nobody"))
    assert "ryla-gen lora push FILE --id nobody" in caught.value.hint


@pytest.mark.parametrize("name", ["notes.txt", "model.ckpt", "model.pt"])
def test_only_safetensors_are_taken(client: Client, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="not a .safetensors file"):
        client.loras.push(stored(tmp_path, name, b"x"))


# -- a pod ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Emulator]:
    """A server of one's own whose folder of LoRAs this machine reaches."""
    (tmp_path / "pod" / "models" / "loras").mkdir(parents=True)
    with Emulator(tmp_path / "pod") as server:
        yield server


def pod_settings(pod: Emulator) -> Settings:
    return Settings.load(backend="comfyui", comfyui_url=pod.url, comfyui_lora_folder=str(pod.folders.models / "loras"))


def test_a_pods_folder_takes_loras_and_the_card_decides_between_two_contents(pod: Emulator, tmp_path: Path) -> None:
    with Client(settings=pod_settings(pod)) as client:
        client.loras.push(stored(tmp_path, "ada.safetensors", lora(seed=1)))
        stored(pod.folders.models / "loras" / "ada", "ffffffffffffffff.safetensors", lora(seed=2))
        assert lora_name(client.run(FluxLora(**SMALL, lora_id="ada"))) == f"ada/{file_name(lora(seed=1))}"
        client.loras.push(stored(tmp_path, "wide.safetensors", lora("sdxl, kohya")))
        with pytest.raises(LoraIncompatibleError):
            client.run(FluxLora(**SMALL, lora_id="wide"))
        assert pod.stats.prompts == 1


def test_what_a_pods_jobs_name_is_not_removed(pod: Emulator, tmp_path: Path) -> None:
    with Client(settings=pod_settings(pod)) as client:
        client.loras.push(stored(tmp_path, "ada.safetensors", lora(seed=1)))
        pod.knobs.delay_per_node = 30
        job = client.submit(FluxLora(**SMALL, lora_id="ada"))
        next(event for event in job.events() if isinstance(event, Started))
        with pytest.raises(StorageFailedError, match="A waiting or running job"):
            client.loras.remove("ada")
        done = client.loras.push(stored(tmp_path, "new.safetensors", lora(seed=2)), id="ada")
        assert done.removed == ()
        assert (pod.folders.models / "loras" / "ada" / file_name(lora(seed=1))).is_file()
        job.cancel()
        while pod.queue.remaining():  # the answer to a cancel may come before the prompt has left the queue
            time.sleep(0.01)
        pod.knobs.delay_per_node = 0
        last = client.loras.push(stored(tmp_path, "new.safetensors", lora(seed=3)), id="ada")
        assert len(last.removed) == 2
        assert len(client.loras.remove("ada")) == 2


def test_a_pod_that_is_off_runs_nothing(pod: Emulator, tmp_path: Path) -> None:
    pod.close()
    with Client(settings=pod_settings(pod)) as client:
        client.loras.push(stored(tmp_path, "ada.safetensors", lora(seed=1)))
        assert client.loras.push(stored(tmp_path, "ada.safetensors", lora(seed=2))).removed
        client.loras.remove("ada")


def test_a_pod_whose_folder_is_unknown_or_not_mounted_says_the_setting(clean_environment: Path, tmp_path: Path) -> None:
    path = stored(tmp_path, "ada.safetensors", lora())
    with (
        Client(settings=Settings.load(backend="comfyui", comfyui_url="http://127.0.0.1:9")) as client,
        pytest.raises(BackendNotConfiguredError) as caught,
    ):
        client.loras.push(path)
    assert "config set comfyui.lora_folder" in caught.value.hint
    missing = str(tmp_path / "not" / "mounted")
    with (
        Client(settings=Settings.load(backend="comfyui", comfyui_url="http://127.0.0.1:9", comfyui_lora_folder=missing)) as client,
        pytest.raises(StorageFailedError, match="There is no folder"),
    ):
        client.loras.push(path)
    assert not (tmp_path / "not").exists()


def test_a_folder_that_cannot_be_written_says_so(clean_environment: Path, folder: Path, tmp_path: Path) -> None:
    stored(folder.parent, "loras", b"a file in the folder's place")
    with Client("emulator") as client, pytest.raises(StorageFailedError, match="cannot be used"):
        client.loras.push(stored(tmp_path, "ada.safetensors", lora()))


def test_runpod_says_that_its_volume_is_out_of_reach(clean_environment: Path, tmp_path: Path) -> None:
    with Client("runpod") as client, pytest.raises(BackendNotConfiguredError, match="not reachable from outside"):
        client.loras.push(stored(tmp_path, "ada.safetensors", lora()))


def test_a_push_is_told_in_stages(client: Client, tmp_path: Path) -> None:
    stages: list[Stage] = []
    client.loras.push(stored(tmp_path, "ada.safetensors", lora()), progress=lambda now: stages.append(now.stage))
    assert list(dict.fromkeys(stages)) == ["checking", "sending"]
