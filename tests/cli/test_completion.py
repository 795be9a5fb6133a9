"""What a shell offers when Tab is pressed: each shell is asked itself, where it is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ryla_gen.history import History

from .shell import SECONDS, environment, here
from .terminal import terminal

HEAVY = {"modal", "pydantic", "PIL", "aiohttp", "numpy", "av", "rich", "asyncio"}
EVIL = "a fox: $(touch pwned) \\$(touch pwned) `touch pwned` \"; touch pwned; ' ] )"
OLD, NEW = "1a000000-0000-4000-8000-000000000000", "2b000000-0000-4000-8000-000000000000"
PLUGIN = "[ryla_gen.workflows]\nflux_dusk = nowhere:Dusk\n"

EDITING = "\x1b[?2004h"
"""What zsh says when it has taken over the keys; before it, Ctrl-U is the terminal's own."""

Ask = Callable[[str], str]


@pytest.fixture
def shell_home(clean_environment: Path, tmp_path: Path) -> Path:
    """A command on the path, two jobs, two LoRAs, and a plug-in that would fail if it were loaded."""
    command = tmp_path / "bin" / "ryla-gen"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m ryla_gen_cli "$@"\n')
    command.chmod(0o755)
    with closing(History(clean_environment / "history.sqlite3")) as history:
        history.record(OLD, backend="emulator", workflow="flux", inputs={"prompt": EVIL})
        history.record(NEW, backend="emulator", workflow="flux_dev", inputs={"prompt": "a hare"})
    loras = clean_environment / "emulator" / "models" / "loras"
    (loras / "ada").mkdir(parents=True)
    (loras / "ada" / "lora.json").write_text("{}")
    (loras / "eve.safetensors").write_bytes(b"")
    plugin = tmp_path / "site" / "dusk-1.0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: dusk\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text(PLUGIN)
    return tmp_path


def variables(folder: Path) -> dict[str, str]:
    known = environment()
    more = {"PATH": f"{folder / 'bin'}:{known['PATH']}", "HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    return known | more | {"PYTHONPATH": f"{folder / 'site'}:{known['PYTHONPATH']}"}


def bash(folder: Path) -> Iterator[Ask]:
    def ask(line: str) -> str:
        words = line.split(" ")
        array = " ".join(f"'{word}'" for word in words)
        script = f'eval "$(ryla-gen --show-completion)"; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; '
        script += '_ryla_gen_completion ryla-gen; printf "%s\\n" "${COMPREPLY[@]}"'
        command = ["bash", "--norc", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables(folder), timeout=SECONDS)
        assert done.stderr == ""
        return done.stdout

    yield ask


def fish(folder: Path) -> Iterator[Ask]:
    def ask(line: str) -> str:
        script = f"ryla-gen --show-completion | source; complete -C '{line}'"
        command = ["fish", "--no-config", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables(folder), timeout=SECONDS)
        assert done.stderr == ""
        return done.stdout

    yield ask


def zsh(folder: Path) -> Iterator[Ask]:
    """A real interactive zsh, on a terminal: its completion works nowhere else."""
    with terminal("zsh", "-f", "-i", folder=folder, environ=variables(folder)) as there:
        there.until(EDITING)
        # A Tab is a Tab although keys are typed behind it.
        setup = "autoload -Uz compinit; compinit -u -D; zstyle ':completion:*' insert-tab false; "
        there.type(setup + "eval \"$(ryla-gen --show-completion)\"; echo SET''UP\n")
        said = there.until("SETUP\r")
        if EDITING not in said.partition("SETUP\r")[2]:
            there.until(EDITING)

        def ask(line: str) -> str:
            there.type(f"{line}\t\x15echo DO''NE\n")  # Ctrl-U takes the line away; what follows is said when the Tab was answered
            said = there.until("DONE\r")
            if EDITING not in said.partition("DONE\r")[2]:
                there.until(EDITING)
            return said

        yield ask


@pytest.fixture(params=[bash, zsh, fish], ids=["bash", "zsh", "fish"])
def ask(request: pytest.FixtureRequest, shell_home: Path) -> Iterator[Ask]:
    if shutil.which(request.param.__name__) is None:
        pytest.skip(f"{request.param.__name__} is not installed")
    yield from request.param(shell_home)


def test_the_shell_itself_offers_commands_workflows_options_loras_backends_and_jobs(ask: Ask, shell_home: Path) -> None:
    assert "rerun" in ask("ryla-gen r")
    dev = ask("ryla-gen run flux-d")
    assert "flux-dev" in dev
    assert "flux-dusk" in dev
    assert "--steps" in ask("ryla-gen run flux-dev --s")
    loras = ask("ryla-gen run flux-lora --lora-id ")
    assert "ada" in loras
    assert "eve" in loras
    assert "emulator" in ask("ryla-gen doctor --backend ")
    jobs = ask("ryla-gen jobs show ")
    assert "1a000000" in jobs
    assert "2b000000" in jobs
    assert not list(shell_home.glob("**/pwned"))


def test_help_stands_beside_jobs_without_the_signs_that_a_shell_would_run(shell_home: Path) -> None:
    told = asked(shell_home, "zsh", "ryla-gen jobs show ")
    assert told.index("2b000000") < told.index("1a000000")  # the newest first
    assert "2b000000:flux-dev queued a hare" in told
    pairs = told.partition("=(")[2].partition(")")[0]
    assert not set(pairs) & set('$`"\\;()[]')
    assert pairs.count("'") == 4
    assert "2b000000\tflux-dev queued a hare" in asked(shell_home, "fish", "ryla-gen jobs show ")


def asked(folder: Path, shell: str, line: str, **more: str) -> str:
    env = {"_RYLA_GEN_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    command = [str(folder / "bin" / "ryla-gen")]
    done = subprocess.run(command, capture_output=True, text=True, env=variables(folder) | env | more, timeout=SECONDS)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("line", ["run flux-d", "jobs show ", "run flux-lora --lora-id ", "config set ", "weights sync flux wa"])
def test_a_name_loads_nothing_that_takes_time(line: str, shell_home: Path) -> None:
    probe = "import json, sys, ryla_gen_cli\ntry:\n    ryla_gen_cli.main()\nexcept SystemExit:\n    print('MODULES', *sys.modules)"
    env = {"_RYLA_GEN_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": f"ryla-gen {line}"}
    env["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, env=variables(shell_home) | env, timeout=SECONDS, check=True
    )
    offered, _, loaded = done.stdout.partition("MODULES")
    assert offered.strip()
    assert not HEAVY & set(loaded.split())
    assert "typer" not in loaded.split()


def test_a_broken_setting_or_plug_in_shows_nothing_and_no_error(shell_home: Path, clean_environment: Path) -> None:
    (clean_environment / "config.toml").write_text("backend = [")
    assert asked(shell_home, "fish", "ryla-gen jobs show ") == ""
    assert asked(shell_home, "fish", "ryla-gen run flux-dusk --") == ""


def test_loras_of_another_machine_are_those_listed_last(shell_home: Path, clean_environment: Path) -> None:
    (clean_environment / "lora-ids.json").write_text(json.dumps({"modal": ["far-away", "no; touch pwned"]}))
    assert asked(shell_home, "fish", "ryla-gen lora show --backend modal ") == "far-away"
    assert here("lora", "list", "--backend", "emulator") == 0
    held = json.loads((clean_environment / "lora-ids.json").read_text())
    assert held["emulator"] == ["ada", "eve"]
    assert "far-away" in held["modal"]
