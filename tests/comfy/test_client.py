"""The ComfyUI client against a stub server on a real socket, and its faults."""

import asyncio
import logging
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ryla_gen.comfy.client import ComfyClient
from ryla_gen.comfy.messages import (
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    ImageFrame,
    NodeExecuted,
    NodeProgress,
    PreviewImage,
    QueuePosition,
)
from ryla_gen.errors import (
    BackendUnreachableError,
    ContractMismatchError,
    InternalError,
    InvalidInputError,
    LoraNotFoundError,
    ModelNotFoundError,
    NotAuthorizedError,
    ResultExpiredError,
    RylaGenError,
    ServerUnhealthyError,
    WorkflowInvalidError,
)

from .stub_server import ANSWERS, JPEG, REST, StubServer

GRAPH = {"9": {"class_type": "SaveImage", "inputs": {}}}
FILE = {"images": [{"filename": "flux_00007_.png", "subfolder": "", "type": "output"}]}


@pytest.fixture
async def stub():
    async with StubServer() as server:
        yield server


@asynccontextmanager
async def clients(stub, **options):
    async with ComfyClient(stub.url, **options) as client:
        yield client


@pytest.fixture
async def client(stub):
    async with clients(stub, gone_after=60.0) as one:
        yield one


@pytest.fixture
async def hasty(stub):
    """A client that soon gives a server up, for those tests in which it has to."""
    async with clients(stub, gone_after=1.0, settle_after=1.0) as one:
        yield one


async def begin(client, prompt_id, graph=GRAPH):
    follower = client.follow(prompt_id)
    await client.submit(graph, prompt_id=prompt_id)
    return follower


async def read(follower):
    return [message async for message in follower]


async def run(client, prompt_id="p1"):
    return await read(await begin(client, prompt_id))


def of(kind, messages):
    return [message for message in messages if isinstance(message, kind)]


