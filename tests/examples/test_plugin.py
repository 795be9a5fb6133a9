"""The plug-in package installs as any package does; then the shell and Python know its workflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import encoded, portrait

from .running import EXAMPLES, run, size_of


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the package; what it needs is there already, so no network is asked."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLES / "plugin", folder / "source")
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


def test_the_shell_draws_a_picture_again_as_far_from_it_as_wanted(site: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(encoded(portrait((320, 192))))
    words = ("-m", "ryla_gen_cli", "run", "restyle", "a woman, ink", "--image", str(tmp_path / "mine.png"), "--megapixels", "0.1")
    done = run(tmp_path, *words, "--seed", "3", "-o", "ink.png", PYTHONPATH=str(site))
    assert done.code == 0, done.told
    width, height = size_of(done.new[0])
    assert width / height == pytest.approx(320 / 192, abs=0.05)
    refused = run(tmp_path, *words, "--change", "0", "-o", "no.png", PYTHONPATH=str(site))
    assert (refused.code, refused.new) == (2, ())
    assert "change" in refused.told
