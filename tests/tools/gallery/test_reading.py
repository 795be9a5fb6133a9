"""What a gallery finds in a folder, and how it says to make each file again."""

from __future__ import annotations

import ast
import io
import json
import os
import shlex
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ryla_gen import Client, FluxDev, Lora, media
from ryla_gen.errors import InvalidInputError, OutputExistsError
from ryla_gen.history import History
from ryla_gen.tools.gallery import collect, page_of, save_page
from ryla_gen.tools.gallery.page import MARK, MARK_WITHIN, link
from ryla_gen.tools.gallery.rerun import again, quote
from tests.cli.shell import envelope, here, ryla
from tests.conftest import encoded, portrait

from .conftest import JOB, noted

PROMPTS = ("a fox", "-dash", 'it\'s "q" $HOME `id` !! \\', "two\nlines\tand \x1b[201~ more", "ünï 狐", "--json")


@pytest.fixture
def history(tmp_path: Path) -> Any:
    with closing(History(tmp_path / "history.sqlite3")) as found:
        yield found


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_saved_picture_brings_its_request_and_the_journal_its_time_and_cost(tmp_path: Path, history: History) -> None:
    inputs = {"prompt": "a fox", "steps": 9, "seed": None, "width": 512, "guidance": 3.5}
    write(tmp_path / "pics/deep/fox.png", noted(inputs=inputs, job=JOB.format(1), seed=2**64 - 1))
    history.record(JOB.format(1), backend="modal", workflow="flux_dev", inputs=inputs, tags=["spring"])
    times = {"started_at": "2026-01-31T10:00:00Z", "finished_at": "2026-01-31T10:00:12.500Z"}
    outputs = [{"name": "a", "bytes": 1}, {"name": "b", "bytes": 1}]
    history.update(JOB.format(1), state="succeeded", cost_usd=0.0061, gpu="L40S", outputs=outputs, **times)
    (item,) = collect(tmp_path / "pics", history).items
    assert (item.workflow, item.prompt, item.steps, item.seed) == ("flux_dev", "a fox", 9, 2**64 - 1)
    assert (item.seconds, item.cost_usd, item.files, item.gpu, item.backend) == (12.5, 0.0061, 2, "L40S", "modal")
    assert item.tags == ("spring",) and item.fields == {"width": 512, "guidance": 3.5}
    assert item.to_data()["seed"] == str(2**64 - 1)


def test_a_file_without_a_note_is_known_by_where_its_job_saved_it_unless_another_lies_there_now(
    tmp_path: Path, history: History
) -> None:
    plain, other = encoded(portrait((32, 32))), encoded(portrait((48, 48)))
    inputs = {"prompt": "known", "reference_image": {"sha256": "0" * 64, "bytes": 9}}
    history.record(JOB.format(2), backend="modal", workflow="instantid", inputs=inputs, seed=5)
    history.update(JOB.format(2), state="succeeded", outputs=[{"name": "a", "bytes": len(plain)}])
    places = [write(tmp_path / "pics/known.png", plain), write(tmp_path / "pics/replaced.png", other)]
    history.saved(JOB.format(2), places)
    found = collect(tmp_path / "pics", history)
    assert [(item.path.name, item.prompt, item.seed) for item in found.items] == [("known.png", "known", 5)]
    assert found.skipped == 1
    assert found.items[0].fields == {"reference_image": "given, not stored"} and found.items[0].needs == ("reference_image",)
    assert "0" * 64 not in json.dumps(found.items[0].to_data())


def test_a_comfyui_picture_shows_its_graphs_text_seed_and_steps(tmp_path: Path, history: History) -> None:
    graph = FluxDev(prompt="from a graph", seed=11, steps=6).build().to_api()
    data = media.add_png_text(encoded(portrait((16, 16))), {"prompt": json.dumps(graph)})
    (item,) = collect(write(tmp_path / "pics/comfy.png", data).parent, history).items
    assert (item.workflow, item.prompt, item.seed, item.steps) == ("workflow", "from a graph", 11, 6)
    assert item.command == f"ryla-gen rerun {tmp_path / 'pics/comfy.png'}"