async def until(condition, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def caught_up(stub, client):
    """Wait until the client has read all that the server sent it: a last frame, of no meaning, comes behind the others."""
    before = client.dropped_frames.get("text", 0)
    await stub._push(client.client_id, "nonsense")
    await until(lambda: client.dropped_frames.get("text", 0) > before)


class TestRunning:
    async def test_a_prompt_runs_to_its_end_and_gives_its_outputs(self, stub, client, monkeypatch):
        monkeypatch.setattr("ryla_gen.comfy.socket.QUEUE_PAUSE", 60.0)  # however late this machine hears of the start
        messages = await run(client)
        assert isinstance(messages[0], ExecutionStart) and isinstance(messages[-1], ExecutionSuccess)
        assert [executed.output for executed in of(NodeExecuted, messages)] == [FILE]
        assert [progress.value for progress in of(NodeProgress, messages)] == [1, 2]
        assert stub.counts == {"GET /ws": 1, "POST /prompt": 1}  # nothing is polled

    async def test_the_request_says_what_it_should_and_never_a_number(self, stub, client):
        await client.submit(GRAPH, prompt_id="p1", extra_pnginfo={"ryla": {"seed": 7}})
        assert stub.posts == [
            {
                "prompt": GRAPH,
                "client_id": client.client_id,
                "prompt_id": "p1",
                "extra_data": {"extra_pnginfo": {"ryla": {"seed": 7}}},
            }
        ]

    async def test_the_first_frame_asks_for_preview_metadata(self, stub, client):
        await run(client)
        assert stub.first_frames == [{"type": "feature_flags", "data": {"supports_preview_metadata": True}}]

    @pytest.mark.parametrize("metadata", [True, False])
    async def test_previews_arrive_in_both_dialects(self, stub, client, metadata):
        stub.metadata, stub.hold_at = metadata, "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        seen = []
        async for message in follower:
            seen.append(message)
            if isinstance(message, PreviewImage):
                stub.release.set()
        assert {preview.data for preview in of(PreviewImage, seen)} == {JPEG}
        assert of(PreviewImage, seen)[0].node in ("7", "9")

    @pytest.mark.parametrize("metadata", [True, False])
    async def test_pictures_sent_over_the_websocket_are_kept(self, stub, client, metadata):
        stub.run, stub.metadata = "frame", metadata
        (frame,) = of(ImageFrame, await run(client))
        assert frame.data.startswith(b"\x89PNG") and frame.media_type == "image/png"

    async def test_a_cached_result_is_told_again(self, stub, client):
        stub.run = "cached"
        assert of(NodeExecuted, await run(client))[0].output["images"][0]["filename"] == "triv_00007_.png"

    async def test_a_failing_node_ends_the_messages(self, stub, client):
        stub.run = "out_of_memory"
        assert isinstance((await run(client))[-1], ExecutionError)

    async def test_frames_of_many_megabytes_pass(self, stub, client):
        stub.preview, stub.hold_at = JPEG + bytes(20_000_000), "executed"
        follower = await begin(client, "p1")
        async for message in follower:
            if isinstance(message, PreviewImage):
                assert len(message.data) == len(stub.preview)
                stub.release.set()
        assert stub.counts["GET /ws"] == 1

    async def test_a_reader_that_sleeps_stops_nobody_and_misses_only_previews(self, stub, client):
        stub.preview = bytes(1_000_000)
        sleeper = await begin(client, "sleeper")
        for number in range(30):
            await run(client, f"p{number}")
        messages = await read(sleeper)
        assert len(of(PreviewImage, messages)) <= 1
        assert len(of(NodeProgress, messages)) == 2 and isinstance(messages[-1], ExecutionSuccess)

    async def test_only_the_latest_preview_waits_for_a_slow_reader(self, stub, client):
        stub.hold_at = "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        await caught_up(stub, client)
        stub.hold_at = ""
        seen = []
        async for message in follower:
            seen.append(message)
            if isinstance(message, PreviewImage):
                stub.release.set()
        assert len(of(PreviewImage, seen)) == 1  # the recording has two

    async def test_many_prompts_share_one_websocket(self, stub, client):
        followers = [await begin(client, f"p{number}") for number in range(20)]
        for number, messages in enumerate(await asyncio.gather(*map(read, followers))):
            assert {message.prompt_id for message in messages} == {f"p{number}"}
            assert isinstance(messages[-1], ExecutionSuccess)
        assert stub.counts["GET /ws"] == 1 and stub.counts["POST /prompt"] == 20

    async def test_a_waiting_prompt_learns_its_position_once_per_change(self, stub, client):
        stub.hold_at = "executed"
        first, second, third = [await begin(client, prompt_id) for prompt_id in ("p1", "p2", "p3")]
        await until(lambda: third.position == 2)
        asked = stub.counts["GET /queue"]
        await asyncio.sleep(0.6)
        assert stub.counts["GET /queue"] <= asked + 1, "the last change may not have been asked about; time alone asks nothing"
        await client.cancel("p2")
        stub.go_on()
        assert [told.position for told in of(QueuePosition, await read(third))] == [2, 1]
        assert [told.position for told in of(QueuePosition, await read(second))] == [1]
        assert not of(QueuePosition, await read(first))

    async def test_the_second_prompt_learns_its_position_though_nothing_else_happens(self, stub, client):
        stub.hold_at = "executed"
        first, second = await begin(client, "p1"), await begin(client, "p2")
        async for message in second:
            assert message == QueuePosition("p2", 1)
            break
        first.close()
        second.close()

    async def test_what_was_heard_is_read_at_once_while_the_websocket_is_down(self, stub, client):
        stub.hold_at = "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        await caught_up(stub, client)
        stub.no_websockets = True
        stub.drop_sockets()
        await until(lambda: stub.counts["GET /ws"] >= 2)
        async with asyncio.timeout(30):  # no websocket comes back before that
            assert isinstance(await anext(follower), ExecutionStart)
        follower.close()

    async def test_garbage_from_the_server_is_ignored_and_logged(self, stub, client, caplog):
        stub.garbage = ["nonsense", "{}", '{"type": "x\x1b[31m", "data": {}}', b"", b"\0\0\0\4\xff\xff\xff\xff", b"\0\0\0\x09" * 9]
        with caplog.at_level(logging.DEBUG, "ryla_gen.comfy"):
            assert isinstance((await run(client))[-1], ExecutionSuccess)
        ignored = [record.getMessage() for record in caplog.records if "ignored a frame" in record.getMessage()]
        assert len(ignored) >= len(stub.garbage) and not any("\x1b" in line for line in ignored)
        assert stub.counts["GET /ws"] == 1

    async def test_a_prompt_is_followed_once(self, client):
        client.follow("p1")
        with pytest.raises(InternalError):
            client.follow("p1")

    @pytest.mark.parametrize("prompt_id", ["", "a/b", "a" * 129, "ü"])
    async def test_a_prompt_id_that_does_not_fit_is_refused_before_anything_is_sent(self, stub, client, prompt_id):
        for call in (client.interrupt, client.delete, client.cancel, client.history):
            with pytest.raises(InvalidInputError):
                await call(prompt_id)
        assert not stub.counts  # an interrupt without an id would stop whatever runs

    async def test_a_graph_that_is_no_json_is_refused_before_anything_is_sent(self, stub, client):
        for value in (float("nan"), object(), {1, 2}):
            with pytest.raises(WorkflowInvalidError):
                await client.submit({"1": value}, prompt_id="p1")
        assert not stub.posts

    async def test_a_body_over_the_servers_limit_is_not_sent(self, stub, client):
        with pytest.raises(InvalidInputError, match="too large"):
            await client.submit({"1": "x" * 104_857_600}, prompt_id="p1")
        assert not stub.posts


class TestRefused:
    @pytest.mark.parametrize("name", ["unknown_class_type", "value_not_in_list_model", "prompt_null", "body_over_100MB"])
    async def test_a_refusal_is_typed_and_nothing_is_withdrawn(self, stub, client, name):
        stub.answer = ANSWERS[name]
        kinds = {"unknown_class_type": WorkflowInvalidError, "value_not_in_list_model": ModelNotFoundError}
        kinds |= {"prompt_null": WorkflowInvalidError, "body_over_100MB": InvalidInputError}
        with pytest.raises(kinds[name]):
            await begin(client, "p1")
        assert stub.counts["POST /prompt"] == 1 and not stub.events

    async def test_a_200_with_node_errors_is_withdrawn_and_raised(self, stub, client):
        stub.node_errors, stub.hold_at = ANSWERS["partially_valid_200"]["body"]["node_errors"], "executing"
        with pytest.raises(WorkflowInvalidError, match="smaller than min"):
            await begin(client, "p1")
        assert stub.events == ["delete p1", "interrupt p1"]
        await until(lambda: "p1" in stub.history)
        assert stub.history["p1"]["status"]["status_str"] == "error"

    async def test_the_closest_file_is_found_when_the_server_left_out_a_long_list(self, stub, client):
        extra = {"input_name": "lora_name", "input_config": None, "received_value": "anna/12.safetensors"}
        error = {"type": "value_not_in_list", "message": "", "details": "", "extra_info": extra}
        body = {"error": {}, "node_errors": {"5": {"errors": [error], "class_type": "LoraLoader"}}}
        stub.answer = {"status": 400, "content_type": "application/json", "body": body}
        stub.model_files["loras"] = ["anna/13.safetensors", *(f"b{number}.safetensors" for number in range(60))]
        with pytest.raises(LoraNotFoundError) as caught:
            await begin(client, "p1")
        assert "anna/13.safetensors" in caught.value.hint
        assert len(caught.value.details["available"]) == 50

    async def test_a_server_that_takes_no_ids_is_told_apart(self, stub, client):
        stub.own_ids, stub.hold_at = True, "executing"
        with pytest.raises(ContractMismatchError):
            await begin(client, "p1")
        assert "interrupt 00000000-server-made" in stub.events

    async def test_something_else_at_the_address(self, stub, client):
        stub.answer = {"status": 200, "content_type": "text/html", "body": "<html>Sign in</html>"}
        with pytest.raises(BackendUnreachableError, match="No ComfyUI"):
            await begin(client, "p1")


class TestLostAnswers:
    async def test_nothing_listens(self, stub):
        await stub.stop()
        try:
            async with ComfyClient(stub.url) as client:
                with pytest.raises(BackendUnreachableError) as followed:
                    await begin(client, "p1")
                with pytest.raises(BackendUnreachableError) as alone:
                    await client.submit(GRAPH, prompt_id="p2")
            assert followed.value.details["sent"] is alone.value.details["sent"] is False
        finally:
            await stub.start()

    @pytest.mark.parametrize("fault", ["reset", "late"])
    async def test_a_prompt_that_the_server_took_is_followed_though_the_answer_was_lost(self, stub, client, fault):
        stub.after_post = fault
        messages = await run(client)
        assert of(NodeExecuted, messages)[0].output == FILE and isinstance(messages[-1], ExecutionSuccess)
        assert stub.counts["POST /prompt"] == 1

    async def test_without_a_follower_the_history_says_that_it_was_taken(self, stub, client):
        stub.after_post = "reset"
        assert (await client.submit(GRAPH, prompt_id="p1")).number is None
        assert stub.counts["POST /prompt"] == 1 and stub.counts["GET /queue"] >= 1

    async def test_a_prompt_that_the_server_does_not_have_is_not_sent_again(self, stub, hasty):
        stub.after_post = "reset_unqueued"
        with pytest.raises(ServerUnhealthyError, match="does not have it") as caught:
            await begin(hasty, "p1")
        assert caught.value.details["sent"] is True and stub.counts["POST /prompt"] == 1

    async def test_an_answer_that_comes_too_late(self, stub):
        stub.after_post = "hang"
        async with clients(stub, answer_timeout=4.0) as client:  # the websocket has to open in that time too
            assert isinstance((await run(client))[-1], ExecutionSuccess)
        assert stub.counts["POST /prompt"] == 1

    async def test_a_proxy_that_answers_for_the_server_decides_nothing(self, stub, hasty):
        stub.answer = {"status": 504, "content_type": "text/html", "body": "<html>Gateway timeout</html>"}
        with pytest.raises(ServerUnhealthyError):
            await begin(hasty, "p1")
        assert stub.counts["GET /queue"] >= 1 and stub.counts["POST /prompt"] == 1

    async def test_a_submit_that_is_cancelled_leaves_nothing_running(self, stub, client):
        stub.after_post, stub.hold_at = "hang", "executing"
        task = asyncio.create_task(client.submit(GRAPH, prompt_id="p1"))
        await stub.held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: "p1" in stub.history)
        assert stub.history["p1"]["status"]["messages"][-1][0] == "execution_interrupted"


