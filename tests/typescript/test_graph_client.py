"""The modules that ``graph client`` writes: checkers accept them, and each makes a picture on a deployed lock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ryla_gen.locks.graph_lock import LockedInput
from ryla_gen.remote import pins
from ryla_gen.remote.graph_deploy import DeployReports, deploy_lock
from ryla_gen.tools.graph_client import python_client, typescript_client
from tests.cli.shell import here
from tests.locks.locking import colour_lock, write_lock
from tests.modal_loopback import Loopback, minimal_environment
from tests.modal_loopback.client import connected
from tests.suite.conftest import EMULATED, ROOT

from .conftest import execute, good

CALL = """
import { GraphError, brightColour } from "./bright-colour.js";
const made = await brightColour({ color: 255 });
const refused = await brightColour({ color: "red" }).catch((error) => error);
if (!(refused instanceof GraphError)) throw refused;
const kept = await brightColour({ color: 255 }, { outputTo: "s3://nobodys-bucket/x" });
if (!kept.warnings.some(({ code }) => code === "not_uploaded")) throw new Error("nobody tried to upload it");
const [output] = made.outputs;
console.log([made.workflow, output.kind, Buffer.from(output.data).subarray(1, 4).toString(), refused.code].join(" "));
"""
USE = """
import { brightColour, type BrightColourInputs } from "./bright-colour.js";
const inputs: BrightColourInputs = { color: 255 };
const made = await brightColour(inputs, { job: "x", outputTo: "s3://bucket/x", webhook: "https://example.com/hook" });
const [address, size]: [string?, number?] = [made.outputs[0]?.url, made.outputs[0]?.bytes];
const kinds: string[] = made.outputs.map((output) => output.kind);
// @ts-expect-error a field that the graph does not have
await brightColour({ colour: 255 });
console.log(kinds, address, size);
"""


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane on which nothing is deployed."""
    python = minimal_environment(tmp_path_factory.mktemp("python"), "modal", *pins.SDK, *pins.HUB)
    inside = {"RYLA_COMFYUI_COMMAND": EMULATED, "RYLA_WORK_FOLDER": str(tmp_path_factory.mktemp("work"))}
    with Loopback(python=python, container_env=inside, max_containers=1) as loopback:
        yield loopback


@pytest.fixture
def written(tmp_path: Path, node_modules: Path) -> Path:
    """Return a folder with the modules of a lock."""
    folder = tmp_path / "client"
    folder.mkdir()
    lock = colour_lock("bright-colour")
    for name, text in {"bright_colour.py": python_client(lock), **typescript_client(lock)}.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "node_modules").symlink_to(node_modules)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.mark.timeout(600)
def test_both_modules_make_a_picture(control: Loopback, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "cli")]))
    monkeypatch.setenv("RYLA_GEN_BACKEND", "modal")
    with connected(control):
        deploy_lock(write_lock(colour_lock("bright-colour"), tmp_path), DeployReports(lambda asked: None, lambda line: None))
        (written / "call.js").write_text(CALL)
        said = good(execute("node", "call.js", cwd=written, timeout=300, **control.env))
        assert said.split() == ["bright_colour", "image", "PNG", "invalid_input"]
        script = "from ryla_gen import Client; from bright_colour import bright_colour\n"
        script += "with Client() as client: print(bright_colour(client, color=7).outputs[0].kind)"
        path = os.pathsep.join([str(written), str(ROOT)])
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        assert done.stdout.split() == ["image"], done.stderr


def test_checkers_accept_them(written: Path) -> None:
    (written / "use.ts").write_text(USE)
    flags = ("--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck")
    good(execute("node", "node_modules/typescript/bin/tsc", *flags, "use.ts", cwd=written))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for command in (["ruff", "check", "--isolated"], ["mypy", "--strict"]):
        call = [sys.executable, "-m", *command, "bright_colour.py"]
        done = subprocess.run(call, cwd=written, env={**os.environ, "MYPYPATH": path}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_words_of_a_stranger_stay_words() -> None:
    lock = colour_lock("bright-colour")
    evil = LockedInput("x", "choice", lock.inputs[0].places, '*/ """ + evil() //', '"; evil()', choices=('"; evil()', "*/ evil()"))
    lock = replace(lock, inputs=(evil,))
    compile(python_client(lock), "client.py", "exec")
    assert '"""' not in python_client(lock).split("Args:")[1].partition('    """')[0]
    types = typescript_client(lock)["bright-colour.d.ts"]
    assert types.count("*/") == types.count("/**") + 1, "one more inside a text, where it ends nothing"


def test_a_language_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_lock(colour_lock("bright-colour"), tmp_path)
    assert here("graph", "client", path.name) != 0
    assert "--python" in capsys.readouterr().err
    assert here("graph", "client", path.name, "--python", "--typescript") == 0
    assert sorted(item.name for item in tmp_path.iterdir() if item.suffix in (".py", ".js", ".ts")) == [
        "bright-colour.d.ts",
        "bright-colour.js",
        "bright_colour.py",
    ]
    assert here("graph", "client", path.name, "--python") != 0, "a file that is there is kept"
