"""What earlier versions wrote still works: pictures, requests, the journal, batches, characters, settings.

The files in ``tests/data/version_0_1`` and its neighbours were made by those versions; its README says how.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, load
from ryla_gen.contract import CONTRACT, check_version, method_of, read_reply, read_request, readable_by, reply
from ryla_gen.errors import InvalidInputError, JobNotFoundError
from ryla_gen.history import History
from ryla_gen.names import CLASS_OF_FAMILY
from ryla_gen.results import Cost
from ryla_gen.settings import Settings
from ryla_gen.workflows.base import Workflow
from ryla_gen.workflows.registry import workflow_class

from .cli.shell import envelope, here

DATA = Path(__file__).parent / "data"
FIRST = DATA / "version_0_1"
NOTED = {
    f"{folder}/{file}": note
    for folder in ("version_0_1", "version_0_1_last", "version_0_2")
    for file, note in json.loads((DATA / folder / "requests.json").read_text(encoding="utf-8")).items()
}
"""File → its workflow, the fields that its own version read from it, and the request of that version's caller."""
FIELDS = json.loads((FIRST / "fields.json").read_text(encoding="utf-8"))
"""Workflow → the schema of its fields in 0.1.0."""
NINE = {"flux", "flux_dev", "flux_lora", "instantid", "flux_instantid", "flux_pulid", "wan2", "seedvr2", "workflow"}
PICTURES = ("reference_image", "image")

Capsys = pytest.CaptureFixture[str]


def from_json(value: Any) -> Any:
    """Bytes stand in JSON as {"$bytes": base64}."""
    if isinstance(value, dict):
        return (
            base64.b64decode(value["$bytes"]) if set(value) == {"$bytes"} else {key: from_json(item) for key, item in value.items()}
        )
    return [from_json(item) for item in value] if isinstance(value, list) else value


def pictures_of(file: str) -> dict[str, str]:
    """The pictures that have to be given again for a file, since none contains them."""
    return {name: str(FIRST / value) for name in PICTURES if (value := NOTED[file]["fields"].get(name))}


def defaults(workflow: Any, noted: dict[str, Any]) -> dict[str, Any]:
    """The fields that the earlier version did not have, with their defaults."""
    fields = type(workflow).model_fields
    return {name: fields[name].get_default(call_default_factory=True) for name in set(fields) - set(noted)}


def plain_fields(workflow: Workflow, names: Iterable[str]) -> dict[str, Any]:
    """Some fields of a request, with lists for tuples, as JSON has them."""
    found = workflow.to_plain()
    return {name: list(found[name]) if isinstance(found[name], tuple) else found[name] for name in names}


@pytest.fixture
def home(clean_environment: Path) -> Path:
    """A home folder as 0.1 left it."""
    clean_environment.mkdir()
    shutil.copy(FIRST / "history.sqlite3", clean_environment)
    shutil.copytree(FIRST / "characters", clean_environment / "characters")
    return clean_environment


def told(capsys: Capsys, *arguments: str, code: int = 0) -> Any:
    """Run a command; the data of its JSON."""
    capsys.readouterr()
    assert here(*arguments, "--json") == code
    return envelope(capsys.readouterr().out)["data"]


def store_lora() -> None:
    """Store the LoRA that the requests name."""
    assert here("lora", "push", str(FIRST / "mira.safetensors"), "--id", "mira", "--backend", "emulator", "-q") == 0


def test_each_of_the_nine_workflows_is_among_the_files() -> None:
    assert {note["workflow"] for file, note in NOTED.items() if file.startswith("version_0_1/")} == NINE
    assert {note["request"]["sdk"] for note in NOTED.values()} == {"0.1.0", "0.2.0"}
    assert {note["request"]["contract"] for file, note in NOTED.items() if file.startswith("version_0_1/")} == {1}


@pytest.mark.parametrize("file", NOTED)
def test_a_file_is_the_request_that_it_was_and_new_fields_have_their_defaults(file: str) -> None:
    noted, pictures = NOTED[file]["fields"], pictures_of(file)
    workflow = load(DATA / file, **pictures)
    assert workflow.name == NOTED[file]["workflow"]
    assert plain_fields(workflow, noted) == {**noted, **pictures}
    new = defaults(workflow, noted)
    assert {name: getattr(workflow, name) for name in new} == new


