"""mypy and pyright agree: right calls pass, wrong ones are refused, without the fields being written twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CALLS = ROOT / "tests" / "typing" / "calls.py"
WRONG = {number for number, line in enumerate(CALLS.read_text(encoding="utf-8").splitlines(), 1) if "# error:" in line}


def test_mypy_refuses_exactly_the_wrong_calls() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--show-error-end", "--output", "json", str(CALLS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    found = {
        item["line"]
        for item in map(json.loads, done.stdout.splitlines())
        if item["severity"] == "error" and item["file"].endswith("calls.py")
    }
    assert found == WRONG, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_pyright_refuses_exactly_the_wrong_calls() -> None:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(CALLS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    report = json.loads(done.stdout)
    found = {item["range"]["start"]["line"] + 1 for item in report["generalDiagnostics"] if item["severity"] == "error"}
    assert found == WRONG, done.stdout


def test_a_method_has_its_fields_before_the_first_request_so_that_notebooks_complete_them() -> None:
    code = "import inspect; from ryla_gen import Client; print(list(inspect.signature(Client('emulator').flux_dev).parameters))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=600, check=True)
    assert "'prompt', 'negative_prompt', 'steps'" in done.stdout and "'speed'" in done.stdout