class TestLostConnections:
    async def test_a_dropped_websocket_comes_back_and_nothing_is_submitted_twice(self, stub, client):
        stub.hold_at = "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        stub.drop_sockets()
        await until(lambda: stub.counts["GET /ws"] == 2)
        stub.release.set()
        messages = await read(follower)
        assert [executed.output for executed in of(NodeExecuted, messages)] == [FILE]
        assert isinstance(messages[-1], ExecutionSuccess) and len(of(ExecutionStart, messages)) == 1
        assert stub.counts["POST /prompt"] == 1 and follower.gap
        assert client.client_id in stub.sockets  # under the same client id

    async def test_what_was_saved_while_the_websocket_was_down_comes_from_the_history(self, stub, client):
        stub.hold_at = "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        stub.drop_sockets()
        stub.release.set()
        await until(lambda: "p1" in stub.history)
        messages = await read(follower)
        assert [executed.output for executed in of(NodeExecuted, messages)] == [FILE]
        assert isinstance(messages[-1], ExecutionSuccess) and stub.counts["POST /prompt"] == 1

    async def test_outputs_missed_while_the_prompt_ran_on_are_filled_in(self, stub, client):
        stub.hold_at = "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        stub.no_websockets = True
        stub.drop_sockets()
        await until(lambda: not stub.sockets)
        stub.go_on(until="execution_success")  # so that "executed" is said to nobody
        await stub.held.wait()
        stub.no_websockets = False
        await until(lambda: stub.sockets)
        stub.go_on()
        messages = await read(follower)
        assert [executed.output for executed in of(NodeExecuted, messages)] == [FILE]
        assert isinstance(messages[-1], ExecutionSuccess)

    async def test_a_socket_that_comes_back_deaf_does_not_hang(self, stub):
        stub.hold_at, stub.deafen = "executed", True
        async with clients(stub, silence=0.2) as client:
            follower = await begin(client, "p1")
            await stub.held.wait()
            stub.drop_sockets()
            await until(lambda: stub.counts["GET /ws"] == 2)
            stub.release.set()
            messages = await read(follower)
        assert of(NodeExecuted, messages)[0].output == FILE and isinstance(messages[-1], ExecutionSuccess)

    async def test_a_server_that_dies_is_noticed_within_seconds(self, stub, hasty):
        stub.hold_at = "executed"
        follower = await begin(hasty, "p1")
        await stub.held.wait()
        began = time.monotonic()
        await stub.stop()
        try:
            with pytest.raises(ServerUnhealthyError, match="has not answered"):
                await read(follower)
            assert 0.9 < time.monotonic() - began < 9, "not the ten seconds that another client waits"
        finally:
            await stub.start()

    async def test_every_prompt_of_a_dead_server_ends(self, stub, hasty):
        stub.hold_at = "executed"
        followers = [await begin(hasty, f"p{number}") for number in range(3)]
        await stub.held.wait()
        await stub.stop()
        try:
            ends = await asyncio.gather(*map(read, followers), return_exceptions=True)
            assert [type(end) for end in ends] == [ServerUnhealthyError] * 3
        finally:
            await stub.start()

    async def test_a_server_that_restarted_has_lost_the_prompt(self, stub, client):
        stub.hold_at = "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        await stub.stop()
        await stub.start()
        with pytest.raises(ServerUnhealthyError, match="lost the prompt"):
            await read(follower)
        assert stub.counts["POST /prompt"] == 1

    async def test_the_client_works_again_once_the_server_is_back(self, stub, client):
        await run(client, "p1")
        await stub.stop()
        await stub.start()
        await asyncio.sleep(0.05)
        assert isinstance((await run(client, "p2"))[-1], ExecutionSuccess)

    async def test_a_prompt_of_an_earlier_process_is_resumed(self, stub, client):
        await client.submit(GRAPH, prompt_id="p1")
        await until(lambda: "p1" in stub.history)
        async with clients(stub) as other:
            messages = await read(other.follow("p1", resume=True))
        assert of(NodeExecuted, messages)[0].output == FILE and isinstance(messages[-1], ExecutionSuccess)
        async with clients(stub) as other:
            with pytest.raises(ServerUnhealthyError, match="lost the prompt"):
                await read(other.follow("p-unknown", resume=True))

    async def test_sockets_that_drop_again_and_again_cost_no_prompt(self, stub):
        async def drop():
            for pause in (0.02, 0.15, 0.3, 0.25, 0.4):
                await asyncio.sleep(pause)
                await until(lambda: stub.sockets)  # there is one to drop
                stub.drop_sockets()
                await until(lambda: not stub.sockets)

        dropping = asyncio.create_task(drop())
        async with clients(stub, silence=0.3) as client:
            number = 0
            while not dropping.done():
                number += 1
                stub.hold_at = ("", "executed", "execution_success")[number % 3]
                follower = await begin(client, f"p{number}")
                asyncio.get_running_loop().call_later(0.03, stub.go_on)
                messages = await read(follower)
                assert [executed.output for executed in of(NodeExecuted, messages)] == [FILE]
                assert isinstance(messages[-1], ExecutionSuccess)
        assert stub.counts["POST /prompt"] == number and stub.counts["GET /ws"] >= 3

    async def test_broken_utf8_costs_one_reconnect(self, stub, client):
        stub.hold_at = "executed"
        follower = await begin(client, "p1")
        await stub.held.wait()
        await next(iter(stub._all))._writer.send_frame(b"\xff\xfe", 1)
        await until(lambda: stub.counts["GET /ws"] == 2)
        stub.release.set()
        assert isinstance((await read(follower))[-1], ExecutionSuccess)


