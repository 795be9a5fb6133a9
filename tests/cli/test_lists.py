from __future__ import annotations

import json
from pathlib import Path

import pytest

from ryla_gen.workflows.registry import BUILT_IN
from ryla_gen_cli.screen import columns, table

from .shell import SMALL, envelope, here, ryla


@pytest.fixture
def jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Ids of two jobs: a success, then a failure."""
    here("run", "flux", "fox", *SMALL, "--tag", "night", "-o", f"{tmp_path}/", "--json")
    here("run", "flux-dev", "bear", *SMALL, "--url", "http://127.0.0.1:9", "--json")
    capsys.readouterr()
    here("jobs", "list", "--json")
    items = envelope(capsys.readouterr().out)["data"]["items"]
    return [item["id"] for item in reversed(items)]


def test_jobs_are_listed_newest_first_and_filtered(jobs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*more: str) -> list[str]:
        assert here("jobs", "list", "--json", *more) == 0
        return [item["id"] for item in envelope(capsys.readouterr().out)["data"]["items"]]

    assert listed() == [jobs[1], jobs[0]]
    assert listed("--limit", "1") == [jobs[1]]
    assert listed("--workflow", "flux-dev") == [jobs[1]]
    assert listed("--state", "succeeded") == [jobs[0]]
    assert listed("--tag", "night") == [jobs[0]]
    assert here("jobs", "list") == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[1].startswith(jobs[1][:8])
    assert rows[2].endswith("fox")


def test_a_job_is_shown_by_the_beginning_of_its_id(jobs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert here("jobs", "show", jobs[1][:8]) == 0
    said = capsys.readouterr().out
    assert jobs[1] in said
    assert "backend_unreachable" in said
    assert "prompt: bear" in said
    assert here("jobs", "show", jobs[0], "--json") == 0
    data = envelope(capsys.readouterr().out)["data"]
    assert (data["state"], data["inputs"]["prompt"], data["tags"]) == ("succeeded", "fox", ["night"])
    assert here("jobs", "show", "nope") == 1
    assert "error[job_not_found]" in capsys.readouterr().err


def test_workflows_are_listed_with_their_licences(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("workflows", "list", "--json") == 0
    items = {item["name"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}
    assert list(items) == list(BUILT_IN)
    assert items["flux"]["commercial_use"] is True
    assert items["flux_dev"]["commercial_use"] is False
    assert items["instantid"]["licence"] == "non-commercial, research only"
    assert items["workflow"]["commercial_use"] is None


def test_workflows_are_listed_with_what_is_pending(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("workflows", "list", "--json") == 0
    items = {item["name"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}
    assert items["flux"]["pending"] == items["workflow"]["pending"] == {"hash": [], "commit": []}
    for name, item in items.items():
        assert here("workflows", "show", name, "--json") == 0
        weights = envelope(capsys.readouterr().out)["data"]["weights"]
        for what in ("hash", "commit"):
            found = {f"{row['folder']}/{row['name']}" for row in weights if what in row["pending"]}
            assert set(item["pending"][what]) == found, name
    assert "clip_vision/clip_vision_h.safetensors" in items["wan2"]["pending"]["commit"], "needed with a picture alone"
    assert here("workflows", "list") == 0
    assert "pending" in capsys.readouterr().out


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_workflow_is_shown_with_fields_and_weights(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("workflows", "show", name, "--json") == 0
    data = envelope(capsys.readouterr().out)["data"]
    assert all(item["doc"] and item["option"].startswith("--") for item in data["fields"])
    assert bool(data["weights"]) is (name != "workflow")
    assert here("workflows", "show", name) == 0
    said = capsys.readouterr().out
    assert all(item["option"] in said for item in data["fields"])
    assert all(item["name"] in said and (item["licence"] or "unknown") in said for item in data["weights"])


def test_ranges_defaults_and_what_only_some_options_need(capsys: pytest.CaptureFixture[str]) -> None:
    here("workflows", "show", "wan2", "--json")
    data = envelope(capsys.readouterr().out)["data"]
    fields = {item["name"]: item for item in data["fields"]}
    assert (fields["width"]["default"], fields["width"]["range"]) == (832, "256 to 1280, a multiple of 16")
    assert fields["prompt"]["required"]
    assert fields["model"]["type"] == "1.3B|14B"
    only = {item["name"]: item["only_with"] for item in data["weights"]}
    assert only["wan2.1_t2v_1.3B_fp16.safetensors"] == {}
    assert {"model": "14B"} in only.values()
    assert {"model": "14B", "speed": "turbo"} in only.values()
    assert only["clip_vision_h.safetensors"] == {"image": "FILE"}
    assert here("workflows", "show", "wan2") == 0
    assert "only with --image FILE" in capsys.readouterr().out


def test_a_file_that_several_options_need_is_shown_with_each_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    here("workflows", "show", "sdxl", "--json")
    rows = {row["name"]: row for row in envelope(capsys.readouterr().out)["data"]["weights"]}
    control = rows["xinsir-controlnet-union-sdxl-1.0-promax.safetensors"]
    assert [control["only_with"], *control["or_with"]] == [{f"{what}_image": "FILE"} for what in ("pose", "depth", "edge")]
    assert rows["sd_xl_base_1.0.safetensors"]["or_with"] == []


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "workflow"])
def test_what_is_shown_of_a_workflow_is_what_is_synced_for_all_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("workflows", "show", name, "--json") == 0
    shown = {f"{row['folder']}/{row['name']}": row["only_with"] for row in envelope(capsys.readouterr().out)["data"]["weights"]}
    for more, wanted in ((["--all-options"], set(shown)), ([], {label for label, options in shown.items() if not options})):
        assert here("weights", "list", name, "--json", *more) == 0
        assert {item["file"] for item in envelope(capsys.readouterr().out)["data"]["items"]} == wanted


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_schema_is_json_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("workflows", "schema", name) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False
    assert here("workflows", "schema", name, "--json") == 0
    assert envelope(capsys.readouterr().out)["data"]["schema"] == schema


def test_settings_are_shown_set_and_unset(clean_environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def backend() -> tuple[list[str], str]:
        here("config", "show", "--json")
        items = {item["key"]: item for item in envelope(capsys.readouterr().out)["data"]["items"]}
        return items["backend"]["value"], items["backend"]["origin"]

    assert backend() == (["emulator"], "default")
    assert here("config", "set", "comfyui.url", "http://127.0.0.1:8188") == 0
    capsys.readouterr()
    assert backend()[0] == ["comfyui"]
    assert here("config", "path") == 0
    assert capsys.readouterr().out.strip() == str(clean_environment / "config.toml")
    assert here("config", "unset", "comfyui.url") == 0
    capsys.readouterr()
    assert backend() == (["emulator"], "default")


def test_a_setting_that_the_environment_hides_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RYLA_GEN_BACKEND", "emulator")
    assert here("config", "set", "backend", "comfyui") == 0
    assert "RYLA_GEN_BACKEND is set and overrides" in capsys.readouterr().err


def test_no_secret_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "very-secret-value")
    for more in ([], ["--json"]):
        assert here("config", "show", *more) == 0
        said = capsys.readouterr()
        assert "very-secret" not in said.out + said.err
        assert "RUNPOD_API_KEY" in said.out


def test_a_broken_configuration_can_be_mended_from_here(clean_environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean_environment.mkdir()
    (clean_environment / "config.toml").write_text('# mine\nbackend = "nowhere"\n')
    assert here("config", "show") == 2
    assert "hint: " in capsys.readouterr().err
    assert here("config", "set", "backend", "emulator") == 0
    assert (clean_environment / "config.toml").read_text() == '# mine\nbackend = "emulator"\n'


@pytest.mark.parametrize("line", ["workflows list", "workflows show wan2", "jobs list", "config show"])
def test_a_narrow_terminal_gets_narrow_lines(
    line: str, jobs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert here(*line.split()) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) > 3
    unbreakable = {word for row in said for word in row.split() if columns(word) > 30}
    assert [row for row in said if columns(row) > 40 and not unbreakable & set(row.split())] == []


def test_wide_letters_keep_the_columns_straight() -> None:
    rows = table(("name", "what"), [("狐狸", "fox"), ("fox", "狐")]).splitlines()
    starts = [columns(row[: row.index(word)]) for row, word in zip(rows, ("what", "fox", "狐"), strict=True)]
    assert starts == [6, 6, 6]


def test_an_output_that_cannot_be_encoded_is_written_all_the_same() -> None:
    done = ryla("workflows", "show", "wan2", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0
    assert b"832\\xd7480" in done.stdout
