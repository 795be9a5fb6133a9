"""A release says one version everywhere, and its workflows can be read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.version import __version__

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"


def read(*names: str) -> str:
    return ROOT.joinpath(*names).read_text(encoding="utf-8")


def test_the_typescript_module_has_the_version_of_the_package() -> None:
    folder = ("examples", "typescript")
    lock = json.loads(read(*folder, "package-lock.json"))
    assert json.loads(read(*folder, "package.json"))["version"] == __version__
    assert (lock["version"], lock["packages"][""]["version"]) == (__version__, __version__)
    assert f'"typescript-{__version__}"' in read(*folder, "src", "contract.ts")


def test_the_examples_of_the_contract_are_of_this_version() -> None:
    said = re.findall(r'"(?:sdk|app|version)": "([^"]+)"', read("docs", "contract.md"))
    assert len(said) == 3
    assert set(said) == {__version__}


def test_the_changelog_has_a_dated_section_of_this_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)} - \d{{4}}-\d\d-\d\d$", read("CHANGELOG.md"), re.MULTILINE)


def test_every_workflow_is_one_and_takes_its_actions_by_version() -> None:
    yaml: Any = pytest.importorskip("yaml", reason="the extra docs is not installed")
    if not WORKFLOWS.is_dir():
        pytest.skip("a source distribution has no workflows")
    found = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS.glob("*.yml")}
    assert {"tests.yml", "docs.yml", "packages.yml", "release.yml"} <= set(found)
    for name, workflow in found.items():
        assert workflow["permissions"] == {"contents": "read"}, name
        steps = [step for job in workflow["jobs"].values() for step in job.get("steps", [])]
        used = [step["uses"] for step in steps if "uses" in step]
        assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == [], name
