"""What the worker runs, keeps and says, seen through the websocket and the history as a client sees it."""

from __future__ import annotations

import asyncio
import io
import json
import struct
from typing import Any

import pytest
from PIL import Image

from ryla_gen.media.origin import EMULATED, TOOL
from ryla_gen.media.provenance import read_mark

STEPS = {"class_type": "LabSteps", "steps": 2, "seconds": 0.0}
SLOW = {"class_type": "LabSteps", "steps": 200, "seconds": 0.02}
INVERT = {"class_type": "LabInvert"}


def numbered(number: int) -> str:
    """A prompt's id."""
    return f"00000000-0000-4000-8000-{number:012}"


def of_type(messages: list[Any], kind: str) -> list[dict[str, Any]]:
    return [message["data"] for message in messages if isinstance(message, dict) and message["type"] == kind]


def after_status(kinds: list[str]) -> list[str]:
    """The order without ``status``, which comes from another thread and may fall anywhere."""
    return [kind for kind in kinds if kind != "status"]


async def test_a_fresh_run_sends_what_comfyui_sends_in_its_order(client, lab, names, recorded):
    messages = await client.run(lab(INVERT))
    assert after_status(names(messages)) == after_status(recorded["07_rerun_SaveImage_1"])
    assert names(messages)[0] == "status" and "sid" in messages[0]["data"]
    assert names(messages)[-2:] == ["status", "executing"]


@pytest.mark.parametrize(("metadata", "recording"), [(False, "01_ws_flux_success"), (True, "02_ws_flux_success_featureflags")])
async def test_progress_and_previews_come_in_comfyuis_order(client, lab, names, recorded, metadata, recording):
    async with client.socket(metadata=metadata) as websocket:
        await client.until_done(websocket, await client.prompt(lab(color=5)))  # so that only the steps are new
        await client.until_done(websocket, await client.prompt(lab(STEPS, INVERT, color=5)))
    async with client.socket("you", metadata=metadata) as websocket:
        messages = await client.until_done(websocket, await client.prompt(lab(STEPS | {"steps": 2.0}, INVERT, color=6), "you"))
    # Another colour: the first node runs again, which the recording had cached; leave its three messages out.
    told = after_status(names(messages))
    start = told.index("execution_cached") + 1
    assert told[:start] + told[start + 3 :] == after_status(recorded[recording])


async def test_a_preview_is_a_small_jpeg_behind_a_big_endian_head(client, lab):
    async with client.socket() as websocket:
        messages = await client.until_done(websocket, await client.prompt(lab(STEPS)))
    frame = next(message for message in messages if isinstance(message, bytes))
    assert struct.unpack(">II", frame[:8]) == (1, 1)
    assert frame[8:11] == b"\xff\xd8\xff"


