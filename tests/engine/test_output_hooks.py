"""Hooks on outputs: what they let pass, replace and refuse, and that nothing gets past one that fails, in whatever way."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ryla_gen import AsyncClient, Client, CustomWorkflow, Flux, Settings, load
from ryla_gen.client.submission import Order, check_hook
from ryla_gen.contract import Options
from ryla_gen.emulator.server import Emulator
from ryla_gen.engine.output_hooks import OutputHook, check_outputs
from ryla_gen.errors import HookFailedError, InvalidInputError, JobCanceledError, JobExpiredError, RefusedError, RylaGenError
from ryla_gen.events import Event, Finished, Preview, Started
from ryla_gen.results import Generation, Output
from ryla_gen.results.provenance import mark_of
from ryla_gen.workflows.base import Workflow

from ..conftest import encoded, portrait
from ..support.hooks import RULE, install, known_here

SMALL: dict[str, Any] = {"width": 256, "height": 256, "steps": 1, "seed": 7}
FINE, BAD = Flux(prompt="a red fox", **SMALL), Flux(prompt="a forbidden fox", **SMALL)
PAINT = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 255}}
PLAIN = {"1": PAINT, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}}
"""Two pictures of one colour, which no model makes."""
WORDS = {
    "1": {"class_type": "PrimitiveString", "inputs": {"value": "what a caption says"}},
    "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
}
KINDS: dict[str, dict[str, Any]] = {
    "image": PLAIN,
    "text": WORDS,
    "video": {
        "1": PAINT,
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
        "3": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0], "filename_prefix": "v", "format": "auto", "codec": "auto"}},
    },
    "audio": {
        "1": {"class_type": "EmptyAudio", "inputs": {"duration": 1.0, "sample_rate": 44100, "channels": 2}},
        "2": {"class_type": "SaveAudio", "inputs": {"audio": ["1", 0], "filename_prefix": "x"}},
    },
}
NAMES = iter(f"ryla_hook_{number}" for number in range(1000))
"""Modules stay loaded for as long as the process lives, so each test has its own."""
NOTHING = "def check(output, workflow): pass\n"

Install = Callable[..., str]


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator() as made:
        made.start()
        yield made


@pytest.fixture
def installed(tmp_path: Path, clean_environment: Path) -> Iterator[Install]:
    """Installs hooks for this process; returns the name of each."""
    with known_here(tmp_path / "site"):

        def add(source: str = RULE, hook: str | None = None) -> str:
            name = next(NAMES)
            install(tmp_path / "site", name, source, hook)
            return hook or name

        yield add


def test_a_job_that_is_canceled_while_hooks_are_loaded_is_stopped_on_its_server(tmp_path: Path, clean_environment: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    loading = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\n"
    loading += f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.01)\n"
    with Emulator() as server:
        server.knobs.hold_nodes = True
        with Client(url=server.start()) as client:
            job = client.submit(FINE)
            next(event for event in job.events() if isinstance(event, Started))
        install(tmp_path / "site", next(NAMES), loading + NOTHING)
        with known_here(tmp_path / "site"), Client(url=server.url) as client:
            again = client.jobs.get(job.id)
            while not begun.exists():
                time.sleep(0.01)
            try:
                again.cancel()
            finally:
                go.touch()
            assert again.state == "canceled"
        deadline = time.monotonic() + 100
        while server.queue.remaining() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.queue.remaining() == 0


def refused(client: Client, workflow: Workflow, kind: type[RefusedError] = RefusedError) -> RefusedError:
    """Run what is refused, and see that the journal says so."""
    with pytest.raises(RefusedError) as caught:
        client.run(workflow)
    assert type(caught.value) is kind
    [record, *_] = client.jobs.list()
    assert (record.state, (record.error or {})["code"]) == ("failed", kind.code)
    assert not record.outputs
    return caught.value


# -- installed hooks ---------------------------------------------------------------------------------------------------


def test_an_installed_hook_lets_pass_and_refuses(installed: Install) -> None:
    name = installed()
    with Client(backend="emulator") as client:
        assert client.run(FINE).server["on_output"] == [name]
        error = refused(client, BAD)
    assert error.message == f"flux-7-0.png was refused by {name}: It shows what it may not show."
    told = {"output": "flux-7-0.png", "hook": name, "said": {"score": 0.9}}
    assert {key: error.details[key] for key in told} == told
    assert (error.code, error.http_status, error.started) == ("refused", 422, "unknown")


FAILURES = {
    "an exception": "def check(output, workflow): raise ValueError(f'cannot read {output.data!r}')",
    "an exit": "import sys\ndef check(output, workflow): sys.exit(0)",
    "an interrupt": "def check(output, workflow): raise KeyboardInterrupt",
    "the end of an iterator": "def check(output, workflow): next(iter(()))",
    "a cancellation": "import asyncio\ndef check(output, workflow): raise asyncio.CancelledError",
    "an exception of an async one": "async def check(output, workflow): raise ValueError(output.data)",
    "an exit of an async one": "async def check(output, workflow): raise SystemExit",
    "an interrupt of an async one": "async def check(output, workflow): raise KeyboardInterrupt",
    "a cancellation of an async one": "import asyncio\nasync def check(output, workflow): raise asyncio.CancelledError",
    "a group": "from ryla_gen.errors import RefusedError\n"
    "async def check(output, workflow): raise ExceptionGroup('several', [RefusedError('one')])",
    "an exception without words": "class Odd(Exception):\n    def __str__(self): raise self\n"
    "def check(output, workflow): raise Odd",
    "yes": "def check(output, workflow): return True",
    "no": "def check(output, workflow): return False",
    "bytes": "def check(output, workflow): return output.data",
    "itself": "def check(output, workflow): return check",
    "no of an async one": "async def check(output, workflow): return False",
    "a generator": "def check(output, workflow): yield None",
    "no data": "from dataclasses import replace\ndef check(output, workflow): return replace(output, data=b'')",
    "no bytes": "from dataclasses import replace\ndef check(output, workflow): return replace(output, data='x')",
    "no picture": "from dataclasses import replace\ndef check(output, workflow): return replace(output, data=b'x' * 99)",
    "another kind": "from dataclasses import replace\ndef check(output, workflow): return replace(output, kind='file')",
    "too few arguments": "def check(output): pass",
    "its own failure": "from ryla_gen.errors import HookFailedError\ndef check(output, workflow): raise HookFailedError('no')",
}


@pytest.mark.parametrize("how", FAILURES)
def test_nothing_gets_past_a_hook_that_fails(how: str, installed: Install, server: Emulator) -> None:
    name = installed(FAILURES[how])
    with Client(url=server.url) as client:
        error = refused(client, CustomWorkflow(graph=PLAIN), HookFailedError)
        assert (error.details["hook"], error.details["output"]) == (name, "workflow-0-0.png")
        assert name in error.message
        assert len(error.message) < 600
        assert not any(sign in json.dumps(error.to_data()) for sign in ("PNG", "IHDR", "\\x", "\\u0000"))
        assert error.__cause__ is None
        assert client.jobs.list()[0].state == "failed"  # the event loop lives


@pytest.mark.parametrize(
    ("source", "why"),
    [("import no_such_package", "ModuleNotFoundError"), ("raise SystemExit", "SystemExit"), ("check = 7", "int, which cannot")],
)
def test_without_a_hook_that_cannot_be_loaded_nothing_runs(source: str, why: str, installed: Install) -> None:
    name = installed(source)
    with Emulator() as server, Client(url=server.start()) as client:
        error = refused(client, FINE, HookFailedError)
        assert server.stats.prompts == 0
    assert why in error.message
    assert (error.details["hook"], error.started) == (name, "no")


def test_hooks_are_asked_in_the_order_of_their_names_and_none_hides_another(installed: Install, server: Emulator) -> None:
    source = """