class TestStopping:
    async def test_a_running_prompt_is_interrupted_and_its_neighbours_go_on(self, stub, client):
        stub.hold_at = "executed"
        first, second = await begin(client, "p1"), await begin(client, "p2")
        await stub.held.wait()
        stub.hold_at = ""
        await client.cancel("p1")
        assert isinstance((await read(first))[-1], ExecutionInterrupted)
        assert isinstance((await read(second))[-1], ExecutionSuccess)
        assert stub.events == ["delete p1", "interrupt p1"]

    async def test_a_waiting_prompt_is_taken_out_and_its_follower_ends(self, stub, client):
        stub.hold_at = "executed"
        first, second = await begin(client, "p1"), await begin(client, "p2")
        await stub.held.wait()
        await client.cancel("p2")
        assert (await read(second))[-1] == ExecutionInterrupted("p2")
        stub.release.set()
        assert isinstance((await read(first))[-1], ExecutionSuccess)
        assert "p2" not in stub.history

    async def test_a_waiting_prompt_that_somebody_else_deletes_does_not_hang(self, stub, client):
        stub.hold_at = "executed"
        first, second = await begin(client, "p1"), await begin(client, "p2")
        await stub.held.wait()
        async with clients(stub) as somebody:
            await somebody.delete("p2")
        assert (await read(second))[-1] == ExecutionInterrupted("p2")
        first.close()

    async def test_an_interrupt_that_the_server_forgets_is_sent_again(self, stub, client):
        stub.forgets_interrupts, stub.hold_at = True, "execution_start"
        follower = await begin(client, "p1")
        await stub.held.wait()
        await client.cancel("p1")
        await until(lambda: stub.events.count("interrupt p1") == 2)
        assert stub.events == ["delete p1", "interrupt p1", "interrupt p1"]
        follower.close()

    async def test_cancelling_what_has_finished_does_nothing(self, stub, client):
        await run(client)
        await client.cancel("p1")
        assert stub.history["p1"]["status"]["status_str"] == "success"


