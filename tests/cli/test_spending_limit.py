"""Every command that can spend takes ``--max-usd``, and sends nothing that would probably cost more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from ryla_gen.emulator.server import Emulator
from ryla_gen_cli import app

from .shell import SMALL, envelope, here

Capsys = pytest.CaptureFixture[str]

READS = "reads the journal, files or what a backend lists"
ATTENDS = "attends to jobs that were sent before; sends none"
LOCAL = "works on this machine alone"
CPU = "calls the CPU class at Modal, or moves files: a fraction of a cent, which nothing estimates"
ASKS = "deploys, or lets containers end, and asks first, with what it costs an hour"
SPEND_NOTHING = {
    READS: (
        *("estimate", "costs", "costs prices", "gallery", "families", "workflows list", "workflows show", "workflows schema"),
        *("jobs list", "jobs funnel", "character list", "config show", "config path", "deploy history", "lora list", "lora show"),
        *("graph check", "graph validate", "weights list", "verify"),
    ),
    ATTENDS: ("jobs show", "jobs watch", "jobs result", "jobs cancel", "jobs logs", "character status", "character cancel"),
    LOCAL: (
        *("config set", "config unset", "local install", "local start", "local stop", "local status", "emulator"),
        *("graph convert", "graph draw", "graph inputs", "graph lock", "graph export", "graph client", "graph scaffold"),
        *("character compare", "provenance init", "webhook secret", "webhook send", "webhook test", "samples"),
    ),
    CPU: ("weights sync", "weights verify", "weights prune", "lora push", "lora pull", "lora remove", "lora verify", "forget"),
    ASKS: ("deploy", "deploy graph", "deploy rollback", "deploy delete", "deploy cool"),
}
"""Reason → the commands that send nothing which could cost more than is said."""
WITHOUT = {name for names in SPEND_NOTHING.values() for name in names}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its words; of commands with one subcommand a workflow, one of them."""
    context = typer.Context(command, info_name=" ".join(path) or "ryla-gen")
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    if not names or getattr(command, "invoke_without_command", False):
        yield " ".join(path), command
    for name in names if "z-image" not in names else ["z-image"]:
        yield from commands(command.get_command(context, name), (*path, name))


ALL = {name: command for name, command in commands(typer.main.get_command(app.app)) if name}


def options(command: Any) -> set[str]:
    return {option for item in command.params for option in item.opts}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_command_that_can_spend_has_a_limit_and_no_other_does(name: str) -> None:
    short = name.removesuffix(" z-image")
    assert ("--max-usd" in options(ALL[name])) is (short not in WITHOUT), "give it the option, or say above why it needs none"


def test_no_reason_is_left_for_a_command_that_is_gone() -> None:
    assert {name.removesuffix(" z-image") for name in ALL} >= WITHOUT


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A server that costs a dollar a second."""
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    with Emulator() as made:
        monkeypatch.setenv("COMFYUI_POD_URL", made.start())
        monkeypatch.setenv("RYLA_GEN_BACKEND", "comfyui")
        yield made


def jobs(capsys: Capsys) -> list[str]:
    """Every job of the journal, which has them before they are sent. The server counts more: init probes its queue."""
    capsys.readouterr()
    assert here("jobs", "list", "--json") == 0
    return [item["id"] for item in envelope(capsys.readouterr().out)["data"]["items"]]


def test_what_would_cost_more_is_refused_before_anything_is_sent(
    server: Emulator, capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "fox.png"
    assert here("run", "flux", "fox", *SMALL, "-o", str(made)) == 0
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"workflow": "flux", "prompt": "fox"}\n')
    sent = jobs(capsys)
    for line in (
        ("run", "flux", "fox"),
        ("submit", "flux", "fox"),
        ("batch", str(rows), "-o", str(tmp_path / "batch")),
        ("rerun", str(made), "-o", str(tmp_path / "again.png")),
        ("graph", "run", str(made), "-o", str(tmp_path / "graph.png")),
        ("bench", "performance", "flux", "--yes"),
        ("character", "base", "a fox"),
        ("init", "--backend", "comfyui", "--url", server.url, "--picture", "--yes"),
        ("doctor", "--generate"),
        ("deploy", "warm", "flux", "--yes"),
    ):
        capsys.readouterr()
        assert here(*line, "--max-usd", "0.0001", "--json") == 1, line
        found = envelope(capsys.readouterr().out)
        assert "budget_exceeded" in str(found), line
        assert jobs(capsys) == sent, line


def test_containers_that_are_kept_count_by_the_hour_and_on_the_dearest_gpu_of_the_list(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Modal is here: what is refused has asked nobody."""
    monkeypatch.setenv("RYLA_GEN_MODAL_FAMILIES_FLUX_GPU", "L40S,H100")
    assert here("deploy", "warm", "flux", "--max-usd", "3", "--yes", "--json") == 1
    error = envelope(capsys.readouterr().out)["error"]
    assert (error["code"], error["details"]["setting"]) == ("budget_exceeded", "max_usd")
    assert error["details"]["estimate_usd"] < 3 < error["details"]["most_usd"]
    assert "an hour" in error["message"] and "--max-usd" in error["hint"]