def test_files_that_say_nothing_lie_or_cannot_be_read_stop_nothing(tmp_path: Path, history: History) -> None:
    pics = tmp_path / "pics"
    write(pics / "face.png", encoded(portrait((16, 16))))
    write(pics / "text.png", b"no picture")
    write(pics / "empty.mp4", b"")
    write(pics / "deep.png", media.add_png_text(encoded(portrait((16, 16))), {"ryla": "[" * 100_000}))
    write(pics / "notes.png", noted(inputs="none"))
    write(pics / ".ryla-1.png", noted(inputs={}))
    write(pics / ".hidden/a.png", noted(inputs={}))
    os.mkfifo(pics / "pipe.png")
    (pics / "gone.png").symlink_to("nowhere")
    odd = {"width": float("inf"), "big": 2**70, "cover": "data:image/png;base64,AAAA", "lists": [[]], "x" * 500: 1}
    write(pics / "odd.png", noted(inputs=odd | {f"f{n}": n for n in range(100)}, workflow="../x", seed=-1, job="7"))
    found = collect(pics, history)
    assert [item.path.name for item in found.items] == ["odd.png"] and found.skipped == 5
    assert [line.split(":")[0] for line in found.unreadable] == [str(pics / "gone.png")]
    item = found.items[0]
    assert item.seed is None and item.fields["big"] == str(2**70) and len(item.fields) == 60
    assert not {"width", "cover", "lists"} & set(item.fields)
    assert item.command == f"ryla-gen rerun {pics / 'odd.png'}"
    assert b"base64,AAAA" not in page_of(found, tmp_path / "p.html")


def test_a_note_finds_no_other_job_by_the_beginning_of_its_id(tmp_path: Path, history: History) -> None:
    history.record(JOB.format(3), backend="modal", workflow="flux", inputs={})
    history.update(JOB.format(3), state="succeeded", cost_usd=9.0)
    write(tmp_path / "pics/a.png", noted(inputs={"prompt": "a"}, job=JOB.format(3)[:8]))
    assert collect(tmp_path / "pics", history).items[0].cost_usd is None


def test_since_leaves_out_what_is_older_and_a_wrong_folder_is_refused(tmp_path: Path, history: History) -> None:
    for name, moment in (("old.png", 1_600_000_000), ("new.png", 1_760_000_000)):
        os.utime(write(tmp_path / "pics" / name, noted(inputs={"prompt": name})), (moment, moment))
    names = [[item.path.name for item in collect(tmp_path / "pics", history, since=when).items] for when in (None, "2025-01-01")]
    assert names == [["new.png", "old.png"], ["new.png"]]
    with pytest.raises(InvalidInputError, match="not a valid date"):
        collect(tmp_path, history, since="yesterday-ish")
    with pytest.raises(InvalidInputError, match="is not a folder"):
        collect(tmp_path / "pics/new.png", history)
    with pytest.raises(InvalidInputError, match="does not exist"):
        collect(tmp_path / "nowhere", history)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_reaches_the_command_as_it_is_and_never_the_shell(prompt: str, tmp_path: Path) -> None:
    command = again("flux_dev", FluxDev(prompt=prompt, seed=3).described(), 3, tmp_path / "a.png").command
    assert not [sign for sign in command if not sign.isprintable()]
    script = f"ryla-gen() {{ printf '%s\\0' \"$@\"; }}; {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=600)
    words = done.stdout.decode().split("\0")
    assert words[:2] == ["run", "flux-dev"] and prompt in (words[2], words[2].removeprefix("--prompt="))
    assert not words[2].startswith("-") or words[2].startswith("--prompt=")