class TestFilesAndServer:
    async def test_an_upload_gives_the_name_the_server_used(self, client):
        assert await client.upload(b"one", "face.png") == "face.png"
        assert await client.upload(b"one", "face.png") == "face.png"
        assert await client.upload(b"two", "face.png") == "face (1).png"
        assert await client.upload(b"two", "face.png", subfolder="ryla/a") == "ryla/a/face.png"
        assert await client.upload(b"three", "face.png", overwrite=True) == "face.png"

    async def test_an_upload_outside_the_folder_is_invalid_input(self, client):
        with pytest.raises(InvalidInputError):
            await client.upload(b"x", "a.png", subfolder="../..")

    async def test_a_result_is_read_whole(self, stub, client):
        data = os.urandom(9_000_000)
        stub.files[("a b&ü.png", "ryla/1", "output")] = data
        assert await client.view("a b&ü.png", "ryla/1", "output") == data

    async def test_a_result_whose_file_is_gone(self, client):
        with pytest.raises(ResultExpiredError) as caught:
            await client.view("gone.png")
        assert "caches" in caught.value.hint

    async def test_object_info_is_asked_for_once(self, stub, client):
        first, second = await asyncio.gather(client.object_info(), client.object_info())
        assert first == second and "SaveImage" in first
        assert stub.counts["GET /object_info"] == 1
        await client.object_info(refresh=True)
        assert stub.counts["GET /object_info"] == 2

    async def test_the_queue_is_in_the_order_it_will_run(self, stub, client):
        stub._worker.cancel()
        stub.running, stub.pending = REST["queue"]["queue_running"], REST["queue"]["queue_pending"]
        queue = await client.queue()
        assert [prompt_id[:8] for prompt_id in queue.running] == ["92df1018"]
        assert [prompt_id[:8] for prompt_id in queue.pending] == ["5643166c", "16bc4948", "19e46589", "9e5f6e38"]

    async def test_models_and_stats(self, stub, client):
        stub.model_files["loras"] = ["a.safetensors"]
        assert await client.models("loras") == ["a.safetensors"]
        assert await client.models("no/such") == []
        assert (await client.system_stats())["system"]["comfyui_version"] == "0.3.71"


