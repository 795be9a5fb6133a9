"""Old import paths: the same module, and a warning that names the new path and the version in which the old one ends."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from ryla_gen.support.aliases import ALIASES, GONE
from ryla_gen.version import __version__


@pytest.mark.parametrize("old", sorted(ALIASES))
def test_an_old_path_gives_the_module_itself_and_says_where_it_is_now(old: str) -> None:
    new = f"ryla_gen.{ALIASES[old]}"
    sys.modules.pop(f"ryla_gen.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"ryla_gen.{old} is now {new};") as warned:
        found = import_module(f"ryla_gen.{old}")
    sys.modules.pop(f"ryla_gen.{old}", None)
    assert found is import_module(new)
    assert (found.__name__, found.__spec__.name if found.__spec__ else "") == (new, new)
    assert GONE in str(warned[0].message)


def test_the_warning_is_about_the_line_that_imports() -> None:
    lines = "import warnings\nwarnings.simplefilter('error')\nfrom ryla_gen.workflows.graph import Graph\n"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, check=False)
    assert done.stderr.decode().rstrip().splitlines()[-1].startswith("DeprecationWarning: ryla_gen.workflows.graph is now")
    shown = "from ryla_gen import hooks\nfrom ryla_gen import telemetry\nassert hooks is telemetry\n"
    done = subprocess.run([sys.executable, "-W", "always", "-c", shown], capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode().split(":")[:2]) == (0, ["<string>", "1"])


def test_a_path_that_never_was_stays_unknown() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_module("ryla_gen.no_such_module")


def test_old_paths_end_with_a_later_version_than_this() -> None:
    assert [int(part) for part in __version__.split(".")] < [int(part) for part in GONE.split(".")]