def test_quoting_is_the_shells_own_where_no_control_character_stands() -> None:
    assert quote("a b'c") == shlex.quote("a b'c")
    assert quote("\udcff.png") == "$'\\xff.png'"
    assert quote("a\x1b'\n\x85") == "$'a\\x1b\\'\\n\\xc2\\x85'"


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("flux_dev", {"prompt": "a fox", "speed": "turbo", "steps": 20}),
    ("flux_lora", {"prompt": "mira", "loras": [Lora("mira", 0.5), Lora("style")]}),
    ("instantid", {"prompt": "an astronaut", "negative_prompt": "", "reference_image": "face.png"}),
    ("wan2", {"prompt": "waves", "length": 9, "format": "webp"}),
    ("seedvr2", {"image": "photo.png", "scale": 2}),
]


@pytest.mark.parametrize(("name", "fields"), REQUESTS, ids=[name for name, _ in REQUESTS])
def test_command_and_python_say_the_request_that_was_made(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    from ryla_gen.workflows.registry import workflow_class
    from ryla_gen_cli.options import fields_of

    cls = workflow_class(name)
    wanted = cls(**fields, seed=7)
    pictures = {field: {"sha256": "0" * 64, "bytes": 1} for field in cls.media_fields() if field in fields}
    told = again(name, {**json.loads(json.dumps(wanted.described(), default=str)), **pictures}, 7, tmp_path / "a.png")
    assert told.needs == tuple(pictures)
    words = shlex.split(told.command)
    assert words[:3] == ["ryla-gen", "run", name.replace("_", "-")]
    tree = ast.parse(told.python)
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == f"client.{name}")
    namespace = {"Lora": Lora}
    assert cls(**{item.arg: eval(ast.unparse(item.value), namespace) for item in call.keywords if item.arg}) == wanted
    options = {item.option: item for item in fields_of(cls).values()}
    given: dict[str, Any] = {}
    rest = iter(words[3:])
    for word in rest:
        option, equals, value = word.partition("=")
        item = options.get(option)
        if item is None:
            given["prompt"] = word
            continue
        value = value if equals else next(rest)
        read = item.read([value] if item.repeated else value)
        given[item.name] = (*given.get(item.name, ()), *read) if item.repeated else read
    assert cls(**given) == wanted


def test_the_python_can_be_run_twice_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = again("flux", {"prompt": "a hill", "width": 256, "height": 256, "steps": 1, "batch_size": 2}, 7, tmp_path / "a.png")
    for _ in range(2):
        exec(told.python, {})
    assert len(list(tmp_path.glob("flux-*.png"))) == 4