async def test_a_client_that_asks_for_it_gets_metadata_with_each_preview(client, lab):
    async with client.socket(metadata=True) as websocket:
        prompt_id = await client.prompt(lab(STEPS))
        messages = await client.until_done(websocket, prompt_id)
    frame = next(message for message in messages if isinstance(message, bytes))
    kind, length = struct.unpack(">II", frame[:8])
    about = json.loads(frame[8 : 8 + length])
    assert kind == 4
    expected = {"node_id": "2", "prompt_id": prompt_id, "display_node_id": "2", "parent_node_id": None, "real_node_id": "2"}
    assert about == expected | {"image_type": "image/jpeg"}
    assert frame[8 + length :][:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize(("metadata", "head"), [(False, (1, 2)), (True, (4, None))])
async def test_a_whole_picture_can_come_over_the_websocket(client, lab, metadata, head):
    graph = lab()
    graph["2"] = {"class_type": "LabSend", "inputs": {"image": ["1", 0]}}
    async with client.socket(metadata=metadata) as websocket:
        messages = await client.until_done(websocket, await client.prompt(graph))
    frame = next(message for message in messages if isinstance(message, bytes))
    kind, second = struct.unpack(">II", frame[:8])
    assert kind == head[0] and head[1] in (None, second)
    assert b"\x89PNG\r\n\x1a\n" in frame and b"ryla:emulated\0true" in frame


async def test_the_same_request_again_is_cached_and_names_the_old_file(client, emulator, lab, names, recorded):
    async with client.socket() as websocket:
        first = await client.until_done(websocket, await client.prompt(lab(INVERT)))
        ran = emulator.stats.executed
        again = await client.until_done(websocket, await client.prompt(lab(INVERT)))
    assert after_status(names(again)) == after_status(recorded["07_rerun_SaveImage_2"])
    assert of_type(again, "executed")[0]["output"] == of_type(first, "executed")[0]["output"]
    assert of_type(again, "execution_cached")[0]["nodes"] == ["1", "2", "3"]
    assert emulator.stats.executed == ran


async def test_a_node_whose_fingerprint_changes_runs_again(client, lab, names, recorded):
    graph = lab(INVERT)
    graph["3"] = {"class_type": "LabSend", "inputs": {"image": ["2", 0]}}
    async with client.socket() as websocket:
        await client.until_done(websocket, await client.prompt(graph))
        again = await client.until_done(websocket, await client.prompt(graph))
    assert after_status(names(again)) == after_status(recorded["07_rerun_SaveImageWebsocket_2"])


async def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(client, folders, lab):
    graph = lab()
    graph["1"] = {"class_type": "LabRead", "inputs": {"name": "n.txt"}}
    (folders.input / "n.txt").write_text("1")
    await client.run(graph)
    assert of_type(await client.run(graph), "execution_cached")[0]["nodes"] == ["1", "2"]
    (folders.input / "n.txt").write_text("2")
    assert of_type(await client.run(graph), "execution_cached")[0]["nodes"] == []


async def test_the_cache_ignores_node_ids_and_holds_only_the_last_prompt(client, lab):
    await client.run(lab(INVERT, color=1))
    renamed = json.loads(json.dumps(lab(INVERT, color=1)).replace('"1"', '"a"').replace('"2"', '"b"').replace('"3"', '"c"'))
    assert of_type(await client.run(renamed), "execution_cached")[0]["nodes"] == ["a", "b", "c"]
    await client.run(lab(INVERT, color=2))
    assert of_type(await client.run(lab(INVERT, color=1)), "execution_cached")[0]["nodes"] == []


async def test_free_empties_the_cache(client, lab):
    await client.run(lab())
    await client.post("/free", {"unload_models": True, "free_memory": True})
    assert of_type(await client.run(lab()), "execution_cached")[0]["nodes"] == []


async def test_a_node_that_raises_is_reported_and_what_ran_before_stays_cached(client, lab, names, recorded):
    graph = lab({"class_type": "LabFail", "kind": "value"}, INVERT)
    messages = await client.run(graph)
    assert after_status(names(messages)) == after_status(recorded["04_ValueError"])
    error = of_type(messages, "execution_error")[0]
    assert error["exception_message"] == "lab says no\n"
    assert (error["node_id"], error["node_type"], error["exception_type"]) == ("2", "LabFail", "ValueError")
    assert error["executed"] == ["1"]
    assert error["current_inputs"]["kind"] == ["value"] and "PIL" in error["current_inputs"]["image"][0]
    assert any("lab_fail" in line for line in error["traceback"])
    assert of_type(await client.run(lab(INVERT)), "execution_cached")[0]["nodes"] == ["1"]
    history = await client.finished(error["prompt_id"])
    assert history["status"]["status_str"] == "error" and history["status"]["messages"][-1][0] == "execution_error"


@pytest.mark.parametrize(
    ("kind", "type_name"),
    [("exit", "SystemExit"), ("memory", "MemoryError"), ("unserialisable", "TypeError"), ("wrong", "TypeError")],
)
async def test_no_node_can_kill_the_worker(client, lab, kind, type_name):
    messages = await client.run(lab({"class_type": "LabFail", "kind": kind}))
    assert of_type(messages, "execution_error")[0]["exception_type"] == type_name
    assert of_type(await client.run(lab(INVERT)), "execution_success")


async def test_a_node_that_would_make_the_result_alone_is_named_before_anything_runs(emulator, client, lab):
    graph = lab()
    graph["1"] = {"class_type": "LabMissing", "inputs": {}}
    status, body = await client.post("/prompt", {"prompt": graph})
    assert (status, body["error"]["type"]) == (400, "not_emulated")
    assert [(stop["node_id"], stop["class_type"]) for stop in body["error"]["extra_info"]["nodes"]] == [("1", "LabMissing")]
    assert emulator.stats.executed == 0


@pytest.mark.parametrize("by_id", [True, False])
async def test_an_interrupt_stops_the_running_prompt_at_once(client, lab, names, recorded, by_id):
    async with client.socket() as websocket:
        prompt_id = await client.prompt(lab(SLOW, INVERT))
        while (await websocket.receive_json())["type"] != "progress":
            pass
        await websocket.receive()  # the preview
        await client.post("/interrupt", {"prompt_id": prompt_id} if by_id else {})
        messages = await client.until_done(websocket, prompt_id)
    assert names(messages)[-3:] == recorded["10_interrupt_global_checked"][-3:]
    stopped = of_type(messages, "execution_interrupted")[0]
    assert (stopped["node_id"], stopped["node_type"], stopped["executed"]) == ("2", "LabSteps", ["1"])
    assert (await client.finished(prompt_id))["status"]["status_str"] == "error"


async def test_an_interrupt_of_another_id_and_of_an_idle_server_changes_nothing(client, lab):
    await client.post("/interrupt", {})
    async with client.socket() as websocket:
        prompt_id = await client.prompt(lab(STEPS | {"steps": 20, "seconds": 0.005}))
        while (await websocket.receive_json())["type"] != "progress":
            pass
        await client.post("/interrupt", {"prompt_id": "somebody else"})
        assert of_type(await client.until_done(websocket, prompt_id), "execution_success")


async def test_prompts_run_first_in_first_out_and_front_goes_first(client, emulator, lab):
    emulator.knobs.delay_per_node = 600.0  # the first one runs until it is interrupted, when all are there
    ids = [await client.prompt(lab(color=color), prompt_id=numbered(color)) for color in range(3)]
    while not (await client.get("/queue"))[1]["queue_running"]:
        await asyncio.sleep(0.01)
    ids.append(await client.prompt(lab(color=9), prompt_id="cda666ac-8fce-5913-b22a-f6d84ecccd04", front=True))
    emulator.knobs.delay_per_node = 0.05
    await client.post("/interrupt", {"prompt_id": ids[0]})
    entries = [await client.finished(prompt_id) for prompt_id in ids]
    starts = {entry["prompt"][1]: entry["status"]["messages"][0][1]["timestamp"] for entry in entries}
    assert sorted(starts, key=starts.__getitem__) == [numbered(0), "cda666ac-8fce-5913-b22a-f6d84ecccd04", numbered(1), numbered(2)]


async def test_a_waiting_prompt_can_be_deleted_and_leaves_no_trace(client, lab):
    running = await client.prompt(lab(SLOW))
    while not (await client.get("/queue"))[1]["queue_running"]:
        await asyncio.sleep(0.01)
    waiting, other = await client.prompt(lab(color=2)), await client.prompt(lab(color=3))
    await client.post("/queue", {"delete": [waiting, running]})
    _, queue = await client.get("/queue")
    assert [item[1] for item in queue["queue_pending"]] == [other]
    assert [item[1] for item in queue["queue_running"]] == [running]  # deleting does nothing to a running one
    await client.post("/queue", {"clear": True})
    await client.post("/interrupt", {})
    await client.finished(running)
    _, history = await client.get("/history")
    assert set(history) == {running}


async def test_the_same_id_twice_in_the_queue_does_not_hurt(client, lab):
    await client.prompt(lab(STEPS | {"steps": 5, "seconds": 0.01}), prompt_id="cb985935-ac20-54d7-b7d4-8d7d043cad36", number=1)
    await client.prompt(lab(color=2), prompt_id="cb985935-ac20-54d7-b7d4-8d7d043cad36", number=1)
    await client.prompt(lab(color=3), prompt_id="cb985935-ac20-54d7-b7d4-8d7d043cad36", number=1)
    assert of_type(await client.run(lab(color=4)), "execution_success")


async def test_the_history_is_complete_when_success_is_announced(client, lab):
    async with client.socket() as websocket:
        for color in range(30):
            prompt_id = await client.prompt(lab(color=color))
            while (message := await websocket.receive_json())["type"] != "execution_success":
                pass
            _, history = await client.get(f"/history/{prompt_id}")
            assert history[prompt_id]["outputs"]["2"]["images"][0]["filename"].startswith("lab_")
            assert message["data"]["prompt_id"] == prompt_id


async def test_history_entries_look_like_comfyuis(client, lab):
    graph = lab()
    prompt_id = await client.prompt(graph, prompt_id="88c610a3-37fa-5e61-8aaf-b25fe61ec9aa", extra_data={"extra_pnginfo": {"a": 1}})
    entry = await client.finished(prompt_id)
    assert entry["prompt"] == [
        0,
        "88c610a3-37fa-5e61-8aaf-b25fe61ec9aa",
        graph,
        {"extra_pnginfo": {"a": 1}, "client_id": "me"},
        ["2"],
    ]
    assert entry["status"]["completed"] and entry["status"]["status_str"] == "success"
    order = ["execution_start", "execution_cached", "execution_success"]
    assert [name for name, _ in entry["status"]["messages"]] == order
    assert entry["meta"] == {"2": {"node_id": "2", "display_node": "2", "parent_node": None, "real_node_id": "2"}}


async def test_the_history_is_bounded_and_can_be_asked_in_parts(client, emulator):
    from ryla_gen.emulator.server.queue import HISTORY_SIZE

    for number in range(HISTORY_SIZE + 50):
        emulator.queue.remember(f"p{number}", {"number": number})
    _, everything = await client.get("/history")
    assert len(everything) == HISTORY_SIZE and "p49" not in everything
    _, newest = await client.get("/history", max_items="2")
    assert list(newest) == [f"p{HISTORY_SIZE + 48}", f"p{HISTORY_SIZE + 49}"]
    _, part = await client.get("/history", max_items="2", offset="0")
    assert list(part) == ["p50", "p51"]
    await client.post("/history", {"delete": ["p50"]})
    assert list((await client.get("/history", max_items="1", offset="0"))[1]) == ["p51"]
    await client.post("/history", {"clear": True})
    assert (await client.get("/history"))[1] == {}


async def test_huge_prompts_do_not_add_up_in_the_history(client, emulator):
    from ryla_gen.emulator.server.queue import HISTORY_BYTES

    for number in range(10):
        emulator.queue.remember(f"p{number}", {}, HISTORY_BYTES // 4)
    assert list((await client.get("/history"))[1]) == ["p6", "p7", "p8", "p9"]
    emulator.queue.remember("alone", {}, HISTORY_BYTES * 2)
    assert list((await client.get("/history"))[1]) == ["alone"]


async def test_a_chain_of_thousands_of_nodes_runs(client, lab):
    messages = await client.run(lab(*[INVERT] * 3000))
    assert of_type(messages, "execution_success")
    assert max(len(state["nodes"]) for state in of_type(messages, "progress_state")) == 1


async def test_previews_are_only_drawn_for_somebody_who_watches(client, emulator, lab):
    await client.finished(await client.prompt(lab(STEPS), client_id="nobody listens"))
    assert emulator.stats.previews == 0


async def test_many_prompts_leave_the_memory_flat(client, emulator, lab):
    import tracemalloc

    async with client.socket() as websocket:

        async def some(first: int, last: int) -> None:
            for color in range(first, last):
                await client.until_done(websocket, await client.prompt(lab(STEPS, INVERT, color=color)))

        await some(0, 20)
        await client.post("/history", {"clear": True})
        tracemalloc.start()
        await some(20, 30)
        await client.post("/history", {"clear": True})
        before = tracemalloc.get_traced_memory()[0]
        await some(30, 90)
        await client.post("/history", {"clear": True})
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert grown < 500_000, f"{grown} bytes more after 60 prompts"


async def test_nodes_that_no_output_needs_do_not_run(client, emulator, lab):
    graph = lab()
    graph["9"] = {"class_type": "LabFail", "inputs": {"image": ["1", 0], "kind": "value"}}
    assert of_type(await client.run(graph), "execution_success")
    assert emulator.stats.executed == 2


async def test_five_at_once_all_get_their_own_picture(client, lab):
    async def one(number: int) -> str:
        async with client.socket(f"c{number}") as websocket:
            prompt_id = await client.prompt(lab(color=number, save=f"s{number}"), f"c{number}")
            messages = await client.until_done(websocket, prompt_id)
            assert {data.get("prompt_id", prompt_id) for data in of_type(messages, "executing")} == {prompt_id}
            return of_type(messages, "executed")[0]["output"]["images"][0]["filename"]

    assert await asyncio.gather(*map(one, range(5))) == [f"s{number}_00001_.png" for number in range(5)]


async def test_a_file_that_any_client_fetches_says_that_it_is_emulated(client, lab, folders):
    given = io.BytesIO()
    Image.new("RGB", (64, 64), (7, 0, 0)).save(given, "PNG")
    (folders.output / "mine_00001_.png").write_bytes(given.getvalue())
    entry = await client.finished(await client.prompt(lab(color=7)))
    ((file,),) = (output["images"] for output in entry["outputs"].values())
    _, data = await client.get("/view", **file)
    assert read_mark(data, "image/png") == (EMULATED, f"{TOOL} (emulated)")
    assert Image.open(io.BytesIO(data)).tobytes() == Image.open(given).tobytes()
    assert (folders.output / "mine_00001_.png").read_bytes() == given.getvalue(), "another's file stays"