class TestAddressesAndSecrets:
    @pytest.mark.parametrize(
        "address",
        ["http://127.0.0.1:{}", "http://127.0.0.1:{}/", "ws://127.0.0.1:{}", "127.0.0.1:{}", "http://127.0.0.1:{}/some/prefix/"],
    )
    async def test_addresses_as_people_write_them(self, stub, address):
        async with ComfyClient(address.format(stub.port)) as client:
            assert isinstance((await run(client))[-1], ExecutionSuccess)

    @pytest.mark.parametrize(
        "address", ["", "ftp://host", "http://", "http://host:99999", "http://me:secret@host:port", "http://host/?token=secret"]
    )
    async def test_an_address_that_does_not_fit_is_not_repeated(self, address):
        with pytest.raises(InvalidInputError) as caught:
            ComfyClient(address)
        assert "secret" not in str(caught.value)

    async def test_credentials_of_the_address_are_used_and_shown_nowhere(self, stub, caplog):
        stub.require = {"Authorization": "Basic bWU6c2VjcmV0"}
        address = f"http://me:secret@127.0.0.1:{stub.port}"
        errors = []
        with caplog.at_level(logging.DEBUG):
            async with ComfyClient(address, gone_after=0.2) as client:
                assert isinstance((await run(client))[-1], ExecutionSuccess)
                stub.redirect_to = "http://127.0.0.1:1/"
                for call in (
                    client.system_stats,
                    client.queue,
                    lambda: client.view("x"),
                    lambda: client.submit(GRAPH, prompt_id="p3"),
                ):
                    with pytest.raises(RylaGenError) as caught:
                        await call()
                    errors.append(caught.value)
                stub.redirect_to, stub.hold_at = "", "executed"
                follower = await begin(client, "p4")
                await stub.stop()
                with pytest.raises(ServerUnhealthyError) as gone:
                    await read(follower)
                await stub.start()
                errors.append(gone.value)
            shown = caplog.text + client.address + "".join(f"{error} {error.details} {error.__cause__!r}" for error in errors)
        assert "secret" not in shown and "bWU6" not in shown

    async def test_a_bearer_token_goes_with_every_request(self, stub):
        stub.require = {"Authorization": "Bearer t0ken"}
        async with clients(stub, headers={"Authorization": "Bearer t0ken"}) as client:
            assert isinstance((await run(client))[-1], ExecutionSuccess)
        async with clients(stub) as client:
            with pytest.raises(NotAuthorizedError):
                await client.system_stats()
            with pytest.raises(NotAuthorizedError):
                await begin(client, "p2")

    async def test_no_redirect_is_followed_with_our_headers(self, stub):
        async with StubServer() as foreign:
            stub.redirect_to = foreign.url
            async with clients(stub, headers={"X-Token": "t0ken"}, settle_after=0.2) as client:
                with pytest.raises(BackendUnreachableError, match="redirects"):
                    await client.system_stats()
                with pytest.raises(BackendUnreachableError, match="redirects"):
                    await begin(client, "p1")
                with pytest.raises(BackendUnreachableError, match="redirects"):
                    await client.submit(GRAPH, prompt_id="p2")
            assert not foreign.headers
            assert stub.counts["GET /queue"] == 0  # a redirect is an answer: nothing was started

    async def test_a_proxy_of_the_environment_is_not_used(self, stub, monkeypatch):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        async with clients(stub) as client:
            assert isinstance((await run(client))[-1], ExecutionSuccess)

    async def test_a_server_that_accepts_and_says_nothing(self, stub):
        stub.silent = True
        async with clients(stub, answer_timeout=0.2) as client:
            with pytest.raises(BackendUnreachableError, match="does not answer"):
                await client.system_stats()


