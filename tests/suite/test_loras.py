"""LoRAs on Modal's volume and in the places of the suite: pushed, used by a warm container, replaced, removed, interrupted."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import modal
import pytest
from grpclib import Status
from PIL import Image

from ryla_gen import Client, CustomWorkflow, FluxLora, FluxPulid, Generation
from ryla_gen.backends.modal.loras import VolumeStore
from ryla_gen.errors import BackendUnreachableError, FaceNotFoundError, LoraIncompatibleError, LoraNotFoundError
from ryla_gen.events import Started
from ryla_gen.models.loras.base import Transfer
from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.models.loras.files import LORAS, file_name, layers, lora, safetensors, stored
from tests.remote.conftest import eventually

from .conftest import ROOT

SMALL: dict[str, Any] = {"prompt": "a red boat", "width": 256, "height": 256, "steps": 2, "seed": 7}


@pytest.fixture
def client(modal_app: Loopback, clean_environment: Path) -> Any:
    with connected(modal_app), Client("modal") as made:
        yield made
    modal_app.knobs.reset()


@pytest.fixture
def volume(modal_app: Loopback) -> Path:
    """The LoRAs of the volume, as they are committed."""
    return modal_app.volume("ryla-models") / "loras"


def lora_name(generation: Generation) -> str:
    [name] = [node["inputs"]["lora_name"] for node in generation.graph.values() if node["class_type"] == "LoraLoader"]
    return str(name)


def test_the_next_request_uses_what_was_pushed_also_in_a_warm_container(client: Client, volume: Path, tmp_path: Path) -> None:
    first, second = lora(seed=1), lora(seed=2)
    pushed = client.loras.push(stored(tmp_path, "Ada.safetensors", first))
    assert (pushed.outcome, pushed.sent, pushed.card.base) == ("pushed", len(first), "flux")
    one = client.run(FluxLora(**SMALL, lora_id="ada"), timeout=60)
    assert lora_name(one) == f"ada/{file_name(first)}"
    assert [(item["id"], item["bytes"]) for item in one.server["loras"]] == [("ada", len(first))]
    assert one.server["loras"][0]["seconds"] >= 0
    again = client.run(FluxLora(**{**SMALL, "seed": 8}, lora_id="ada"), timeout=60)
    assert "loras" not in again.server, "it was there"
    replaced = client.loras.push(stored(tmp_path, "new.safetensors", second), id="ada")
    assert replaced.removed == (f"ada/{file_name(first)}",)
    two = client.run(FluxLora(**SMALL, lora_id="ada"), timeout=60)
    assert lora_name(two) == f"ada/{file_name(second)}"
    assert two.server["container"] == one.server["container"], "no new container"
    assert two.image.tobytes() != one.image.tobytes()
    assert two.warnings == one.warnings == ()
    assert sorted(path.name for path in (volume / "ada").iterdir()) == sorted([file_name(second), "lora.json"])


def test_pushing_the_same_again_sends_nothing(client: Client, modal_app: Loopback, tmp_path: Path) -> None:
    path = stored(tmp_path, "same.safetensors", lora(seed=3))
    client.loras.push(path)
    before = modal_app.counts["VolumePutFiles"]
    assert client.loras.push(path).outcome == "already"
    assert modal_app.counts["VolumePutFiles"] == before


def test_list_show_pull_verify_and_remove_on_the_volume(client: Client, volume: Path, tmp_path: Path) -> None:
    data = lora(seed=4)
    client.loras.push(stored(tmp_path, "eve.safetensors", data), trigger_words="eve person")
    stored(volume, "by-hand.safetensors", data)
    listed = {item.id: item for item in client.loras.list()}
    assert (listed["eve"].kind, listed["by-hand"].kind) == ("stored", "plain")
    assert client.loras.show("eve").card.trigger_words == ("eve person",)  # type: ignore[union-attr]
    assert client.loras.pull("eve", tmp_path / "back.safetensors").read_bytes() == data
    assert client.loras.verify("eve").ok
    (volume / "eve" / file_name(data)).write_bytes(data[:-1] + b"x")
    assert "sha256" in client.loras.verify("eve").problems[0]
    assert set(client.loras.remove("eve")) == {"eve/lora.json", f"eve/{file_name(data)}"}
    assert client.loras.remove("by-hand") == ("by-hand.safetensors",)
    with pytest.raises(LoraNotFoundError, match="no LoRA 'eve'"):
        client.loras.show("eve")


def test_a_graph_of_ones_own_uses_a_pushed_lora_and_is_refused_one_for_another_base(client: Client, tmp_path: Path) -> None:
    data = lora(seed=11)
    client.loras.push(stored(tmp_path, "graphs.safetensors", data))
    client.loras.push(stored(tmp_path, "graphs-wide.safetensors", lora("sdxl, kohya")))
    graph = FluxLora(**SMALL, lora_id="graphs").build().to_api()
    assert lora_name(client.run(CustomWorkflow(graph=graph), timeout=60)) == f"graphs/{file_name(data)}"
    with pytest.raises(LoraIncompatibleError, match="made for SDXL, not for FLUX.1"):
        client.run(CustomWorkflow(graph=FluxLora(**SMALL, lora_id="graphs-wide").build().to_api()), timeout=60)


def test_the_reference_of_a_graph_of_ones_own_is_looked_at_in_the_container(client: Client, face: bytes) -> None:
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), "#808080").save(flat, "PNG")
    graph = FluxPulid(**SMALL, reference_image=face).build().to_api()
    with pytest.raises(FaceNotFoundError):
        client.run(CustomWorkflow(graph=graph, images={"reference_image.png": flat.getvalue()}), timeout=60)


def test_a_plain_file_put_there_by_hand_is_used(client: Client, volume: Path) -> None:
    stored(volume, "hand.safetensors", lora(seed=5))
    assert lora_name(client.run(FluxLora(**SMALL, lora_id="hand"), timeout=60)) == "hand.safetensors"


def test_a_lora_for_another_base_is_refused_before_a_container_is_asked(
    client: Client, modal_app: Loopback, volume: Path, tmp_path: Path
) -> None:
    client.loras.push(stored(tmp_path, "wide.safetensors", lora("sdxl, kohya")))
    calls = len(modal_app.calls)
    with pytest.raises(LoraIncompatibleError, match="made for SDXL, not for FLUX.1"):
        client.run(FluxLora(**SMALL, lora_id="wide"))
    assert len(modal_app.calls) == calls, "nothing was called"
    # Of a plain file only its bytes tell, and those the worker reads.
    stored(volume, "wide-hand.safetensors", lora("wan, kohya"))
    with pytest.raises(LoraIncompatibleError, match="made for Wan"):
        client.run(FluxLora(**SMALL, lora_id="wide-hand"), timeout=60)


def test_what_comfyui_only_writes_to_its_log_becomes_a_warning(client: Client, modal_app: Loopback, tmp_path: Path) -> None:
    client.loras.push(stored(tmp_path, "odd.safetensors", lora("nobody knows")), base="flux")
    mixed = safetensors({**LORAS["flux, kohya"][1], **layers(["lora_unet_wonder"], 64, ".lora_down.weight", ".lora_up.weight")})
    client.loras.push(stored(tmp_path, "mixed.safetensors", mixed))
    first = client.run(FluxLora(**SMALL, lora_id="odd"), timeout=60)
    assert [item.code for item in first.warnings] == ["lora_keys_not_loaded"]
    assert "2 of the 2 tensors of the LoRA odd" in first.warnings[0].message
    assert "comfyui: lora key not loaded: model.layers.0.wonder.lora_A.weight" in modal_app.log
    # With another seed the loader's result is cached, and ComfyUI silent; the LoRA is as useless as before.
    assert client.run(FluxLora(**{**SMALL, "seed": 8}, lora_id="odd"), timeout=60).warnings == first.warnings
    partly = client.run(FluxLora(**SMALL, lora_id="mixed"), timeout=60).warnings
    assert "2 of the 11 tensors of the LoRA mixed" in partly[0].message
    assert "only part" in partly[0].message
    assert client.run(FluxLora(**SMALL, lora_id="character"), timeout=60).warnings == ()


def test_removing_and_replacing_do_not_disturb_a_job_that_runs(client: Client, tmp_path: Path) -> None:
    client.loras.push(stored(tmp_path, "sam.safetensors", lora(seed=13)))
    slow = FluxLora(prompt="a red fox", steps=100, width=2048, height=2048, batch_size=2, seed=1, lora_id="sam")
    job = client.submit(slow)
    next(event for event in job.events() if isinstance(event, Started))
    client.loras.push(stored(tmp_path, "new.safetensors", lora(seed=14)), id="sam")
    client.loras.remove("sam")
    assert not job.done
    assert lora_name(job.result(timeout=200)) == f"sam/{file_name(lora(seed=13))}"


def test_a_card_whose_content_is_gone_is_said_to_be_broken(client: Client, volume: Path, tmp_path: Path) -> None:
    data = lora(seed=6)
    client.loras.push(stored(tmp_path, "torn.safetensors", data))
    (volume / "torn" / file_name(data)).unlink()
    with pytest.raises(LoraNotFoundError, match="torn is damaged: its content is not there"):
        client.run(FluxLora(**SMALL, lora_id="torn"), timeout=60)
    assert client.loras.show("torn").kind == "broken"
    assert not client.loras.verify("torn").ok


def push_elsewhere(modal_app: Loopback, home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "RYLA_"))}
    environment = {**kept, **modal_app.env, "RYLA_GEN_HOME": str(home), "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}"}
    command = [sys.executable, "-m", "ryla_gen_cli", "lora", "push", *arguments, "--backend", "modal", "--json"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_push_killed_halfway_leaves_the_old_one_and_the_next_one_finishes(
    client: Client, modal_app: Loopback, volume: Path, tmp_path: Path, clean_environment: Path
) -> None:
    old, new = lora(seed=7), lora(seed=8)
    client.loras.push(stored(tmp_path, "old.safetensors", old), id="kim")
    path = stored(tmp_path, "new.safetensors", new)
    modal_app.knobs.refuse["VolumePutFiles"] = Status.UNAVAILABLE  # the bytes have gone up, and are not in place yet
    before = modal_app.counts["VolumePutFiles"]
    process = push_elsewhere(modal_app, clean_environment, str(path), "--id", "kim")
    assert process.stdout is not None
    try:
        eventually(lambda: process.poll() is not None or modal_app.counts["VolumePutFiles"] > before)
        assert process.poll() is None, process.stdout.read()
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate(timeout=600)
    card = client.loras.show("kim").card
    assert card is not None
    assert card.sha256 == hashlib.sha256(old).hexdigest()
    assert sorted(item.name for item in (volume / "kim").iterdir()) == sorted([file_name(old), "lora.json"])
    assert client.loras.verify("kim").ok
    modal_app.knobs.reset()
    assert client.loras.push(path, id="kim").outcome == "pushed"
    assert lora_name(client.run(FluxLora(**SMALL, lora_id="kim"), timeout=60)) == f"kim/{file_name(new)}"


def test_a_push_that_dies_before_its_card_shows_nothing_new(client: Client, volume: Path, tmp_path: Path) -> None:
    data = lora(seed=9)
    stored(volume / "lee", file_name(data), data)  # as a push leaves it that dies between content and card
    assert "lee" not in {item.id for item in client.loras.list()}
    assert client.loras.push(stored(tmp_path, "lee.safetensors", data)).sent == 0, "the content is there"
    assert client.loras.show("lee").kind == "stored"


def test_the_command_pushes_with_progress_and_one_last_line(modal_app: Loopback, tmp_path: Path, clean_environment: Path) -> None:
    process = push_elsewhere(modal_app, clean_environment, str(stored(tmp_path, "max.safetensors", lora(seed=10))))
    out, _ = process.communicate(timeout=600)
    last = json.loads(out.splitlines()[-1])
    assert (process.returncode, last["ok"], last["command"], last["data"]["outcome"]) == (0, True, "lora push", "pushed")


def test_a_modal_that_does_not_answer_is_said_and_leaves_nothing(client: Client, modal_app: Loopback, tmp_path: Path) -> None:
    modal_app.knobs.refuse["VolumeListFiles*"] = Status.PERMISSION_DENIED
    with pytest.raises(Exception, match="Modal") as caught:
        client.loras.push(stored(tmp_path, "nil.safetensors", lora(seed=11)))
    assert caught.value.code in ("not_authorized", BackendUnreachableError.code)  # type: ignore[attr-defined]
    modal_app.knobs.reset()
    assert "nil" not in {item.id for item in client.loras.list()}


def test_large_files_go_up_with_progress_on_both_versions_of_a_volume(
    modal_app: Loopback, tmp_path: Path, clean_environment: Path
) -> None:
    data = safetensors({"a": (9 << 20,)}, dtype="U8")
    path = stored(tmp_path, "large.safetensors", data)

    async def there_and_back(version: int) -> int:
        store, moved = VolumeStore(volume=f"lora-test-v{version}"), list[int]()
        await store.put(path, "big/0123456789abcdef.safetensors", "", moved.append)
        assert [(entry.path, entry.bytes) for entry in await store.entries()] == [("big/0123456789abcdef.safetensors", len(data))]
        assert b"".join([block async for block in store.read("big/0123456789abcdef.safetensors")]) == data
        await store.write("big/lora.json", b"{}")
        calls = modal_app.counts["VolumePutFiles2"]
        await store.put(path, "again/0123456789abcdef.safetensors", "", moved.append)
        assert modal_app.counts["VolumePutFiles2"] - calls == (version == 2), "blocks that are there are not sent again"
        every = [entry.path for entry in await store.entries()]
        await store.remove([*every, "big/never-there"])
        assert await store.entries() == []
        return sum(moved)

    with connected(modal_app):
        for version in (1, 2):
            modal.Volume.from_name(f"lora-test-v{version}", create_if_missing=True, version=version).hydrate()
            # To a volume of version 2 Modal's client sends blocks from handles of its own, which nobody hears.
            assert asyncio.run(there_and_back(version)) == (len(data) if version == 1 else 0)


def test_progress_is_told_in_stages(client: Client, tmp_path: Path) -> None:
    told: list[Transfer] = []
    client.loras.push(stored(tmp_path, "ivy.safetensors", lora(seed=12)), progress=told.append)
    assert told[0].stage == "checking"
    assert told[-1].stage == "sending"
    assert told[-1].bytes == told[-1].total
