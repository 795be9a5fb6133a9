from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ryla_gen.version import __version__
from ryla_gen.workflows.registry import BUILT_IN, workflow_class
from ryla_gen_cli import app
from ryla_gen_cli.options import fields_of

from .shell import envelope, here, ryla

COMMANDS = [
    "",
    "run",
    *(f"run {name.replace('_', '-')}" for name in BUILT_IN),
    "workflows",
    *(f"workflows {verb}" for verb in ("list", "show", "schema")),
    "graph",
    *(f"graph {verb}" for verb in ("run", "validate", "convert", "draw", "inputs", "scaffold")),
    "jobs",
    *(f"jobs {verb}" for verb in ("list", "show", "watch", "result", "cancel", "logs", "funnel")),
    "submit",
    "submit flux-dev",
    "batch",
    "weights",
    *(f"weights {verb}" for verb in ("list", "sync", "verify")),
    "deploy",
    *(f"deploy {verb}" for verb in ("warm", "cool", "history", "rollback", "delete")),
    "doctor",
    "estimate",
    "estimate flux-dev",
    "lora",
    *(f"lora {verb}" for verb in ("push", "list", "show", "pull", "remove", "verify")),
    "character",
    *(f"character {verb}" for verb in ("base", "swap", "sheet", "status", "resume", "retry", "list")),
    "local",
    *(f"local {verb}" for verb in ("install", "start", "stop", "status")),
    "costs",
    "costs prices",
    "gallery",
    "init",
    "bench",
    *(f"bench {verb}" for verb in ("success-rate", "consistency", "performance")),
    "rerun",
    "emulator",
    "config",
    *(f"config {verb}" for verb in ("show", "path", "set", "unset")),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_ends_with_an_example_of_a_command_that_exists(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here(*command.split(), "--help") == 0
    said = capsys.readouterr().out
    example = said.partition("Example:")[2].strip()
    words = shlex.split(example.partition(" > ")[0])
    assert words[0] == "ryla-gen"
    assert words[1] in app.COMMANDS
    assert "\n" not in example


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_example_of_a_workflow_is_understood(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to the run: a file it names is missing, or the output's folder is."""
    here("run", name, "--help")
    words = shlex.split(capsys.readouterr().out.partition("Example:")[2])
    assert here(*words[1:], "-o", "/dev/null/x.png" if "mp4" not in words[-1] else "/dev/null/x.mp4") in (1, 2)
    said = capsys.readouterr().err
    assert "unexpected" not in said
    assert "No such option" not in said
    assert "storage_failed" in said or "graph_api.json" in said


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_field_is_an_option_with_its_docstring(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cls = workflow_class(name)
    here("run", name, "--help")
    said = " ".join(capsys.readouterr().out.split())
    for field, info in cls.model_fields.items():
        option = fields_of(cls)[field].option
        assert re.search(rf"{option}\b", said), field
        assert info.description, field
        start = " ".join(info.description.replace("``", "").split())[:20]
        assert field == "prompt" or re.sub(r"\s", "", start) in re.sub(r"\s", "", said), field


def test_the_version() -> None:
    done = ryla("--version")
    assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (0, f"ryla-gen {__version__}", b"")


def test_without_a_command_the_help_goes_to_stderr_and_counts_as_usage() -> None:
    done = ryla()
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"workflows" in done.stderr


def test_a_mistyped_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("wrkflows") == 2
    assert "hint: Did you mean: ryla-gen workflows\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["flux-dev", "a red fox", "-o", "fox.png"], "Run it: ryla-gen run flux-dev 'a red fox' -o fox.png"),
        (["FLUX_DEV", "it's dusk"], "Run it: ryla-gen run FLUX_DEV 'it'\"'\"'s dusk'"),
        (["portrait.lock", "a fox"], "Run it: ryla-gen run portrait.lock 'a fox'"),
        (["flux-devv", "a fox"], "Did you mean: ryla-gen run flux-dev 'a fox'"),
        (["a lighthouse at dusk"], "For example: ryla-gen run z-image 'a lighthouse at dusk'"),
        (["my graph.json", "--seed", "7"], "Run what is in it: ryla-gen graph run 'my graph.json' --seed 7"),
        (["fox.png"], "Run what is in it: ryla-gen rerun fox.png"),
        (["cancel", "7f0c4a1e"], "Did you mean: ryla-gen jobs cancel 7f0c4a1e or ryla-gen character cancel 7f0c4a1e"),
        (["watch", "7f0c4a1e"], "Did you mean: ryla-gen jobs watch 7f0c4a1e"),
        (["wacth", "7f0c4a1e"], "Did you mean: ryla-gen jobs watch 7f0c4a1e"),
        (["bacth", "rows.jsonl"], "Did you mean: ryla-gen batch rows.jsonl"),
        (["frobnicate"], "See them all: ryla-gen --help"),
    ],
)
def test_what_is_no_command_gets_the_line_that_was_meant(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here(*words) == 2
    assert f"  hint: {meant}\n" in capsys.readouterr().err
    assert here(*words, "--json") == 2
    assert envelope(capsys.readouterr().out)["error"]["code"] == "invalid_input"


def test_a_lock_that_is_kept_here_is_suggested_by_its_name(clean_environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clean_environment / "locks").mkdir(parents=True)
    (clean_environment / "locks" / "portrait.lock").write_text("")
    assert here("portrait", "a fox") == 2
    assert "Run it: ryla-gen run portrait 'a fox'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "run flux-dev fox --nope",
        "run flux-dev fox bear",
        "run flux-dev fox --steps many",
        "run flux-dev fox --steps 0",
        "run flux-dev fox --steps",
        "run flux-dev fox --sampler eulerr",
        "run flux-dev fox --seed -1",
        "run flux-dev fox --seed 99999999999999999999999999",
        "run flux-dev fox --cfg nan",
        "run flux-dev fox --width 1000",
        "run flux-dev fox --timeout 0",
        "run flux-dev fox --timeout inf",
        "run flux-dev fox --prompt bear",
        "run flux-dev fox -o x.gif",
        "run flux-dev fox -o x.png --output-format jpeg",
        "run flux-dev fox -o {nope}.png",
        "run flux-dev fox -o {seed",
        "run flux-dev fox --output-format gif",
        "run flux-dev",
        "run flux-devv fox",
        "run instantid fox",
        "run instantid fox --reference-image nowhere.png",
        "run flux-lora fox --lora a:strong",
        "run flux-lora fox --lora ../a",
        "run flux-lora fox",
        "run seedvr2 fox",
        "run wan2 fox -o x.png",
        "run workflow --graph nowhere.json",
        "graph run nowhere.json",
        "graph validate nowhere.json",
        "rerun",
        "jobs list --state sleeping",
        "jobs list --limit 0",
        "config set nope 1",
        "config set modal.timeout soon",
        "emulator --port 99999",
        "frobnicate",
        "deploy nowhere",
        "deploy history Portrait!",
        "deploy history comfyui",
        "deploy rollback --to 0",
        "deploy --yes delete",
        "deploy --environment staging delete",
        "workflows show nope",
    ],
)
def test_a_wrong_line_is_exit_2_one_error_and_no_traceback(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here(*line.split()) == 2
    plain = capsys.readouterr()
    assert plain.out == ""
    assert re.match(r"error\[[a-z_]+\]: \S.*\n  hint: \S", plain.err)
    assert here(*line.split(), "--json") == 2
    last = envelope(capsys.readouterr().out)
    assert (last["ok"], last["data"], last["error"]["code"]) == (False, None, re.match(r"error\[([a-z_]+)", plain.err)[1])
    assert last["command"] == app.command_of(line.split())


def test_a_prompt_in_several_words_is_told_about_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    here("run", "flux-dev", "a", "red", "fox")
    assert "in quotes" in capsys.readouterr().err
    here("run", "seedvr2", "fox")
    assert "in quotes" not in capsys.readouterr().err


def test_a_prompt_may_look_like_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("run", "flux-dev", "-o", "{x}.png", "--", "--json") == 2
    assert capsys.readouterr().out == ""


def test_people_begin_with_a_workflow_that_is_free_for_commercial_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("--help") == 0
    root = Path(__file__).resolve().parents[2]
    places = (
        "examples/first_picture.py",
        "examples/notebooks/01-first-picture.ipynb",
        "docs/start/notebook.md",
        "docs/quick-start.md",
    )
    for text in (capsys.readouterr().out, *((root / place).read_text(encoding="utf-8") for place in places)):
        assert re.search(r"z[_-]image|ZImage", text)
        assert not re.search(r"flux[_-]dev|FluxDev", text)