@pytest.mark.parametrize("file", NOTED)
def test_a_file_runs_again(file: str, tmp_path: Path, capsys: Capsys) -> None:
    store_lora()
    pictures, again = pictures_of(file), tmp_path / Path(file).name
    options = [word for name, path in pictures.items() for word in (f"--{name.replace('_', '-')}", path)]
    data = told(capsys, "rerun", str(DATA / file), *options, "--backend", "emulator", "-o", str(again))
    assert (data["workflow"], data["seed"]) == (NOTED[file]["workflow"], NOTED[file]["fields"]["seed"])
    assert load(again, **pictures) == load(DATA / file, **pictures)


@pytest.mark.parametrize("file", [file for file in NOTED if pictures_of(file)])
def test_a_picture_that_a_file_does_not_contain_is_asked_for(file: str, capsys: Capsys) -> None:
    [name] = pictures_of(file)
    assert here("rerun", str(DATA / file), "--backend", "emulator") == 2
    assert f"--{name.replace('_', '-')} FILE" in capsys.readouterr().err


@pytest.mark.parametrize("file", NOTED)
def test_the_worker_takes_the_request_of_an_earlier_caller_and_answers_in_its_contract(file: str) -> None:
    sent = from_json(NOTED[file]["request"])
    check_version(sent, theirs="caller")
    taken = read_request(sent, NOTED[file]["workflow"])
    assert taken.job == sent["job"]
    assert plain_fields(taken.workflow, sent["inputs"]) == sent["inputs"]
    store_lora()
    with Client(backend="emulator") as client:
        answer = readable_by(sent, reply(client.run(taken.workflow)))
    assert answer["contract"] == sent["contract"] <= CONTRACT
    outputs = NOTED[file]["reply"]["generation"]["outputs"]
    shown = ("kind", "media_type", "width", "height", "frames", "fps")
    assert [[item.get(key) for key in shown] for item in answer["generation"]["outputs"]] == [
        [item.get(key) for key in shown] for item in outputs
    ]


@pytest.mark.parametrize("file", NOTED)
def test_the_reply_of_an_earlier_app_is_read(file: str) -> None:
    workflow = read_request(from_json(NOTED[file]["request"]), NOTED[file]["workflow"]).workflow
    answer = from_json(NOTED[file]["reply"])
    generation = read_reply(answer, workflow)
    assert (generation.workflow, generation.job) == (workflow, NOTED[file]["request"]["job"])
    assert [item.data for item in generation.outputs] == [item["data"] for item in answer["generation"]["outputs"]]
    assert generation.timings.running == answer["generation"]["timings"]["running"]
    assert generation.cost == Cost()


@pytest.mark.parametrize("file", NOTED)
def test_the_method_that_an_earlier_caller_names_is_there(file: str) -> None:
    family, method = method_of(workflow_class(NOTED[file]["workflow"]))
    assert [CLASS_OF_FAMILY[family], method] == NOTED[file]["method"]


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_was_taken_away_or_takes_less(name: str) -> None:
    now = workflow_class(name).model_json_schema()
    for field, before in FIELDS[name]["properties"].items():
        assert field in now["properties"], f"{name}.{field} is gone"
        after = now["properties"][field]
        assert after.get("default") == before.get("default"), f"{name}.{field} has another default"
        for kind, bounds in forms(before, FIELDS[name]).items():
            found = forms(after, now).get(kind)
            assert found is not None, f"{name}.{field} takes no {kind}"
            assert_no_narrower(f"{name}.{field}", bounds, found)
    assert set(now.get("required", ())) <= set(FIELDS[name].get("required", ()))


