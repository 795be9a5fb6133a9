"""What licences allow, said where weights are shown, listed and brought; what nobody read stays unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ryla_gen.models.licences import commercial_use, condition, conditions, terms, together, verdict
from ryla_gen.models.weights_table import all_weights
from ryla_gen_cli.licences import notice
from ryla_gen_cli.screen import Screen

from .shell import envelope, here

DEV = [row for row in all_weights() if row.name == "flux1-dev-fp8.safetensors"]
FACES = [row for row in all_weights() if row.folder.startswith("insightface")]
SCHNELL = [row for row in all_weights() if row.name == "flux1-schnell-fp8.safetensors"]
OPENRAIL = [row for row in all_weights() if row.licence == "OpenRAIL++"]
UNREAD = [row for row in all_weights() if row.licence and "unverified" in row.licence]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("Apache-2.0", True),
        ("OpenRAIL++", True),
        ("Stability AI Community", True),
        ("Stability AI Community (unverified)", None),
        ("FLUX Non-Commercial", False),
        ("FLUX.1 [dev] Non-Commercial", False),
        ("insightface pretrained models: non-commercial research only", False),
        ("MIT (unverified)", None),
        ("MIT (third-party list)", None),
        ("see card (unverified)", None),
        ("", None),
        (None, None),
    ],
)
def test_only_a_licence_that_was_read_allows_anything(licence: str | None, allowed: bool | None) -> None:
    assert commercial_use(licence) is allowed


def test_one_file_that_forbids_it_is_enough_and_one_unknown_leaves_it_open() -> None:
    assert together(SCHNELL) is True
    assert together(SCHNELL + DEV + UNREAD) is False
    assert together(SCHNELL + UNREAD) is None
    assert together([]) is None
    assert [term.commercial_use for term in terms(SCHNELL + UNREAD[:1] + DEV)] == [False, None, True]


def test_a_condition_is_said_where_a_licence_has_one() -> None:
    assert condition("Apache-2.0") is condition(None) is condition("OpenRAIL (non-commercial)") is None
    assert "revenue" in str(condition("Stability AI Community (unverified)"))
    assert verdict(True, [None]) == "yes" and verdict(True, [None, "x"]) == "on conditions"
    assert verdict(False, ["x"]) == "no" and verdict(None, ["x"]) == "unknown"
    assert together(SCHNELL + OPENRAIL) is True and len(conditions(SCHNELL + OPENRAIL)) == 1
    first, second = terms(SCHNELL + OPENRAIL)
    assert first.text.startswith("OpenRAIL++: allows commercial use within the use restrictions")
    assert second.text.startswith("Apache-2.0: allows commercial use (")
    turbo = [row for row in all_weights() if row.name == "sd_xl_turbo_1.0_fp16.safetensors"]
    assert "is unknown; if so, below 1,000,000 USD" in terms(turbo)[0].text


def test_workflows_say_who_may_use_them(capsys: pytest.CaptureFixture[str]) -> None:
    here("workflows", "list", "--json")
    items = {item["name"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}
    assert {name for name, item in items.items() if item["commercial_use"]} >= {"flux", "wan2", "seedvr2"}
    assert items["workflow"]["commercial_use"] is None
    assert "research only" in items["instantid"]["licence"]
    here("workflows", "list")
    assert "commercial use" in capsys.readouterr().out.splitlines()[0]
    here("workflows", "show", "flux-dev")
    said = capsys.readouterr().out
    assert "FLUX.1 [dev] Non-Commercial: forbids commercial use (checkpoints/flux1-dev-fp8.safetensors" in said
    assert " flux," in said.partition("these are:")[2]
    here("workflows", "show", "flux")
    assert "forbids" not in capsys.readouterr().out.partition("Licences")[2].partition("Nodes")[0]


def test_the_list_of_weights_ends_with_what_they_allow(capsys: pytest.CaptureFixture[str]) -> None:
    here("weights", "list", "flux-pulid")
    said = capsys.readouterr().out
    assert " flux," in said.partition("Free for commercial use with their defaults:")[2]
    assert "so it is unknown: " in said
    here("weights", "list", "flux")
    assert "commercial use" not in capsys.readouterr().out.partition("1 file")[2]
    here("weights", "list", "flux-pulid", "--json")
    data = envelope(capsys.readouterr().out)["data"]
    assert {item["commercial_use"] for item in data["items"]} == {True, False, None}
    assert data["licences"][0]["commercial_use"] is False


def test_the_notice_comes_once_and_again_for_another_licence_or_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(rows: list, *, again: bool = False, quiet: bool = False) -> str:  # type: ignore[type-arg]
        screen = Screen("weights sync")
        screen.quiet = quiet
        notice(screen, rows, tmp_path / "home", again=again)
        return capsys.readouterr().err

    assert told(SCHNELL) == ""
    assert "Attachment A" in told(OPENRAIL) and told(OPENRAIL) == ""
    assert told(DEV, quiet=True) == ""
    assert told(DEV).startswith("licence: FLUX.1 [dev] Non-Commercial: forbids commercial use")
    assert told(DEV) == ""
    assert "FLUX.1" in told(DEV, again=True)
    assert "research only" in told(DEV + FACES)
    assert told(FACES) == ""
    file = tmp_path / "home" / "licences-told.json"
    assert len(json.loads(file.read_text())) == 3
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    file.write_text("{ broken")
    assert "FLUX.1" in told(DEV)
