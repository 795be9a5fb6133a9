"""The protocol: what the emulator answers to HTTP requests and websockets, and how it suffers when a knob is turned."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from ryla_gen.emulator.server import Emulator

RECORDED = sorted((Path(__file__).with_name("data") / "messages").glob("05_*.json"))
RECORDED_MODELS = {
    "diffusion_models": ["flux1-dev.safetensors", "flux1-schnell.safetensors", "wan2.1_t2v_1.3B_fp16.safetensors"],
    "text_encoders": ["clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors"],
    "vae": ["ae.safetensors"],
}
BY_ACCIDENT = {"exception_during_inner_validation", "exception_during_validation"}
"""Verdicts where ComfyUI stumbles: its details are those of a Python exception, ours say what is wrong."""

STEPS = {"class_type": "LabSteps", "steps": 2, "seconds": 0.0}
SLOW = {"class_type": "LabSteps", "steps": 200, "seconds": 0.02}


@pytest.fixture(scope="module")
def server_of_the_recording():
    with Emulator(models=RECORDED_MODELS, comfyui="0.3.71") as emulator:
        yield emulator


def verdict(body: Any) -> Any:
    """What of an answer must agree with the recording."""
    if not isinstance(body, dict):
        return body
    nodes = {
        node_id: (entry["class_type"], entry["dependent_outputs"], [one_error(error) for error in entry["errors"]])
        for node_id, entry in body["node_errors"].items()
    }
    return body.get("error"), nodes


def one_error(error: dict[str, Any]) -> tuple[Any, ...]:
    details = None if error["type"] in BY_ACCIDENT else error["details"]
    return error["type"], error["message"], details, error["extra_info"].get("input_name")


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_a_prompt_gets_the_verdict_comfyui_gave_it(server_of_the_recording, path):
    recording = json.loads(path.read_text())
    headers = {"Content-Type": recording["request"]["content_type"]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server_of_the_recording.url}/prompt", data=recording["request"]["body"], headers=headers) as response,
    ):
        text = await response.text()
        expected = recording["response"]
        assert response.status == expected["status"], text
        assert response.headers["Content-Type"] == expected["content_type"]
        body = json.loads(text) if response.content_type == "application/json" else text
    if path.stem == "05_val_self_cycle":  # ComfyUI's recursion error loses the node; ours is named
        assert body["error"] == expected["body"]["error"]
        assert body["node_errors"]["2"]["errors"][0]["type"] == "dependency_cycle"
        return
    assert verdict(body) == verdict(expected["body"])


async def test_a_body_over_the_limit_is_413(client):
    async with client.session.post(f"{client.emulator.url}/prompt", data=io.BytesIO(bytes(100 * 2**20 + 1))) as response:
        assert response.status == 413


async def test_every_route_answers_below_api_too(client):
    for path in ("/prompt", "/queue", "/history", "/object_info/KSampler", "/models", "/features", "/embeddings", "/extensions"):
        assert await client.get(path) == await client.get(f"/api{path}")
        assert (await client.get(path))[0] == 200


async def test_system_stats_say_that_this_is_the_emulator(client):
    status, body = await client.get("/system_stats")
    assert status == 200 and "ryla_gen" in body["system"]["emulator"]
    assert body["system"]["comfyui_version"] == "0.28.2"
    assert body["devices"][0]["type"] == "cpu"


# Releases ------------------------------------------------------------------------------------------------------------


async def cancel(client, prompt_id):
    return await client.post(f"/api/jobs/{prompt_id}/cancel", None)


async def test_one_job_is_canceled_whether_it_waits_or_runs(client, lab):
    async with client.socket() as websocket:
        running = await client.prompt(lab(SLOW))
        waiting = await client.prompt(lab(SLOW, color=2))
        assert await cancel(client, waiting) == (200, {"cancelled": True})
        assert await cancel(client, waiting) == (200, {"cancelled": False}), "it is gone"
        while running not in json.dumps((await client.get("/queue"))[1]["queue_running"]):
            await asyncio.sleep(0.01)
        assert await cancel(client, running) == (200, {"cancelled": True})
        messages = await client.until_done(websocket, running)
    assert "execution_interrupted" in [message["type"] for message in messages if isinstance(message, dict)]
    assert (await client.get("/queue"))[1] == {"queue_running": [], "queue_pending": []}
    assert await cancel(client, running) == (200, {"cancelled": False}), "it has ended"
    assert await cancel(client, "nobody") == (200, {"cancelled": False})


async def test_the_older_release_has_no_jobs_and_takes_any_id(old_client, lab):
    assert (await cancel(old_client, "5c1b86b1-3f5c-4bb1-b5a8-8c4c7a2d7a11"))[0] == 405
    assert await old_client.prompt(lab(), prompt_id="my-own") == "my-own"
    status, body = await old_client.post("/prompt", {"prompt": {"1": {"class_type": "Nobodys", "inputs": {}}}})
    assert (status, body["error"]["type"]) == (400, "invalid_prompt")


@pytest.mark.parametrize("prompt_id", ["my-own", "5C1B86B1-3F5C-4BB1-B5A8-8C4C7A2D7A11", "5c1b86b13f5c4bb1b5a88c4c7a2d7a11", 7, ""])
async def test_a_prompts_id_is_a_uuid_in_its_canonical_form(client, lab, prompt_id):
    status, body = await client.post("/prompt", {"prompt": lab(), "prompt_id": prompt_id})
    assert (status, body["error"]["type"], body["node_errors"]) == (400, "invalid_prompt_id", {})


async def test_a_prompt_may_leave_its_id_to_the_server(client, lab):
    status, body = await client.post("/prompt", {"prompt": lab(), "prompt_id": None})
    assert status == 200 and str(uuid.UUID(body["prompt_id"])) == body["prompt_id"]


async def test_an_unknown_class_is_a_missing_node_type_without_node_errors(client):
    status, body = await client.post("/prompt", {"prompt": {"1": {"class_type": "Nobodys", "inputs": {}}}})
    assert (status, body["error"]["type"], body["node_errors"]) == (400, "missing_node_type", {})


# Messages ------------------------------------------------------------------------------------------------------------


async def test_messages_go_to_the_client_of_the_prompt_only(client, lab):
    async with client.socket("other") as other, client.socket("me") as mine:
        first = await client.prompt(lab(STEPS), "me")
        await client.until_done(mine, first)
        second = await client.prompt(lab(), "other")
        heard = await client.until_done(other, second)
    assert second in str(heard) and first not in str(heard)
    assert not any(isinstance(message, bytes) for message in heard)


async def test_without_a_client_id_only_progress_is_broadcast(client, lab, names):
    async with client.socket("watcher") as watcher:
        await client.finished(await client.prompt(lab(STEPS), None))
        messages = await client.until_done(watcher, await client.prompt(lab(color=7), "watcher"))
    first_own = names(messages).index("execution_start")
    assert set(names(messages[:first_own])) == {"status", "progress_state", "progress", "binary"}


async def test_of_two_sockets_with_one_id_the_newer_hears_and_outlives_the_older(client, lab):
    async with client.socket() as older, client.socket() as newer:
        await older.close()
        await asyncio.sleep(0.05)
        assert await client.until_done(newer, await client.prompt(lab()))


async def test_a_client_that_comes_back_hears_which_node_runs(client, lab):
    async with client.socket() as websocket:
        prompt_id = await client.prompt(lab(SLOW))
        while (await websocket.receive_json())["type"] != "progress":
            pass
    async with client.socket() as again:
        first, second = await again.receive_json(), await again.receive_json()
        assert first["type"] == "status"
        assert second == {"type": "executing", "data": {"node": "2"}}
        await client.post("/interrupt", {})
        assert await client.until_done(again, prompt_id)


@pytest.mark.parametrize(("asks", "gets"), [(True, True), (False, False)])
async def test_previews_go_to_clients_that_ask_and_simple_ones_are_not_confused(lab, lab_schemas, asks, gets):
    with Emulator(schemas=lab_schemas) as emulator:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{emulator.url}/ws?clientId=me") as websocket:
            if asks:
                await websocket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
                while (await websocket.receive_json())["type"] != "feature_flags":
                    pass
            await session.post(f"{emulator.url}/prompt", json={"prompt": lab(STEPS), "client_id": "me"})
            frames = []
            while "execution_success" not in str((message := await websocket.receive()).data):
                frames.append(message.type)
    assert (aiohttp.WSMsgType.BINARY in frames) is gets


async def test_a_deaf_client_neither_stops_the_worker_nor_fills_the_memory(client, emulator, lab):
    graph = lab()
    graph["2"] = {"class_type": "LabTell", "inputs": {"image": ["1", 0], "characters": 4 * 2**20}}
    async with client.session.ws_connect(f"{emulator.url}/ws?clientId=deaf") as deaf:
        deaf._conn.transport.pause_reading()  # the connection stays open, and nobody reads
        for color in range(25):
            graph["1"]["inputs"]["color"] = color
            await client.prompt(graph, "deaf", prompt_id=f"00000000-0000-4000-8000-{color:012}")
        assert (await client.finished("00000000-0000-4000-8000-000000000024"))["status"]["completed"]
        async with asyncio.timeout(60):  # 64 MiB behind, it is cut
            while emulator.stats.sockets:
                await asyncio.sleep(0.01)
        deaf._conn.transport.resume_reading()


# Files ---------------------------------------------------------------------------------------------------------------


async def upload(client, name: str, data: bytes, **fields: str) -> tuple[int, Any]:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("image", data, filename=name, content_type="image/png")
    for key, value in fields.items():
        form.add_field(key, value)
    async with client.session.post(f"{client.emulator.url}/upload/image", data=form) as response:
        return response.status, (await response.json() if response.status == 200 else None)


async def test_an_upload_keeps_its_name_for_the_same_bytes_and_gets_another_for_others(client, folders):
    assert await upload(client, "a.png", b"one") == (200, {"name": "a.png", "subfolder": "", "type": "input"})
    assert (await upload(client, "a.png", b"one"))[1]["name"] == "a.png"
    assert (await upload(client, "a.png", b"two"))[1]["name"] == "a (1).png"
    assert (await upload(client, "a.png", b"three"))[1]["name"] == "a (2).png"
    assert (await upload(client, "a.png", b"two"))[1]["name"] == "a (1).png"
    assert (await upload(client, "a.png", b"four", overwrite="true"))[1]["name"] == "a.png"
    assert (folders.input / "a.png").read_bytes() == b"four"


async def test_uploads_at_once_never_share_a_file(client, folders):
    answers = await asyncio.gather(*(upload(client, "same.png", bytes([number]) * 1000) for number in range(8)))
    names = {answer["name"] for _, answer in answers}
    assert len(names) == 8
    assert {(folders.input / name).read_bytes()[0] for name in names} == set(range(8))


@pytest.mark.parametrize(
    ("name", "fields"),
    [("a.png", {"subfolder": "../.."}), ("../a.png", {}), ("a.png", {"subfolder": "/etc"}), ("a.png", {"type": "models"})],
)
async def test_an_upload_cannot_leave_its_folder(client, folders, name, fields):
    assert (await upload(client, name, b"x", **fields))[0] == 400
    assert not list(folders.input.parent.rglob("a.png"))


async def test_an_upload_into_a_subfolder_is_found_by_loadimage(client):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    status, answer = await upload(client, "face.png", picture.getvalue(), subfolder="ryla/job")
    assert (status, answer["subfolder"]) == (200, "ryla/job")
    check = client.emulator.catalog.check_upload
    assert check("LoadImage", "image", "ryla/job/face.png") is None
    assert check("LoadImage", "image", "ryla/job/none.png") == "Invalid image file: ryla/job/none.png"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "missing.png", "a\0b.png", "x" * 5000])
async def test_loadimage_of_what_is_not_an_input_file_is_refused_before_it_runs(client, name):
    (client.emulator.folder / "secret.png").write_bytes(b"secret")
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "LabSave", "inputs": {"image": ["1", 0], "name": "x"}},
    }
    status, body = await client.post("/prompt", {"prompt": graph})
    assert status == 400
    error = body["node_errors"]["1"]["errors"][0]
    assert (error["type"], error["extra_info"]["input_name"]) == ("custom_validation_failed", "image")


async def test_view_sends_the_file_and_small_previews(client, folders):
    (folders.output / "sub").mkdir()
    Image.new("RGB", (64, 64), "red").save(folders.output / "sub" / "p.png")
    status, data = await client.get("/view", filename="p.png", subfolder="sub", type="output")
    assert status == 200 and data == (folders.output / "sub" / "p.png").read_bytes()
    _, preview = await client.get("/view", filename="p.png", subfolder="sub", preview="jpeg;80")
    assert Image.open(io.BytesIO(preview)).format == "JPEG"


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"filename": "../secret.png"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "secret.png", "subfolder": ".."}, 403),
        ({"filename": "passwd", "subfolder": "/etc"}, 403),
        ({"filename": "none.png"}, 404),
        ({"filename": "secret.png", "type": "models"}, 400),
        ({}, 400),
    ],
)
async def test_view_gives_nothing_from_outside_its_folders(client, parameters, status):
    (client.emulator.folder / "secret.png").write_bytes(b"secret")
    assert (await client.get("/view", **parameters))[0] == status


SCRIPTED = set("html htm xhtml xht xml svg svgz js mjs css mht mhtml xsl rdf swf pdf hta dae x3d".split())  # noqa: SIM905
ODD = {"HTML", "png.xhtml", "unknown", ""}


@pytest.mark.parametrize("suffix", sorted(SCRIPTED | ODD))
async def test_what_may_run_a_script_is_sent_as_bytes_to_be_saved(client, folders, suffix):
    name = f"x.{suffix}" if suffix else "x"
    (folders.output / name).write_text("<script xmlns='http://www.w3.org/1999/xhtml'>alert(1)</script>")
    async with client.session.get(f"{client.emulator.url}/view", params={"filename": name}) as response:
        assert response.status == 200
        assert response.content_type == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment;")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x.png", "image/png"), ("x.webp", "image/webp"), ("x.mp4", "video/mp4"), ("x.flac", "audio/"), ("x.txt", "text/plain")],
)
async def test_pictures_videos_sounds_and_texts_are_shown(client, folders, name, kind):
    (folders.output / name).write_bytes(b"x")
    async with client.session.get(f"{client.emulator.url}/view", params={"filename": name}) as response:
        assert response.content_type.startswith(kind)
        assert response.headers["Content-Disposition"] == f'filename="{name}"'
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_file_name_ends_no_header(client, folders):
    (folders.output / 'a"b\n.png').write_bytes(b"x")
    async with client.session.get(f"{client.emulator.url}/view", params={"filename": 'a"b\n.png'}) as response:
        assert response.status == 200
        assert response.headers["Content-Disposition"] == 'filename="a\\"b_.png"'


@pytest.mark.parametrize("name", [".", "./", "sub/..", "./.", "sub", "a/" * 2000 + "b", "x" * 5000])
@pytest.mark.parametrize("overwrite", ["true", "false"])
async def test_an_upload_is_a_file_of_the_folder_or_nothing(client, folders, name, overwrite):
    (folders.input / "sub").mkdir()
    before = {path.name for path in folders.input.parent.iterdir()}
    assert (await upload(client, name, b"x", overwrite=overwrite))[0] == 400
    assert {path.name for path in folders.input.parent.iterdir()} == before
    assert [path.name for path in folders.input.iterdir()] == ["sub"]


async def test_new_model_and_input_files_are_seen_without_a_restart(client, folders):
    async def options(node: str, name: str) -> list[str]:
        _, info = await client.get(f"/object_info/{node}")
        kind, *config = info[node]["input"]["required"][name]
        return list(kind if isinstance(kind, list) else config[0]["options"])

    assert "character.safetensors" in await options("LoraLoader", "lora_name")
    (folders.models / "loras" / "anna").mkdir(parents=True)
    (folders.models / "loras" / "anna" / "0123.safetensors").write_bytes(b"")
    assert "anna/0123.safetensors" in await options("LoraLoader", "lora_name")
    assert "anna/0123.safetensors" in (await client.get("/models/loras"))[1]
    await upload(client, "clip.mp4", b"video")
    assert await options("LoadVideo", "file") == ["clip.mp4"]
    assert await options("LoadImage", "image") == []
    assert (await client.get("/models/nothing"))[0] == 404


async def test_a_link_called_latent_is_no_list_of_files():
    schema = {"input": {"required": {"latent": ["LATENT"]}}, "output": ["LATENT"], "output_name": ["LATENT"], "output_node": False}
    with Emulator(schemas={"Latent to RawX": schema}) as emulator:
        async with aiohttp.ClientSession() as session, session.get(f"{emulator.url}/object_info") as response:
            assert response.status == 200
            listed = await response.json()
    assert listed["Latent to RawX"]["input"] == schema["input"]
    assert listed["LoadLatent"]["input"]["required"]["latent"] == [[]]


# Who may ask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{url}"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}, 200),
    ],
)
async def test_a_foreign_web_page_cannot_drive_it(client, headers, status):
    filled = {key: value.format(url=client.emulator.url, port=client.emulator.port) for key, value in headers.items()}
    async with client.session.get(f"{client.emulator.url}/queue", headers=filled) as response:
        assert response.status == status


async def test_a_foreign_web_page_cannot_open_a_websocket(client):
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await client.session.ws_connect(f"{client.emulator.url}/ws", origin="https://evil.example")


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
async def test_a_name_that_a_page_points_here_is_refused_wherever_it_listens(folders, bound):
    with Emulator(folders.input.parent / "other", host=bound, allow_hosts=["gpu.example"]) as server:
        asked = {
            "evil.example": 403,
            "127.0.0.1": 200,
            "localhost": 200,
            "LOCALHOST.": 200,
            "[::1]": 200,
            "192.168.1.5": 200,
            "gpu.example": 200,
            "GPU.EXAMPLE": 200,
            "sub.gpu.example": 403,
            "gpu.example.evil.example": 403,
            socket.gethostname(): 200,
            "": 403,
            "[": 403,
        }
        async with aiohttp.ClientSession() as session:
            for name, status in asked.items():
                host = f"{name}:{server.port}"
                address = f"http://127.0.0.1:{server.port}/queue"
                for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
                    async with session.get(address, headers=headers) as response:
                        assert response.status == status, headers
                        if name == "evil.example":
                            assert "--allow-host evil.example" in await response.text()


# Knobs ---------------------------------------------------------------------------------------------------------------


async def test_the_websocket_can_be_cut_once(client, emulator, lab):
    emulator.knobs.drop_websocket_after = 5
    async with client.socket() as websocket:
        prompt_id = await client.prompt(lab(STEPS))
        seen = [message async for message in websocket if message.type is aiohttp.WSMsgType.TEXT]
        assert len(seen) <= 5 and websocket.close_code == 1006
    assert (await client.finished(prompt_id))["status"]["completed"]  # the prompt lives on
    assert (await client.run(lab(color=2)))[-1]["data"]["node"] is None


async def test_nodes_can_be_held_and_go_on_when_they_are_let(client, emulator, lab):
    emulator.knobs.hold_nodes = True
    prompt_id = await client.prompt(lab())
    while not (await client.get("/queue"))[1]["queue_running"]:
        await asyncio.sleep(0.01)
    assert emulator.stats.executed == 0
    emulator.knobs.hold_nodes = False
    assert (await client.finished(prompt_id))["status"]["completed"]


async def test_the_server_can_be_silent_refuse_lose_its_history_and_drop_outputs(client, emulator, lab):
    emulator.knobs.silent_seconds = 0.2
    started = time.perf_counter()
    await client.run(lab())
    assert time.perf_counter() - started >= 0.2
    emulator.knobs.silent_seconds = 0.0
    emulator.knobs.refuse_prompts = 503
    assert (await client.post("/prompt", {"prompt": lab()}))[0] == 503
    emulator.knobs.refuse_prompts = None
    emulator.knobs.partial_node_errors = True
    assert (await client.post("/prompt", {"prompt": lab()}))[1]["node_errors"]["1"]["errors"]
    emulator.knobs.partial_node_errors = False
    emulator.knobs.lose_history = True
    await client.run(lab(color=3), prompt_id="2eab07b6-eafc-5666-945e-cbd276cfb7d2")
    assert (await client.get("/history/lost"))[1] == {}


async def test_the_server_can_vanish(client, emulator, lab):
    emulator.knobs.die_on_prompt = True
    async with client.socket() as websocket:
        await client.prompt(lab())
        async with asyncio.timeout(60):
            assert [message async for message in websocket if message.type is aiohttp.WSMsgType.BINARY] == []
        assert websocket.close_code == 1006
    with pytest.raises(aiohttp.ClientError):
        async with asyncio.timeout(60):
            await client.get("/queue")
