"""Forgetting: what is provably ours goes and nothing else, costs still add up, and no text stays in the journal's file."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, CustomWorkflow, Flux, Settings, load
from ryla_gen.characters import Characters
from ryla_gen.costs.idle import IdleCost
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BackendUnreachableError, InvalidInputError, JobNotFoundError, StorageFailedError
from ryla_gen.history import History
from ryla_gen.history.webhooks import Outbox
from ryla_gen.support.file_locks import file_lock
from ryla_gen_cli import app

WORDS = "a very private vermilion lighthouse"
SMALL: dict[str, Any] = {"prompt": WORDS, "width": 256, "height": 256, "steps": 1}
ANA, BEN = "ana@example.org", "ben@example.org"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setenv("RYLA_GEN_OUTPUT_DIR", str(folder))
    return folder


@pytest.fixture
def client(server: Emulator, results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a server that costs money."""
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "3600")
    monkeypatch.setenv("COMFYUI_POD_URL", server.url)
    with Client() as made:
        yield made


def make(client: Client, folder: Path, user: str | None = ANA, **more: Any) -> tuple[str, Path]:
    """Run a job and save its picture, as the command does."""
    made = client.run(Flux(**SMALL, seed=7), user=user, **more)
    (path,) = made.save(folder / f"{made.job}.png")
    client.history.saved(made.job, [path])
    return made.job, path


def in_the_journal(home: Path, words: str) -> bool:
    """Whether a text stands anywhere in the journal's files, in free pages and the log too."""
    return any(words.encode() in path.read_bytes() for path in home.glob("history.sqlite3*"))


def test_a_job_leaves_the_journal_its_file_and_its_server(
    client: Client, results: Path, server: Emulator, clean_environment: Path
) -> None:
    job, path = make(client, results)
    other, kept = make(client, results, BEN)
    assert job in server.queue.history()
    before = client.costs()
    told = client.jobs.forget(job[:8])
    assert (told.jobs, told.files, told.erased) == ((job,), (path,), True)
    assert not path.exists()
    assert kept.exists()
    assert set(server.queue.history()) == {other}
    assert [item.id for item in client.jobs.list()] == [other]
    assert [(row.key, row.jobs, row.usd, row.gpu_seconds) for row in client.costs()] == [
        (row.key, row.jobs, pytest.approx(row.usd), pytest.approx(row.gpu_seconds)) for row in before
    ]
    assert {row.key for row in client.costs("user")} == {BEN, ""}
    assert told.usd > 0
    assert any("output/ryla" in text for text in told.stays)
    with pytest.raises(JobNotFoundError):
        client.jobs.forget(job)


def test_what_stays_of_a_job_that_cost_money_says_day_workflow_and_cost_alone(
    client: Client, results: Path, clean_environment: Path
) -> None:
    job, _ = make(client, results, tags=("character:mara",))
    record = client.history.get(job)
    assert record is not None
    client.jobs.forget(job)
    with contextlib.closing(sqlite3.connect(clean_environment / "history.sqlite3")) as file:
        file.row_factory = sqlite3.Row
        (row,) = file.execute("SELECT * FROM jobs").fetchall()
    held = {name: row[name] for name in row.keys() if row[name] not in (None, "[]", "{}")}  # noqa: SIM118 - of a Row
    assert held.pop("id").startswith("forgotten-")
    assert held == {
        "backend": "comfyui",
        "workflow": "flux",
        "state": "succeeded",
        "created_at": f"{record.created_at[:10]}T00:00:00.000Z",
        "gpu_seconds": record.gpu_seconds,
        "cost_usd": record.cost_usd,
    }


def test_no_word_of_a_prompt_stays_in_any_byte_of_the_journal(client: Client, results: Path, clean_environment: Path) -> None:
    for _ in range(4):
        job, _ = make(client, results)
        client.history.update(job, error={"code": "internal", "message": f"{WORDS} {'x' * 9000}"})
    assert in_the_journal(clean_environment, WORDS)
    told = client.jobs.forget_user(ANA)
    assert len(told.jobs) == 4
    assert not any("Another process" in text for text in told.stays)
    assert not in_the_journal(clean_environment, WORDS)
    assert not in_the_journal(clean_environment, ANA)
    assert not in_the_journal(clean_environment, told.jobs[0])