from dataclasses import replace
def check(output, workflow):
    return replace(output, text=output.text + " {word}", data=b"")
"""
    for hook, word in (("b", "second"), ("a", "first"), ("c", "third"), ("c", "third")):
        installed(source.replace("{word}", word), hook)
    with Client(url=server.url) as client:
        made = client.run(CustomWorkflow(graph=WORDS))
    assert made.text == "what a caption says first second third third"
    assert made.server["on_output"] == ["a", "b", "c", "c"]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_every_kind_are_asked_about(kind: str, installed: Install, server: Emulator) -> None:
    installed("from ryla_gen.errors import RefusedError\ndef check(output, workflow): raise RefusedError(output.kind)")
    with Client(url=server.url) as client:
        assert refused(client, CustomWorkflow(graph=KINDS[kind])).message.endswith(f": {kind}")


def test_of_several_outputs_one_refused_is_all_refused(installed: Install, server: Emulator) -> None:
    source = """
from ryla_gen.errors import RefusedError
def check(output, workflow):
    if output.name.endswith("-1.png"):
        raise RefusedError("the second")
"""
    installed(source)
    with Client(url=server.url) as client:
        assert refused(client, CustomWorkflow(graph=PLAIN)).details["output"] == "workflow-0-1.png"


def test_there_are_no_previews_where_a_hook_is_installed(installed: Install, server: Emulator) -> None:
    long = FINE.changed(steps=4, width=512, height=512)
    with Client(url=server.url) as client:
        assert any(isinstance(event, Preview) for event in events_of(client, long))
    installed(NOTHING)
    with known_again(), Client(url=server.url) as client:
        assert not any(isinstance(event, Preview) for event in events_of(client, long.changed(seed=8)))


def test_what_takes_an_outputs_place_is_an_output_like_any(installed: Install, server: Emulator, tmp_path: Path) -> None:
    source = f"""
