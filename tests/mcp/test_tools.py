"""What an agent can do: make pictures and see them, look things up, and be told what went wrong."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ryla_gen.tools.mcp.outputs import LONGEST_SIDE, MOST_BYTES, shown
from ryla_gen.workflows.registry import locks_folder
from tests.cli.shell import COMMAND, SECONDS, environment, here
from tests.conftest import encoded, portrait
from tests.locks.locking import portrait_lock, write_lock

from .agents import ERAS, SMALL, agent, error, facts, journaled, pictures


@pytest.mark.parametrize("mode", ERAS)
async def test_an_agent_makes_a_picture_and_sees_it(mode: str, clean_environment: Path) -> None:
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with agent(mode=mode) as client:
        made = await client.call_tool("flux_dev", {"prompt": "a fox", "seed": 7, **SMALL}, progress_callback=hear)
        told = facts(made)
        (shown,) = pictures(made)
        assert (shown.size, shown.format, told["state"], told["seed"]) == ((256, 256), "JPEG", "succeeded", 7)
        assert "emulator" in told["emulated"]
        (file,) = told["files"]
        assert Path(file["path"]).parent == clean_environment / "pictures"
        with Image.open(file["path"]) as saved:
            assert saved.size == (256, 256)
        again = await client.call_tool("result", {"job": told["job"][:8]})
        assert facts(again)["files"] == [file["path"]]
        assert len(pictures(again)) == 1
        seen = await client.call_tool("gallery", {"thumbnails": True})
        assert [(item["prompt"], item["seed"]) for item in facts(seen)["items"]] == [("a fox", 7)]
        assert max(pictures(seen)[0].size) <= 256
        assert facts(await client.call_tool("costs"))["by_workflow"] == {"flux_dev": {"usd": 0.0, "jobs": 1, "succeeded": 1}}
        (line,) = facts(await client.call_tool("jobs"))["jobs"]
        assert (line["job"], line["started_by"]) == (told["job"], "an agent")
    told_progress = [value for value, _ in heard]
    assert told_progress == sorted(set(told_progress))
    assert told_progress[-1] <= 1
    assert any(text and "KSampler" in text for _, text in heard)


async def test_the_tools_say_what_they_do_and_stay_small(clean_environment: Path) -> None:
    async with agent() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    hints = {name: tool.annotations for name, tool in tools.items() if tool.annotations}
    assert len(hints) == len(tools) == 14
    assert {name for name, hint in hints.items() if hint.destructive_hint} == {"cancel"}
    makes = {name for name, hint in hints.items() if not hint.read_only_hint and name != "cancel"}
    assert makes == {"z_image", "qwen_image_edit", "flux_dev", "wan22", "seedvr2", "run"}
    assert all(hints[name].open_world_hint and hints[name].idempotent_hint is False for name in makes)
    size = len(json.dumps([tool.model_dump(exclude_none=True) for tool in tools.values()]))
    assert size < 28_000, "some seven thousand tokens of every conversation"
    schema = tools["z_image"].input_schema
    assert schema["properties"]["image"]["type"] == "string"
    assert "allowed folder" in schema["properties"]["image"]["description"]
    assert (schema["required"], schema["additionalProperties"]) == (["prompt"], False)


async def test_chosen_workflows_are_all_there_is(clean_environment: Path) -> None:
    async with agent("--workflow", "flux", "--workflow", "flux-dev") as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert (names[:2], "run" in names, "workflows" in names) == (["flux", "flux_dev"], False, False)
        refused = error(await client.call_tool("estimate", {"workflow": "sdxl", "fields": {"prompt": "x"}}))
        assert (refused["code"], refused["hint"]) == ("invalid_input", "Choose one of: flux, flux_dev")
        assert error(await client.call_tool("run", {"workflow": "sdxl"}))["code"] == "invalid_input"


async def test_a_locked_graph_of_this_machine_is_a_tool(clean_environment: Path) -> None:
    write_lock(portrait_lock(), locks_folder())
    (locks_folder() / "broken.lock").write_text("not a lock")
    async with agent() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert ("portrait" in tools, "broken" in tools) == (True, False)
        needed = dict.fromkeys(tools["portrait"].input_schema.get("required", ()), "a fox")
        assert (await client.call_tool("estimate", {"workflow": "portrait", "fields": needed})).is_error is not True


async def test_the_other_workflows_are_reached_by_one_tool(clean_environment: Path) -> None:
    async with agent() as client:
        listed = facts(await client.call_tool("workflows"))["workflows"]
        assert "schnell" in listed["flux"]
        assert "workflow" not in listed, "a graph of the agent's own may run whatever the server has installed"
        fields = facts(await client.call_tool("workflows", {"name": "flux"}))["fields"]
        assert fields["properties"]["steps"]["type"] == "integer"
        made = await client.call_tool("run", {"workflow": "flux", "fields": {"prompt": "a fox", **SMALL}})
        assert len(pictures(made)) == 1


async def test_errors_have_a_code_a_message_and_what_to_do(clean_environment: Path) -> None:
    async with agent() as client:
        wrong = error(await client.call_tool("z_image", {"prompt": "a fox", "stepz": 3, "width": 1000}))
        assert (wrong["code"], "did you mean steps" in wrong["message"]) == ("invalid_input", True)
        assert "width=1008" in wrong["hint"] or "width=992" in wrong["hint"]
        narrow = {"prompt": "a fox", "width": 100}
        for name, fields in (("z_image", {}), ("z_image", narrow), ("estimate", {"workflow": "z_image"})):
            hint = error(await client.call_tool(name, fields))["hint"]
            assert ("ryla-gen" in hint, "schema of z_image" in hint) == (False, True), "an agent has tools, and no command line"
        for tool in ("run", "estimate"):
            hint = error(await client.call_tool(tool, {"workflow": "instantid", "fields": {"prompt": "x"}}))["hint"]
            assert hint == 'All fields and their ranges: call the tool workflows with {"name": "instantid"}'
        assert facts(await client.call_tool("workflows", {"name": "instantid"}))["workflow"] == "instantid", "as the hint says"
        assert "tool jobs" in error(await client.call_tool("result", {"job": "the newest"}))["hint"]
        dashed = {"workflow": "z-image", "fields": {"prompt": "a fox"}}
        assert facts(await client.call_tool("estimate", dashed))["workflow"] == "z_image"
        assert error(await client.call_tool("job", {"job": "0" * 8}))["code"] == "job_not_found"
        assert error(await client.call_tool("nothing_like_it"))["code"] == "invalid_input"
        assert facts(await client.call_tool("jobs"))["jobs"] == [], "what does not fit is no job"


async def test_a_call_that_takes_long_gives_its_job_which_goes_on(clean_environment: Path) -> None:
    async with agent("--wait", "0") as client:
        told = facts(await client.call_tool("flux_dev", {"prompt": "a fox", **SMALL}))
        assert (told["state"] in ("queued", "running"), "result" in told["hint"]) == (True, True)
        done = told
        while done["state"] != "succeeded":
            done = facts(await client.call_tool("result", {"job": told["job"]}))
        assert journaled(told["job"]).state == "succeeded"


def test_standard_output_has_the_protocol_and_nothing_else(clean_environment: Path) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
    }
    lines = ["no JSON", json.dumps(hello), json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"})]
    call = {"name": "jobs", "arguments": {"limit": 1}}
    for number, params in enumerate([call, {**call, "arguments": [1]}, {"name": 5}, {}], 2):
        lines.append(json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}))
    lines += ["\x00\xff", "{" * 5000, json.dumps({"jsonrpc": "2.0", "id": 9, "method": "tools/list"})]
    with subprocess.Popen(
        [*COMMAND, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        server.stdin.flush()
        answers = {}
        while 9 not in answers:
            said = json.loads(server.stdout.readline())
            answers[said.get("id")] = said
        server.stdin.close()
        assert server.stdout.read() == b""
        assert server.wait(SECONDS) == 0
    assert "tools" in answers[9]["result"]
    assert "error" in answers[3]


def test_a_missing_extra_is_said_with_what_to_install(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mcp", "mcp.server"):
        monkeypatch.setitem(sys.modules, module, None)  # as where the extra is not installed
    assert here("mcp") == 1
    said = capsys.readouterr()
    assert (said.out, "pip install 'ryla-gen[mcp]'" in said.err) == ("", True)


def test_help_lists_the_command_without_loading_the_sdk(clean_environment: Path) -> None:
    code = "import sys; from ryla_gen_cli.app import run; run(['mcp', '--help']); print('mcp' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=SECONDS)
    assert "--confirm-above" in done.stdout
    assert done.stderr.strip() == "False"


def test_a_picture_is_small_enough_for_a_model() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1600, 2400, 3), dtype=np.uint8)
    clear = Image.merge("RGBA", [*Image.fromarray(noise).split(), Image.new("L", (2400, 1600), 40)])
    for picture, kind in ((Image.fromarray(noise), "image/jpeg"), (clear, "image/png"), (portrait(), "image/jpeg")):
        block = shown(encoded(picture))
        data = base64.b64decode(block.data)
        assert (block.mime_type, len(data) <= MOST_BYTES) == (kind, True)
        with Image.open(io.BytesIO(data)) as small:
            assert max(small.size) <= LONGEST_SIDE
