"""A workflow of another package, installed as packages are: nothing here needs a line for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .shell import SMALL, envelope, environment, picture, ryla

SOURCE = '''
from typing import ClassVar, Literal
from pydantic import Field
from ryla_gen import Flux

class Postcard(Flux):
    """A postcard. Made for tests."""

    name: ClassVar[str] = "postcard"
    family: ClassVar[str] = "flux"

    border: bool = Field(default=True)
    """Whether it has a border."""
    stamps: tuple[str, ...] = Field(default=())
    """Names of stamps."""
    ratio: float | None = Field(default=None)
    """A ratio."""
    layout: dict[str, int] = Field(default_factory=dict)
    """Where things are."""
    count: Literal[1, 2, 3] = Field(default=1)
    """How many."""
    output: str = Field(default="front")
    """A field with the name of an option of ours."""

    def build(self, files=None):
        """Fail when there is no such stamp, as a mistake in a package would."""
        for stamp in self.stamps:
            {"a": 1, "b,c": 2}[stamp]
        return super().build() if files is None else super().build(files)
'''


@pytest.fixture
def site(tmp_path: Path) -> str:
    """A folder with an installed plug-in, and a broken one."""
    (tmp_path / "postcard.py").write_text(SOURCE)
    info = tmp_path / "postcard-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: postcard\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ryla_gen.workflows]\npostcard = postcard:Postcard\nbroken = nowhere:Nothing\n")
    return str(tmp_path)


def with_site(site: str, *arguments: str, **env: str) -> tuple[int, bytes, bytes]:
    done = ryla(*arguments, PYTHONPATH=f"{site}:{environment()['PYTHONPATH']}", **env)
    return done.returncode, done.stdout, done.stderr


def test_its_fields_are_options(site: str, tmp_path: Path) -> None:
    line = ["run", "postcard", "a bay", *SMALL, "--no-border", "--stamps", "a", "--stamps", "b,c", "--ratio", "1.5"]
    more = ["--layout", '{"x": 3}', "--count", "2", "--field-output", "back", "-o", str(tmp_path / "x.png")]
    code, out, said = with_site(site, *line, *more, "--json")
    assert code == 0, said
    inputs = envelope(out)["data"]["inputs"]
    assert picture(tmp_path / "x.png").size == (256, 256)
    wanted = {"border": False, "stamps": ["a", "b,c"], "ratio": 1.5, "layout": {"x": 3}, "count": 2, "output": "back"}
    assert {name: inputs[name] for name in wanted} == wanted


def test_a_broken_one_hides_no_other(site: str) -> None:
    code, out, _ = with_site(site, "workflows", "list", "--json")
    items = {item["name"]: item for item in envelope(out)["data"]["items"]}
    assert code == 0
    assert (items["postcard"]["makes"], items["postcard"]["built_in"]) == ("A postcard", False)
    assert "cannot be loaded" in items["broken"]["makes"]
    code, out, _ = with_site(site, "run", "--help")
    assert code == 0
    assert b"A postcard" in out


def test_an_unforeseen_failure_has_a_code_and_shows_where_it_happened_only_when_asked(site: str) -> None:
    code, out, said = with_site(site, "run", "broken", "a bay")
    assert (code, out) == (1, b"")
    assert said.startswith(b"error[internal]: ModuleNotFoundError")
    assert b"RYLA_GEN_DEBUG=1" in said
    assert b"Traceback" not in said
    code, out, said = with_site(site, "run", "broken", "a bay", "--json", RYLA_GEN_DEBUG="1")
    assert (code, envelope(out)["error"]["code"]) == (1, "internal")
    assert b"Traceback" in said


def test_a_package_that_fails_is_named(site: str, tmp_path: Path) -> None:
    code, _, said = with_site(site, "run", "postcard", "a bay", *SMALL, "--stamps", "z", "-o", str(tmp_path / "x.png"))
    told, hint = said.splitlines()[-2:]
    assert (code, told.startswith(b"error[internal]: The job ")) == (1, True)
    assert told.endswith(b" failed: KeyError: 'z' (in postcard, a plug-in)")
    assert hint.startswith(b"  hint: Fix or uninstall that package; RYLA_GEN_DEBUG=1")