from ryla_gen.results import Output
async def check(output, workflow):
    return Output("image", "image/gif", "../elsewhere.gif", {encoded(portrait((48, 32)))!r}, width=1, height=1)
"""
    installed(source)
    with Client(url=server.url) as client:
        [made] = client.run(FINE).outputs
        assert (made.name, made.media_type, made.width, made.height) == ("flux-7-0.png", "image/png", 48, 32)
        assert load(made.save(tmp_path / "x.png")).to_plain()["prompt"] == "a red fox"
        [made] = client.run(FINE.changed(output_format="jpeg")).outputs
    assert (made.name, made.media_type, made.node) == ("flux-7-0.jpg", "image/jpeg", made.node)
    assert made.node is not None
    assert Image.open(io.BytesIO(made.data)).size == (48, 32)


def test_a_refused_result_cannot_be_fetched_from_the_server_by_its_job(installed: Install, server: Emulator) -> None:
    installed()
    with Client(url=server.url) as client:
        refused(client, BAD)
        job = client.jobs.list()[0].id
        with pytest.raises(JobExpiredError):
            client.jobs.get(job).result()
        assert client.jobs.list()[0].error["code"] == "refused"  # type: ignore[index]


def test_a_result_whose_hook_failed_is_there_when_the_hook_works(installed: Install, server: Emulator, tmp_path: Path) -> None:
    name = installed("def check(output, workflow): {}['no such model']")
    with Client(url=server.url) as client:
        refused(client, FINE, HookFailedError)
        (tmp_path / "site" / f"{name}.py").write_text(RULE)
        with known_again(name):
            job = client.jobs.get(client.jobs.list()[0].id)
            assert job.result().output.name == "flux-7-0.png"


def test_a_result_that_another_process_asked_for_is_asked_about(installed: Install, server: Emulator) -> None:
    with Client(url=server.url) as client:
        job = client.run(BAD).job
        installed()
        with known_again(), pytest.raises(RefusedError):
            client.jobs.get(job).result()


def test_the_gpu_seconds_of_a_refused_job_are_paid_for_and_the_hooks_are_not(installed: Install, server: Emulator) -> None:
    installed()
    with Client(settings=Settings.load(comfyui_url=server.url, comfyui_hourly_usd=3600.0)) as client:
        error = refused(client, BAD)
        record = client.jobs.list()[0]
    assert record.cost_usd == error.details["cost_usd"] == pytest.approx(error.details["gpu_seconds"])
    assert 0 < error.details["gpu_seconds"] < 60


def test_a_refused_job_is_not_sent_anywhere_else(installed: Install) -> None:
    installed()
    with Emulator() as server, Client(backend="comfyui,emulator", url=server.start()) as client:
        assert "skipped" not in refused(client, BAD).details
        assert server.stats.prompts == 1
        assert [record.backend for record in client.jobs.list()] == ["comfyui"]


def test_one_refused_workflow_of_a_map_is_one_failure(installed: Install, server: Emulator) -> None:
    installed()
    with Client(url=server.url) as client:
        found = list(client.map([FINE, BAD, FINE.changed(seed=8)], return_exceptions=True))
    assert [type(item) for item in found] == [Generation, RefusedError, Generation]


# -- a client's own hook -----------------------------------------------------------------------------------------------


def no_fox(output: Output, workflow: Workflow) -> None:
    if "forbidden" in workflow.described()["prompt"]:
        raise RefusedError("No such foxes.", "Ask for a bear.")


@pytest.mark.parametrize("backend", ["emulator", "comfyui"])
def test_a_client_has_a_hook_of_its_own(backend: str, server: Emulator, clean_environment: Path) -> None:
    url = server.url if backend == "comfyui" else None
    with Client(backend=backend, url=url, on_output=no_fox) as client:
        assert client.run(FINE).output.kind == "image"
        error = refused(client, BAD)
        assert (error.message, error.hint) == ("flux-7-0.png was refused by on_output: No such foxes.", "Ask for a bear.")
        assert error.details["hook"] == "on_output"
        seen = events_of(client, BAD.changed(steps=4))
        assert isinstance(seen[-1], Finished)
        assert seen[-1].state == "failed"
        assert not any(isinstance(event, Preview) for event in seen)
        with pytest.raises(RylaGenError):
            client.jobs.get(client.jobs.list()[0].id).result()


async def test_an_async_client_waits_for_an_async_hook(server: Emulator, clean_environment: Path) -> None:
    async def shrink(output: Output, workflow: Workflow) -> Output | None:
        await asyncio.sleep(0)
        return replace(output, data=encoded(portrait((32, 32))))

    async with AsyncClient(url=server.url, on_output=shrink) as client:
        made = await client.run(FINE)
    assert (made.output.width, made.image.size) == (32, (32, 32))


async def test_the_event_loop_goes_on_while_a_hook_thinks(server: Emulator, clean_environment: Path) -> None:
    asked, answered = threading.Event(), threading.Event()

    def think(output: Output, workflow: Workflow) -> None:
        asked.set()
        assert answered.wait(60)

    async with AsyncClient(url=server.url, on_output=think) as client:
        job = await client.submit(FINE)
        await asyncio.to_thread(asked.wait, 60)
        assert not job.done
        answered.set()
        assert (await job.result()).seed == 7


async def test_canceling_while_a_hook_thinks_ends_the_job_although_the_hook_lets_it_pass(
    server: Emulator, clean_environment: Path
) -> None:
    asked = asyncio.Event()

    async def stubborn(output: Output, workflow: Workflow) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async with AsyncClient(url=server.url, on_output=stubborn) as client:
        job = await client.submit(FINE)
        await asked.wait()
        await job.cancel()
        with pytest.raises(JobCanceledError):
            await job.result()
        assert job.state == "canceled"


def test_a_hook_that_is_never_asked_is_refused_before_anything_is_sent(clean_environment: Path) -> None:
    order = Order("job", options=Options(output_to="s3://bucket/folder"))
    check_hook(order, ["modal"], given=False)
    check_hook(order, ["comfyui"], given=True)
    check_hook(Order("job"), ["modal"], given=True)
    with pytest.raises(InvalidInputError):
        check_hook(order, ["comfyui", "modal"], given=True)
    with Client(backend="modal", on_output=no_fox) as client:
        with pytest.raises(InvalidInputError, match="never asked"):
            client.run(FINE, output_to="s3://bucket/folder")
        assert client.jobs.list() == []


async def test_what_was_uploaded_unseen_is_not_passed_on() -> None:
    made = Output("image", "image/png", "x.png", url="s3://bucket/x.png", size=9)
    with pytest.raises(HookFailedError, match="uploaded to s3://bucket/x.png"):
        await check_outputs([made], FINE, [OutputHook("lenient", lambda output, workflow: None)], {}, mark_of({}, emulated=False))


def events_of(client: Client, workflow: Workflow) -> Sequence[Event]:
    job = client.submit(workflow)
    return list(job.events())


def known_again(*modules: str) -> Any:
    """Let this process forget the hooks that it has loaded, as a new one would know none."""
    return known_here(None, *modules)