def test_a_graphs_own_pictures_are_asked_for_by_name(tmp_path: Path) -> None:
    images = {"it's.png": {"sha256": "0" * 64, "bytes": 1}, "7": {"sha256": "1" * 64, "bytes": 1}}
    told = again("workflow", {"graph": {}, "images": images}, None, tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    assert shlex.split(told.command)[2:] == [path, "--image", "it's.png=photo.png", "--image", "7=photo.png"]
    assert f"load({path!r}, images={ {'it' + chr(39) + 's.png': 'photo.png', '7': 'photo.png'}!r})" in told.python
    assert told.needs == ("images",)


@pytest.mark.parametrize("wrong", [{"prompt": "-"}, {"prompt": "a", "steps": 10_000}, {"prompt": {"a": 1}}, {}])
def test_what_the_class_would_refuse_is_left_to_rerun(wrong: dict[str, Any], tmp_path: Path) -> None:
    told = again("flux_dev", wrong, 7, tmp_path / "it's.png")
    assert shlex.split(told.command) == ["ryla-gen", "rerun", str(tmp_path / "it's.png")]
    assert repr(str(tmp_path / "it's.png")) in told.python and ast.parse(told.python)


def test_links_are_relative_where_both_lie_below_one_folder() -> None:
    assert link(Path("/a/b/odd #1 100%?\"'.png"), Path("/a/b")) == "odd%20%231%20100%25%3F%22%27.png"
    assert link(Path("/a/c/javascript:x.png"), Path("/a/b")) == "../c/javascript%3Ax.png"
    assert link(Path("/a/javascript:x.png"), Path("/a")) == "javascript%3Ax.png"
    assert link(Path(os.fsdecode(b"/a/\xff\xc3\xbc.png")), Path("/a")) == "%FF%C3%BC.png"
    assert link(Path("/home/x/ü.png"), Path("/srv/pages")) == "file:///home/x/%C3%BC.png"


def test_a_page_of_ours_is_written_anew_and_no_other_file_is(tmp_path: Path, history: History) -> None:
    found = collect(write(tmp_path / "pics/a.png", noted(inputs={"prompt": "a"})).parent, history)
    page = save_page(tmp_path, found)
    assert page == tmp_path / "gallery.html" and MARK in page.read_bytes()[:MARK_WITHIN]
    assert save_page(page, found) == page
    report = write(tmp_path / "report.html", b"<!doctype html>mine")
    with pytest.raises(OutputExistsError, match="is not a gallery page") as refused:
        save_page(report, found)
    assert "--overwrite" in refused.value.hint and report.read_bytes() == b"<!doctype html>mine"
    assert MARK in save_page(report, found, overwrite=True).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if "sqlite3" not in path.name) == ["gallery.html", "pics", "report.html"]


def test_the_command_makes_the_page_of_what_was_really_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Client("emulator") as client:
        client.flux(prompt="a fox", width=256, height=256, steps=1, seed=5, batch_size=2).save("pics/")
        client.flux(prompt="a fox", width=256, height=256, steps=1, seed=6, output_format="jpeg").save("pics/fox.jpg")
        client.wan2(prompt="waves", width=256, height=256, steps=1, length=5).save("pics/waves.mp4")
    Path("pics/face.png").write_bytes(encoded(portrait()))
    assert here("gallery", "pics", "--json") == 0
    out = capsys.readouterr()
    data = envelope(out.out.splitlines()[-1])["data"]
    assert [item["kind"] for item in data["items"]].count("video") == 1 and len(data["items"]) == 4
    assert data["skipped"] == 1 and "1 left out" in out.err
    assert data["page"] == str(tmp_path / "pics/gallery.html") and Path(data["page"]).is_file()
    assert {item["cost_usd"] for item in data["items"]} == {0.0} and all(item["seconds"] >= 0 for item in data["items"])
    jpeg = next(item for item in data["items"] if item["media_type"] == "image/jpeg")
    assert here(*shlex.split(jpeg["command"])[1:], "-o", "again.jpg", "-q") == 0
    assert Path("again.jpg").read_bytes() != b"" and media.probe_image(Path("again.jpg").read_bytes()).width == 256
    assert _pixels("again.jpg") == _pixels("pics/fox.jpg")


def _pixels(name: str) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(Path(name).read_bytes())) as picture:
        return picture.tobytes()


def test_wrong_calls_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, said in (
        (("nowhere",), "does not exist"),
        (("x" * 300,), "does not exist"),
        ((".", "-o", "x" * 300), "-o gallery.html"),
        ((".", "-o", "page.png"), "-o gallery.html"),
        ((".", "-o", "-"), "-o gallery.html"),
        ((".", "--since", "soon"), "24h, 7d"),
    ):
        assert here("gallery", *arguments) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.glob("**/*.html")) == []
    assert here("gallery") == 0, "an empty folder is a page that says so"
    assert "0 files" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs sh")
def test_open_starts_the_browser_with_the_page(tmp_path: Path) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{seen}"\n')
    browser.chmod(0o755)
    done = ryla("gallery", ".", "-o", "odd #1.html", "--open", folder=tmp_path, BROWSER=str(browser))
    assert done.returncode == 0, done.stderr
    assert seen.read_text() == (tmp_path / "odd #1.html").as_uri()