def forms(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The types that a field takes, each with its bounds."""
    if "$ref" in schema:
        return forms(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return {kind: bounds for item in schema["anyOf"] for kind, bounds in forms(item, whole).items()}
    return {f"{schema.get('type')} {schema.get('format', '')}".strip(): schema}


def assert_no_narrower(field: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    for key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems"):
        assert after.get(key, float("inf")) >= before.get(key, float("inf")), f"{field}: {key}"
    for key in ("minimum", "exclusiveMinimum", "minLength", "minItems"):
        assert after.get(key, float("-inf")) <= before.get(key, float("-inf")), f"{field}: {key}"
    assert "multipleOf" not in after or before.get("multipleOf", 0.5) % after["multipleOf"] == 0, f"{field}: multipleOf"
    assert "enum" not in after or set(before["enum"]) <= set(after["enum"]), f"{field}: choices"
    assert after.get("pattern") in (None, before.get("pattern")), f"{field}: pattern"


def test_a_field_that_no_version_has_is_refused_by_its_name() -> None:
    sent = from_json(NOTED["version_0_1/flux.webp"]["request"])
    with pytest.raises(InvalidInputError, match="flux does not know stepz"):
        read_request({**sent, "inputs": {**sent["inputs"], "stepz": 1}}, "flux")


def test_the_journal_is_brought_to_the_present_table_and_keeps_every_job(home: Path) -> None:
    file = home / "history.sqlite3"
    columns = "id, handle, state, workflow, inputs, outputs, saved, seed FROM jobs ORDER BY id"
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        before = connection.execute("SELECT " + columns).fetchall()
    history = History(file)
    assert len(history.list(limit=None)) == len(before)
    history.close()
    assert history.warnings == []
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (4,)
        after = connection.execute("SELECT " + columns).fetchall()
    assert after == before


def test_jobs_of_the_old_journal_are_listed_shown_and_run_again(home: Path, capsys: Capsys) -> None:
    items = told(capsys, "jobs", "list", "--limit", "100")["items"]
    states = {(item["workflow"], item["state"]) for item in items}
    assert {("flux", "succeeded"), ("wan2", "succeeded"), ("instantid", "failed"), ("flux_lora", "running")} <= states
    assert {item["workflow"] for item in items} == NINE | {"character_base"}
    store_lora()
    with Client(backend="emulator") as client:
        for job in (item["id"] for item in items if item["state"] == "succeeded" and item["workflow"] in ("flux_lora", "wan2")):
            shown = told(capsys, "jobs", "show", job[:8])
            workflow = workflow_class(shown["workflow"]).from_plain(shown["inputs"], trusted=True)
            assert client.run(workflow).seed == shown["seed"] == 7


def test_an_old_job_that_was_never_sent_says_so_and_others_keep_their_handle(home: Path, capsys: Capsys) -> None:
    with Client(backend="emulator") as client, pytest.raises(JobNotFoundError, match="never reached its backend"):
        client.jobs.get("00000000-0000-4000-8000-000000000002")
    shown = told(capsys, "jobs", "show", "00000000-0000-4000-8000-000000000000")
    assert (shown["state"], shown["handle"], shown["backend"]) == ("running", "modal:fc-01OLD", "modal")
    assert shown["unreached"]["code"] == "not_authorized", "there is no token here, which says nothing about the job"


def test_costs_and_counts_are_read_from_the_old_journal(home: Path, capsys: Capsys) -> None:
    assert told(capsys, "costs")
    assert told(capsys, "jobs", "funnel")


def test_a_batch_goes_on_where_it_was(tmp_path: Path, capsys: Capsys) -> None:
    store_lora()
    shutil.copytree(FIRST / "batch", tmp_path / "batch")
    command = ("batch", str(FIRST / "list.jsonl"), "-o", str(tmp_path / "batch"), "--backend", "emulator")
    data = told(capsys, *command)
    assert (data["present"], data["succeeded"], data["failed"]) == (2, 0, 0), "nothing is paid for twice"
    (tmp_path / "batch" / "lora.webp").unlink()
    data = told(capsys, *command)
    assert (data["present"], data["succeeded"], data["failed"]) == (1, 1, 0)


def test_a_character_job_is_listed_and_its_pictures_are_those_that_were_made(home: Path, capsys: Capsys) -> None:
    [job] = [folder.name for folder in (home / "characters").iterdir()]
    before = {file.name: file.read_bytes() for file in (home / "characters" / job).glob("base-*.png")}
    assert [item["job"] for item in told(capsys, "character", "list")["items"]] == [job]
    data = told(capsys, "character", "status", job)
    assert data["state"] == "succeeded"
    assert {file.name: file.read_bytes() for file in (home / "characters" / job).glob("base-*.png")} == before


def test_a_picture_of_a_character_that_was_lost_is_made_again(home: Path, capsys: Capsys) -> None:
    [folder] = (home / "characters").iterdir()
    (folder / "base-2.png").unlink()
    told(capsys, "character", "retry", folder.name)
    assert (folder / "base-2.png").is_file()
    assert (folder / "sheet.png").is_file()


def test_every_setting_of_the_old_config_is_read(clean_environment: Path) -> None:
    clean_environment.mkdir()
    shutil.copy(FIRST / "config.toml", clean_environment)
    settings = Settings.load()
    written = set(dotted(tomllib.loads((FIRST / "config.toml").read_text(encoding="utf-8"))))
    assert len(written) == 50
    assert {name for name in written if settings.origins[name] != "config.toml"} == set()
    assert (settings.backend_names, settings.modal_region) == (("emulator",), ("us-east", "eu-west"))


def dotted(table: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The keys of a TOML file, as ``config set`` takes them."""
    for name, value in table.items():
        yield from dotted(value, f"{above}{name}.") if isinstance(value, Mapping) else (f"{above}{name}",)
