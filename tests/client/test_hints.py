"""Hints of failed jobs name commands for the backend that ran, with the workflow, and the parser understands them."""

from __future__ import annotations

import pickle
import shlex
from collections.abc import Iterator

import pytest

from ryla_gen import CustomWorkflow, Flux
from ryla_gen.client.hints import fit_hint
from ryla_gen.comfy.errors import node_error
from ryla_gen.comfy.messages import ExecutionError
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import GenerationTimeoutError
from ryla_gen.workflows.base import Workflow
from ryla_gen_cli.screen import Screen
from tests.cli.shell import SMALL, here
from tests.cli.test_hint_commands import commands_in
from tests.docs.running import misfit

Capsys = pytest.CaptureFixture[str]
GRAPH = CustomWorkflow(
    graph={
        "1": {"class_type": "EmptyImage", "inputs": {}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
)


@pytest.mark.parametrize(
    ("backend", "workflow", "commands"),
    [
        ("modal", Flux(prompt="a fox"), ["weights verify flux"]),
        ("comfyui", Flux(prompt="a fox"), ["weights verify flux --local COMFYUI/models"]),
        ("emulator", Flux(prompt="a fox"), ["weights verify flux --local COMFYUI/models"]),
        ("runpod", Flux(prompt="a fox"), []),
        ("modal", GRAPH, []),
        ("comfyui", GRAPH, []),
    ],
)
def test_a_damaged_file_is_verified_where_it_lies(backend: str, workflow: Workflow, commands: list[str]) -> None:
    kind, text = "safetensors_rust.SafetensorError", "Error while deserializing header: InvalidHeaderDeserialization"
    error = node_error(
        ExecutionError("1", node_id="4", node_type="CheckpointLoaderSimple", exception_type=kind, exception_message=text)
    )
    fit_hint(error, backend, workflow)
    assert "damaged or incomplete" in error.hint and "WORKFLOW" not in error.hint
    assert list(commands_in(error.hint)) == commands
    assert [misfit(shlex.split(line)) for line in commands] == [""] * len(commands)
    assert ("docs/runpod.md" in error.hint) == (backend == "runpod")
    assert pickle.loads(pickle.dumps(error)).hint == error.hint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The server that the settings name; commands choose another backend than this one."""
    with Emulator() as made:
        monkeypatch.setenv("RYLA_GEN_BACKEND", "comfyui")
        monkeypatch.setenv("COMFYUI_POD_URL", made.url)
        yield made


def test_commands_about_loras_stay_at_the_backend_that_was_typed(
    server: Emulator, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here("run", "flux-lora", "a fox", *SMALL, "--lora", "nope", "--backend", "emulator") == 1
    hint = capsys.readouterr().err.partition("hint: ")[2].strip()
    assert hint.startswith("Store it: ryla-gen lora push --backend emulator FILE --id nope")
    assert [misfit(shlex.split(line), whole=False) for line in commands_in(hint)] == [""] * len(list(commands_in(hint)))
    assert here("lora", "list", "--backend", "emulator") == 0
    assert "ryla-gen lora push --backend emulator FILE.safetensors" in capsys.readouterr().out
    monkeypatch.setenv("RYLA_GEN_BACKEND", "emulator")
    assert here("lora", "list") == 0
    assert "ryla-gen lora push FILE.safetensors" in capsys.readouterr().out


def test_where_no_modal_is_configured_the_files_of_a_server_of_one_s_own_are_named(server: Emulator, capsys: Capsys) -> None:
    for verb in ("sync", "verify"):
        assert here("weights", verb, "flux") == 1
        hint = capsys.readouterr().err.partition("hint: ")[2]
        own, modal = hint.split(" On Modal: ")
        assert own.endswith(f"ryla-gen weights {verb} flux --local COMFYUI/models.")
        assert "modal token new" in modal


@pytest.mark.parametrize("taken", [True, False])
def test_a_command_without_a_time_limit_is_not_told_to_raise_it(taken: bool, capsys: Capsys) -> None:
    screen = Screen("character base" if not taken else "run")
    screen.has_timeout = taken
    screen.fail(GenerationTimeoutError("It ran longer than 120 s."))
    assert ("--timeout" in capsys.readouterr().err) == taken
