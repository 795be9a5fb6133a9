from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .shell import environment

HEAVY = {"modal", "pydantic", "PIL", "aiohttp", "numpy", "av", "rich", "sqlite3", "asyncio"}

PROBE = """
import json, sys
import ryla_gen_cli
sys.argv = ["ryla-gen", {argument!r}]
try:
    ryla_gen_cli.main()
except SystemExit as end:
    assert not end.code, end.code
print("MODULES " + json.dumps(sorted(sys.modules)))
"""


def modules_after(argument: str) -> set[str]:
    command = [sys.executable, "-c", PROBE.format(argument=argument)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return set(json.loads(done.stdout.rpartition("MODULES ")[2]))


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_it_loads_nothing_heavy_and_no_command_module(argument: str) -> None:
    loaded = modules_after(argument)
    assert loaded & HEAVY == set()
    ours = {name for name in loaded if name.startswith(("ryla_gen.", "ryla_gen_cli."))}
    light = {"ryla_gen.version", "ryla_gen.errors", "ryla_gen.support.control_characters"}
    light |= {"ryla_gen.support", "ryla_gen.support.aliases", "ryla_gen.support.shell_words"}
    light |= {"ryla_gen_cli.app", "ryla_gen_cli.screen", "ryla_gen_cli.common", "ryla_gen_cli.old_commands"}
    assert ours <= light


def test_the_version_does_not_even_load_typer() -> None:
    assert "typer" not in modules_after("--version")