class TestTidiness:
    async def test_nothing_is_left_after_close(self, stub):
        tasks, files = asyncio.all_tasks(), open_files()
        for _ in range(3):
            stub.hold_at = "executed"
            async with clients(stub) as client:
                follower = await begin(client, f"p{_}-a")
                waiting = asyncio.create_task(read(follower))
                await begin(client, f"p{_}-b")
                await stub.held.wait()
            with pytest.raises(BackendUnreachableError, match="closed"):
                await waiting
        stub.release.set()
        await until(lambda: asyncio.all_tasks() <= tasks | stub_tasks() and open_files() <= files)

    async def test_closing_while_the_server_is_gone(self, stub):
        async with clients(stub) as client:
            stub.hold_at = "executed"
            follower = await begin(client, "p1")
            await stub.held.wait()
            await stub.stop()
            await until(lambda: follower.gap)
        assert follower.ended
        with pytest.raises(BackendUnreachableError, match="closed"):
            await read(follower)
        await stub.start()

    async def test_a_closed_client_says_so(self, stub):
        async with clients(stub) as client:
            pass
        with pytest.raises(BackendUnreachableError, match="closed"):
            await client.system_stats()

    async def test_two_hundred_prompts_leave_no_follower_behind(self, stub, client):
        for number in range(200):
            await run(client, f"p{number}")
        assert not client._socket._streams and not client._socket._tasks
        assert stub.counts["GET /ws"] == 1


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def stub_tasks():
    return {
        task for task in asyncio.all_tasks() if "stub_server" in repr(task.get_coro()) or "RequestHandler" in repr(task.get_coro())
    }