def test_a_reader_that_keeps_the_log_is_said(client: Client, results: Path, clean_environment: Path) -> None:
    job, _ = make(client, results)
    with contextlib.closing(sqlite3.connect(clean_environment / "history.sqlite3", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM jobs").fetchone()
        told = client.jobs.forget(job)
    assert any("Another process reads the journal" in text for text in told.stays)
    client.history.close()
    client.jobs.forget_user(ANA)
    assert not in_the_journal(clean_environment, WORDS)


def test_a_job_that_has_not_ended_is_refused_and_nothing_is_erased(client: Client, results: Path, server: Emulator) -> None:
    _, path = make(client, results)
    server.knobs.delay_per_node = 60.0
    job = client.submit(Flux(**SMALL, seed=8), user=ANA)
    with pytest.raises(InvalidInputError, match="has not ended") as caught:
        client.jobs.forget_user(ANA)
    assert f"ryla-gen jobs cancel {job.id[:8]}" in caught.value.hint
    assert path.exists()
    job.cancel()
    assert len(client.jobs.forget_user(ANA).jobs) == 2


def test_only_files_that_are_provably_of_the_job_go(client: Client, results: Path, tmp_path: Path) -> None:
    job, path = make(client, results)
    outside = tmp_path / "outside.png"
    outside.write_bytes(path.read_bytes())
    link, strange, copied = results / "link.png", results / "strange.png", results / "deeper" / "copy.png"
    link.symlink_to(outside)
    strange.write_bytes(b"not a picture of ours")
    copied.parent.mkdir()
    copied.write_bytes(path.read_bytes())
    away = results / "away"
    away.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    through = tmp_path / "elsewhere" / "through.png"
    through.write_bytes(path.read_bytes())
    _, other = make(client, results, BEN)
    client.history.saved(job, [outside, link, strange, away / "through.png"])
    looked = client.jobs.forget(job, dry_run=True)
    assert set(looked.files) == {path, copied}
    assert not looked.erased
    assert path.exists()
    reasons = [text for text in looked.stays if str(tmp_path) in text]
    assert len(reasons) == 4
    client.jobs.forget(job)
    assert not path.exists()
    assert not copied.exists()
    assert all(item.exists() for item in (outside, link, strange, through, other))


def test_another_folder_of_results_has_to_be_named(client: Client, results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    job, path = make(client, folder)
    assert client.jobs.forget(job, dry_run=True).files == ()
    assert client.jobs.forget(job, folders=[folder]).files == (path,)
    assert not path.exists()


def test_without_a_chosen_folder_only_what_the_journal_names_below_the_current_one_goes(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("RYLA_GEN_OUTPUT_DIR")
    with Client() as plain:
        job, path = make(plain, here)
        copied = here / "copy.png"
        copied.write_bytes(path.read_bytes())
        assert plain.jobs.forget(job).files == (path,)
    assert copied.exists()


def test_a_job_on_a_server_that_does_not_answer_stays_until_it_is_left_alone(
    client: Client, results: Path, server: Emulator
) -> None:
    job, path = make(client, results)
    server.close()
    with pytest.raises(BackendUnreachableError) as caught:
        client.jobs.forget(job)
    assert "--no-servers" in caught.value.hint
    assert path.exists()
    told = client.jobs.forget(job, servers=False)
    assert told.erased
    assert told.servers == ()
    assert not path.exists()


def test_an_erasing_that_was_cut_off_is_finished_by_the_next(client: Client, results: Path) -> None:
    job, path = make(client, results)
    other, batch = make(client, results / "batch")
    manifest = batch.with_name("batch.jsonl")
    manifest.write_text(json.dumps({"key": "a", "state": "sent", "job": other}) + "\n")
    with file_lock(batch.with_name(".batch.lock")), pytest.raises(StorageFailedError, match="A batch is running"):
        client.jobs.forget_user(ANA)
    assert not path.exists()
    assert {item.id for item in client.jobs.list()} == {job, other}
    told = client.jobs.forget_user(ANA)
    assert (set(told.jobs), told.batches) == ({job, other}, (manifest,))
    assert client.jobs.forget_user(ANA).empty


def test_lines_of_a_batch_that_nobody_of_ours_wrote_stay_and_break_nothing(client: Client, results: Path) -> None:
    job, path = make(client, results)
    manifest = path.with_name("batch.jsonl")
    strange = ['{"state": "sent"}', '{"key": {}}', "no json", '{"key": "b", "job": "other"}']
    ours = [
        json.dumps({"key": "a", "job": job}),
        json.dumps({"key": "a", "state": "done"}),
        json.dumps({"job": job}),
        json.dumps({"job": job, "key": []}),
    ]
    manifest.write_text("\n".join([*strange, *ours]) + "\n")
    client.jobs.forget(job)
    assert manifest.read_text().splitlines() == strange


def test_a_batch_s_rows_and_a_gallery_s_page_go_with_the_job(
    client: Client, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    lines = [{"workflow": "flux", **SMALL, "seed": 1}, {"workflow": "flux", **SMALL, "seed": 2}]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert app.run(["batch", str(rows), "-o", str(results / "out"), "--user", ANA]) == 0
    assert app.run(["gallery", str(results / "out")]) == 0
    first, second = client.jobs.list(user=ANA)
    client.jobs.forget(first.id)
    text = (results / "out" / "batch.jsonl").read_text()
    assert first.id not in text
    assert second.id in text
    assert not (results / "out" / "gallery.html").exists()
    assert len(list((results / "out").glob("*.png"))) == 1
    capsys.readouterr()
    assert app.run(["batch", str(rows), "-o", str(results / "out"), "--json", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["to_do"] == 1


def test_a_character_goes_with_its_pictures_and_its_lora(
    client: Client, results: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client("emulator") as here:
        characters = Characters(here)
        size = {"width": 256, "height": 256, "steps": 1}
        made = characters.submit_base_images("mara", count=2, fields=size, tags=["character:mara"])
        made.result()
        kept = characters.submit_base_images("zoe", count=1, fields=size, tags=["character:zoe"])
        kept.result()
        store = clean_environment / "emulator" / "models" / "loras"
        store.mkdir(parents=True)
        for name in ("mara", "zoe"):
            (store / f"{name}.safetensors").write_bytes(b"weights")
        looked = characters.forget("mara", dry_run=True)
        assert len(looked.jobs) == 3
        assert len(looked.loras) == 1
        told = characters.forget("mara")
        folder = clean_environment / "characters"
        assert told.folders == (folder / made.id,)
        assert [path.name for path in folder.iterdir()] == [kept.id]
        assert [path.name for path in store.glob("*.safetensors")] == ["zoe.safetensors"]
        assert {item.tags[0] for item in here.jobs.list()} == {"character:zoe"}
        assert characters.forget("mara").empty


def test_copies_of_a_character_s_pictures_and_of_its_sheet_go_too(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results.parent / "mia"
    command = ["character", "base", "a woman", "--count", "2", "--user", ANA, "--width", "256", "--height", "256", "--steps", "1"]
    assert app.run([*command, "--backend", "emulator", "-o", str(folder), "-q"]) == 0
    assert app.run(["forget", "--user", ANA, "--dry-run"]) == 0
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "base-1.png stays: it lies outside" in shown, "not passed over in silence"
    assert app.run(["forget", "--user", ANA, "--folder", str(folder), "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["data"]
    assert sorted(Path(path).name for path in told["files"]) == ["base-1.png", "base-2.png", "sheet.png"]
    assert list(folder.iterdir()) == []


SOUNDS = {
    "1": {"class_type": "EmptyAudio", "inputs": {"duration": 1.0, "sample_rate": 44100, "channels": 1}},
    "2": {"class_type": "SaveAudioMP3", "inputs": {"audio": ["1", 0], "filename_prefix": "a", "quality": "V0"}},
    "3": {"class_type": "SaveAudio", "inputs": {"audio": ["1", 0], "filename_prefix": "b"}},
    "4": {"class_type": "SaveAudioOpus", "inputs": {"audio": ["1", 0], "filename_prefix": "c", "quality": "128k"}},
}


def test_sounds_carry_the_note_of_their_job_and_go_with_it(client: Client, results: Path) -> None:
    made = client.run(CustomWorkflow(graph=SOUNDS))
    paths = made.save(results)
    assert load(paths[0]) == made.workflow
    copied = results / "copy.mp3"
    copied.write_bytes(made.outputs[0].data)
    assert [path.suffix for path in paths] == [".mp3", ".flac", ".opus"]
    client.history.saved(made.job, paths[:1])
    assert set(client.jobs.forget(made.job).files) == {*paths, copied}
    assert list(results.iterdir()) == []


def test_a_file_that_can_carry_no_note_goes_where_the_journal_saved_it_in_the_size_that_it_has(
    client: Client, results: Path
) -> None:
    text = {"1": {"class_type": "SaveText", "inputs": {"text": "a caption of ana", "filename_prefix": "a", "format": "txt"}}}
    made = client.run(CustomWorkflow(graph=text))
    path = made.outputs[0].save(results / "caption.txt")
    copied, changed, picture = (results / name for name in ("copied.txt", "changed.txt", "picture.png"))
    for other in (copied, picture):
        other.write_bytes(path.read_bytes())
    changed.write_text("my own words")
    client.history.saved(made.job, [path, changed, picture])
    told = client.jobs.forget(made.job)
    assert told.files == (path,)
    assert sorted(item.name for item in results.iterdir()) == ["changed.txt", "copied.txt", "picture.png"]
    assert any("changed.txt stays: it carries no note of the job, and is not of the size" in said for said in told.stays)


def test_forgotten_jobs_do_not_bend_estimates_and_idle_times(client: Client, results: Path) -> None:
    for _ in range(3):
        make(client, results)
    idle: list[IdleCost] = list(client.idle_costs())
    client.jobs.forget_user(ANA)
    assert client.estimate(Flux(**SMALL)).runs == 0
    assert list(client.idle_costs()) == idle
    assert client.history.spans("comfyui") == []
    assert client.history.get("forgotten") is None


def test_a_newer_journal_is_not_touched_and_that_is_an_error(clean_environment: Path) -> None:
    clean_environment.mkdir()
    with contextlib.closing(sqlite3.connect(clean_environment / "history.sqlite3")) as file:
        file.execute("PRAGMA user_version = 99")
    with contextlib.closing(History(clean_environment / "history.sqlite3")) as history, pytest.raises(StorageFailedError):
        history.forget([str(uuid.uuid4())])


def test_a_damaged_journal_that_was_set_aside_is_named(client: Client, results: Path, clean_environment: Path) -> None:
    job, _ = make(client, results)
    aside = clean_environment / "history.corrupt-1.sqlite3"
    aside.write_bytes(b"")
    assert any(str(aside) in text for text in client.jobs.forget(job).stays)


def test_the_command_shows_asks_and_erases(
    client: Client, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, path = make(client, results)
    assert app.run(["forget", "--user", ANA, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert job in shown
    assert str(path) in shown.replace("\n", "")
    assert app.run(["forget", "--user", ANA]) == 2  # no terminal to ask on
    assert path.exists()
    assert app.run(["forget", "--user", ANA, "--job", job, "--yes"]) == 2
    capsys.readouterr()
    assert app.run(["forget", "--user", ANA, "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["data"]
    assert (told["jobs"], told["erased"], told["files"]) == ([job], True, [str(path)])
    assert not os.path.lexists(path)
    assert app.run(["forget", "--user", ANA, "--yes"]) == 0
    assert "nothing to erase" in capsys.readouterr().out


def test_hashed_users_are_forgotten_by_their_plain_id(clean_environment: Path, results: Path) -> None:
    with Client(settings=Settings.load(backend="emulator", users_hash=True)) as client:
        job, path = make(client, results)
        assert client.jobs.forget_user(ANA).jobs == (job,)
        assert not path.exists()
    assert not in_the_journal(clean_environment, "hmac:")


def test_what_was_brought_to_a_bucket_is_named(client: Client, results: Path) -> None:
    job, _ = make(client, results)
    client.history.update(job, outputs=[{"name": "a.png", "url": "s3://pictures/a.png"}, {"name": "b.txt"}])
    told = client.jobs.forget(job)
    assert "s3://pictures/a.png stays: remove it where it lies." in told.stays


def test_what_a_webhook_was_told_of_a_job_goes_with_it(client: Client, results: Path, clean_environment: Path) -> None:
    job, _ = make(client, results)
    outbox = Outbox(client.history)
    outbox.register(job, "https://example.org/hook?token=vermilion", include_prompt=True)
    outbox.add(job, "https://example.org/hook?token=vermilion", {"prompt": WORDS})
    assert in_the_journal(clean_environment, "token=vermilion")
    client.jobs.forget(job)
    assert not in_the_journal(clean_environment, "token=vermilion")
    assert not in_the_journal(clean_environment, WORDS)
