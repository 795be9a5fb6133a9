"""Many jobs into one bucket, and the commands that take what ``run`` takes: batch, map, rerun, graph run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ryla_gen import Client, Flux, Settings
from ryla_gen.errors import InvalidInputError
from tests.cli.shell import SMALL, envelope, here
from tests.cli.test_batch import jobs, listed, ran, row

from .conftest import Storage

Capsys = pytest.CaptureFixture[str]


def requests() -> list[Flux]:
    return [Flux(prompt=prompt, width=256, height=256, steps=1, seed=7) for prompt in ("a fox", "a hare", "an owl")]


def test_map_brings_every_result_to_the_bucket(storage: Storage) -> None:
    with Client(settings=Settings.load(backend="emulator")) as client:
        made = list(client.map(requests(), in_flight=2, output_to="s3://pictures/many"))
        kept = client.jobs.list()
    keys = storage.keys()
    assert keys == sorted(f"many/{item.job}/flux-7-0.png" for item in made)
    assert {item.output.url for item in made} == {f"s3://pictures/{key}" for key in keys}
    assert {item.output_to for item in kept} == {"s3://pictures/many"}


def test_signed_addresses_are_for_one_job(storage: Storage, tmp_path: Path, capsys: Capsys) -> None:
    signed = storage.signed("one.png")
    with Client(settings=Settings.load(backend="emulator")) as client:
        with pytest.raises(InvalidInputError, match="one file of one job"):
            list(client.map(requests(), output_to=signed))
        assert not client.jobs.list()
    file = listed(tmp_path / "list.jsonl", row("fox"))
    assert here("batch", file, "-o", str(tmp_path / "out"), "--output-to", signed, "--json") == 2
    shown = capsys.readouterr().out
    assert envelope(shown)["error"]["code"] == "invalid_input"
    assert "Signature" not in shown
    assert not (tmp_path / "out").exists()


def test_a_batch_uploads_its_rows_once(storage: Storage, tmp_path: Path, capsys: Capsys) -> None:
    file, out = listed(tmp_path / "list.jsonl", row("fox", seed=3), row("hare", seed=4)), tmp_path / "out"
    first = ran(capsys, file, "-o", str(out), "--output-to", "s3://pictures/batch")
    assert (first["succeeded"], [item["files"] for item in first["items"]]) == (2, [[], []])
    addresses, keys = [address for item in first["items"] for address in item["uploads"]], storage.keys()
    assert sorted(addresses) == [f"s3://pictures/{key}" for key in keys] and len(addresses) == 2
    assert sorted(path.name for path in out.iterdir() if path.suffix == ".png") == []
    again = ran(capsys, file, "-o", str(out), "--output-to", "s3://pictures/batch")
    assert (again["present"], again["succeeded"], jobs(capsys)) == (2, 0, 2)
    assert [item["uploads"] for item in again["items"]] == [item["uploads"] for item in first["items"]]


def test_what_the_bucket_does_not_take_lies_in_the_folder_and_is_said(storage: Storage, tmp_path: Path, capsys: Capsys) -> None:
    file, out = listed(tmp_path / "list.jsonl", row("fox", seed=3, output="fox.png"), row("hare", seed=4)), tmp_path / "out"
    capsys.readouterr()
    assert here("batch", file, "-o", str(out), "--output-to", "s3://elsewhere/batch") == 0
    said = capsys.readouterr().err
    assert "warning[not_uploaded]: " in said and "(so in 2 rows)" in said
    assert (out / "fox.png").is_file() and len(list(out.glob("*.png"))) == 2
    assert not storage.keys()
    again = ran(capsys, file, "-o", str(out), "--output-to", "s3://pictures/batch")
    assert (again["present"], again["succeeded"], again["cost_usd"], jobs(capsys)) == (0, 2, 0.0, 2), "uploaded, not made again"
    keys = storage.keys()
    assert [Path(key).name for key in keys].count("fox.png") == 1 and len(keys) == 2
    assert storage.read(next(key for key in keys if key.endswith("fox.png"))) == (out / "fox.png").read_bytes()
    last = ran(capsys, file, "-o", str(out), "--output-to", "s3://pictures/batch")
    assert (last["present"], last["succeeded"]) == (2, 0)


def test_an_address_that_no_row_could_tell_is_refused_once(tmp_path: Path, capsys: Capsys) -> None:
    file = listed(tmp_path / "list.jsonl", row("fox"))
    assert here("batch", file, "-o", str(tmp_path / "out"), "--webhook", "http://example.com", "--json") == 2
    assert envelope(capsys.readouterr().out)["error"]["code"] == "invalid_input"
    assert jobs(capsys) == 0


def test_rerun_and_graph_run_upload_and_know_their_user(storage: Storage, tmp_path: Path, capsys: Capsys) -> None:
    picture, graph = tmp_path / "fox.png", tmp_path / "graph.json"
    assert here("run", "flux", "a fox", *SMALL, "--seed", "7", "-o", str(picture)) == 0
    capsys.readouterr()
    assert here("rerun", str(picture), "--output-to", "s3://pictures/again", "--user", "ada", "--json") == 0
    (output,) = envelope(capsys.readouterr().out)["data"]["outputs"]
    assert output["url"].startswith("s3://pictures/again/")
    with Client(settings=Settings.load(backend="emulator")) as client:
        built = client.run(Flux(prompt="a fox", width=256, height=256, steps=1, seed=7)).graph
    graph.write_text(json.dumps(built))
    assert here("graph", "run", str(graph), "--output-to", "s3://pictures/graph", "--user", "ada", "--json") == 0
    (output,) = envelope(capsys.readouterr().out)["data"]["outputs"]
    assert output["url"].startswith("s3://pictures/graph/")
    assert len(storage.keys()) == 2
    assert here("jobs", "list", "--user", "ada", "--json") == 0
    assert len(envelope(capsys.readouterr().out)["data"]["items"]) == 2
