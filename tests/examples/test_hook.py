"""The package with a hook installs as any package does; its own tests run it with a model of one node."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .running import EXAMPLES, run


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the package; what it needs is there already, so no network is asked."""
    folder = tmp_path_factory.mktemp("hook")
    shutil.copytree(EXAMPLES / "hook", folder / "source")
    (folder / "source" / "ryla_classifier" / "model.onnx").write_bytes(b"no model")
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    done = run(folder, "-W", "ignore", "-m", "pip", "install", *options, "--target", str(folder / "site"), str(folder / "source"),
               PYTHONWARNINGS="ignore")  # fmt: skip
    assert done.code == 0, done.told
    return folder / "site"


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    tests = site.parent / "source" / "tests"
    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), PYTHONPATH=str(site), PYTHONWARNINGS="ignore")
    assert done.code == 0, done.said
    assert "4 passed" in done.said


def test_the_shell_writes_nothing_that_the_hook_cannot_judge(site: Path, tmp_path: Path) -> None:
    words = ("-m", "ryla_gen_cli", "run", "flux", "a fox", "--width", "256", "--height", "256", "--steps", "1", "-o", "fox.png")
    done = run(tmp_path, *words, PYTHONPATH=str(site))
    assert (done.code, done.new) == (1, ())
    assert "error[hook_failed]: flux-" in done.told
    assert "the hook classifier failed" in done.told
