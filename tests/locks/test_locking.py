"""What a lock says of a graph: each answer with its source, and a question where nothing is known."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ryla_gen.errors import InvalidInputError
from ryla_gen.locks.families import family_lock, node_packs
from ryla_gen.locks.graph_lock import PENDING
from ryla_gen.tools.locking.graph_models import DrawnModel
from ryla_gen.tools.locking.lock_options import LockOptions
from ryla_gen.tools.locking.locking import lock_graph, name_of
from ryla_gen.tools.locking.model_choice import from_drawing
from ryla_gen.tools.locking.model_options import parse_model_option
from ryla_gen.tools.locking.pack_lookup import PackSources
from ryla_gen.workflows.registry import workflow_class
from tests.locks.graphs import HUB, checkpoint_graph, drawing, loader, locked, model, picture_graph, write_graph, write_lock_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def save(number: int = 2) -> dict[str, object]:
    """Draw a node that ends the graph."""
    sockets = [{"name": "images", "type": "IMAGE", "link": None}]
    return {"id": number, "type": "PreviewAny", "mode": 0, "inputs": sockets, "outputs": [], "widgets_values": [], "properties": {}}


def chosen(url: str, file: str = "model.safetensors", folder: str = "checkpoints"):
    """Return what a caller says of a file."""
    return from_drawing(DrawnModel(file, folder, url, None, "--model"))


def test_the_drawing_says_where_a_model_comes_from(tmp_path):
    sha256 = "a" * 64
    lock = locked(tmp_path, drawing(loader("m.safetensors", model("m.safetensors", hash=sha256, hash_type="SHA256")))).lock
    (item,) = lock.models
    assert (item.file, item.folder, item.url) == ("m.safetensors", "checkpoints", f"{HUB}/owner/repo/resolve/main/m.safetensors")
    assert (item.sha256, item.source, item.needed) == (sha256, "the drawing", True)
    assert lock.open == ()


def test_a_model_stands_under_the_name_that_its_loader_has(tmp_path):
    (item,) = locked(tmp_path, drawing(loader("xl/m.safetensors", model("m.safetensors")))).lock.models
    assert item.label == "checkpoints/xl/m.safetensors"


def test_names_of_windows_are_written_as_linux_lists_them(tmp_path):
    made = locked(tmp_path, drawing(loader("xl\\m.safetensors", model("m.safetensors"))))
    assert made.lock.models[0].file == made.lock.graph["1"]["inputs"]["ckpt_name"] == "xl/m.safetensors"
    assert any("Linux" in note for note in made.notes)


def test_a_file_of_a_loader_that_does_not_run_is_listed_and_not_needed(tmp_path):
    muted = loader("b.safetensors", model("b.safetensors"), mode=2, number=2)
    lock = locked(tmp_path, drawing(loader("a.safetensors", model("a.safetensors")), muted)).lock
    assert [(item.file, item.needed) for item in lock.models] == [("a.safetensors", True), ("b.safetensors", False)]


def test_a_note_in_the_drawing_counts_where_it_names_exactly_that_file(tmp_path):
    text = f"[m.safetensors]({HUB}/a/b/blob/main/x/m.safetensors?download=true) and {HUB}/a/b/resolve/main/other.safetensors."
    note = {"id": 9, "type": "MarkdownNote", "mode": 0, "inputs": [], "outputs": [], "widgets_values": [text], "properties": {}}
    (item,) = locked(tmp_path, drawing(loader("m.safetensors"), note)).lock.models
    assert item.url == f"{HUB}/a/b/resolve/main/x/m.safetensors"
    assert item.source == "a note in the drawing"


def test_two_addresses_are_a_question_and_never_a_guess(tmp_path):
    both = loader("m.safetensors", model("m.safetensors", repo="a/b"), model("m.safetensors", repo="c/d"))
    lock = locked(tmp_path, drawing(both)).lock
    (question,) = lock.open
    assert question.kind == "model"
    assert "a/b" in question.question
    assert "c/d" in question.question
    assert "--model" in question.command


def test_an_unknown_file_is_a_question_and_the_caller_answers_it(tmp_path):
    (question,) = locked(tmp_path, checkpoint_graph("mine.safetensors")).lock.open
    assert question.subject == "checkpoints/mine.safetensors"
    assert question.command.startswith("ryla-gen graph lock ")
    answer = chosen("https://example.com/mine.safetensors", "mine.safetensors", "")
    lock = locked(tmp_path, checkpoint_graph("mine.safetensors"), models={"mine.safetensors": answer}).lock
    assert lock.open == ()
    assert [(item.label, item.url) for item in lock.models] == [
        ("checkpoints/mine.safetensors", "https://example.com/mine.safetensors")
    ]


def chosen_as(name: str, url: str):
    """Return what one option of the caller says."""
    return parse_model_option(f"{name}={url}").model("", name)


def by_caller(*names: str):
    """Return what the caller's options say."""
    return {name: chosen_as(name, f"https://example.com/{name}") for name in names}


def test_an_answer_of_the_caller_is_kept_when_the_next_question_is_answered(tmp_path):
    for graph in (drawing(loader("a.safetensors"), loader("b.safetensors", number=2)), checkpoint_graph("a.safetensors")):
        first = locked(tmp_path, graph, models=by_caller("a.safetensors")).lock
        again = locked(tmp_path, graph, before=first).lock
        assert [item.url for item in again.models] == ["https://example.com/a.safetensors"]


def test_a_new_answer_takes_the_place_of_the_earlier_one_whatever_names_the_file(tmp_path):
    graph, name = checkpoint_graph("xl/a.safetensors"), "https://example.com/{}"
    for first, second in (("checkpoints/xl/a.safetensors", "a.safetensors"), ("a.safetensors", "xl/a.safetensors")):
        before = locked(tmp_path, graph, models={first: chosen_as(first, name.format("old"))}).lock
        again = locked(tmp_path, graph, before=before, models={second: chosen_as(second, name.format("new"))}).lock
        assert [item.url for item in again.models] == ["https://example.com/new"]


def test_a_file_that_no_node_names_is_brought_where_its_folder_is_told(tmp_path):
    file = "ipadapter/plus.safetensors"
    first = locked(tmp_path, picture_graph(), models=by_caller(file)).lock
    (item,) = first.models
    assert (item.label, item.needed, item.source) == (file, True, "--model, for a node that loads it without naming it")
    assert [item.label for item in locked(tmp_path, picture_graph(), before=first).lock.models] == [file], "it is kept"
    with pytest.raises(InvalidInputError, match="no node of the graph loads a file of that name") as caught:
        locked(tmp_path, picture_graph(), models=by_caller("plus.safetensors"))
    assert "--model FOLDER/plus.safetensors=" in caught.value.hint


def test_a_loader_of_a_pack_that_names_no_file_is_told(tmp_path):
    graph = {**picture_graph(), "3": {"class_type": "UnifiedLoader", "inputs": {"preset": "plus", "images": ["1", 0]}}}
    (note,) = locked(tmp_path, graph).notes
    assert "UnifiedLoader (node 3) names no file" in note and "--model FOLDER/FILE=" in note
    assert locked(tmp_path, graph, models=by_caller("ipadapter/plus.safetensors")).notes == ()


def test_a_list_tells_the_folder_of_a_loader_that_nobody_knows(tmp_path):
    graph = {**picture_graph(), "3": {"class_type": "StrangeLoader", "inputs": {"file": "plus.safetensors"}}}
    url = "https://example.com/plus.safetensors"
    lock = locked(tmp_path, graph, listed=lambda folder, file: [("ipadapter", url)]).lock
    assert [item.label for item in lock.models] == ["ipadapter/plus.safetensors"]
    two = locked(tmp_path, graph, listed=lambda folder, file: [("ipadapter", url), ("loras", url)]).lock
    assert "its folder is not known" in two.open[0].question, "two folders are a question"


def test_a_file_whose_folder_nobody_knows_is_settled_by_the_command_that_is_shown(tmp_path):
    graph = {**picture_graph(), "3": {"class_type": "StrangeLoader", "inputs": {"file": "plus.safetensors"}}}
    assert "--model FOLDER/plus.safetensors=" in locked(tmp_path, graph).lock.open[0].command
    (question, *_) = locked(tmp_path, graph, models=by_caller("plus.safetensors")).lock.open
    assert "its folder is not known" in question.question and "--model FOLDER/plus.safetensors=" in question.command
    lock = locked(tmp_path, graph, models=by_caller("ipadapter/plus.safetensors")).lock
    assert [(item.label, item.source) for item in lock.models] == [("ipadapter/plus.safetensors", "--model")]
    assert not [item for item in lock.open if item.kind == "model"]
    assert locked(tmp_path, graph, before=lock).lock.models == lock.models, "it is kept"


@pytest.mark.parametrize("commit", ["ba90657f", "0" * 8])
def test_a_class_that_a_family_s_pack_does_not_list_comes_from_the_same_pack(tmp_path, commit):
    pack = next(item for item in node_packs() if item.name == "ComfyUI_PuLID_Flux_ll")
    known = next(kind for kind in pack.nodes if kind == "PulidFluxInsightFaceLoader")
    graph = {
        **picture_graph(),
        "3": {"class_type": known, "inputs": {"provider": "CPU"}},
        "4": {"class_type": "FixPulidFluxPatch", "inputs": {"model": ["3", 0]}},
    }
    whole = pack.commit if pack.commit.startswith(commit) else commit.ljust(40, "0")
    sources = PackSources(chosen={"FixPulidFluxPatch": f"lldacing/ComfyUI_PuLID_Flux_ll@{whole}"})
    (found,) = locked(tmp_path, graph, packs=sources).lock.image.packs
    assert (found.name, found.commit, set(found.nodes)) == (pack.name, whole, {known, "FixPulidFluxPatch"})


def test_the_gpus_reason_says_that_files_are_not_settled(tmp_path):
    assert "are not known" in locked(tmp_path, checkpoint_graph("mine.safetensors")).lock.gpu.why
    assert "loads no model" in locked(tmp_path, picture_graph()).lock.gpu.why


def test_where_a_pack_is_known_from_stays(tmp_path):
    graph = {**picture_graph(), "3": {"class_type": "Strange", "inputs": {"images": ["1", 0]}}}
    chosen_packs = PackSources(chosen={"Strange": f"o/Sharp@{COMMIT}"})
    first = locked(tmp_path, graph, packs=chosen_packs).lock
    pack = replace(first.image.packs[0], source="the node map", licence="MIT", registry="sharp@1.0.0", version="1.0.0")
    before = replace(first, image=replace(first.image, packs=(pack,)))
    assert locked(tmp_path, graph, packs=chosen_packs, before=before).lock.image.packs == (pack,)


def test_our_table_knows_files_with_their_hashes(tmp_path):
    (item,) = locked(tmp_path, checkpoint_graph("flux1-dev-fp8.safetensors")).lock.models
    assert item.source == "the package's table of weights"
    assert len(item.sha256) == 64
    assert item.bytes > 10**9
    assert item.licence


@pytest.mark.parametrize("url", ["http://huggingface.co/a/b/resolve/main/m.safetensors", "file:///etc/passwd", "javascript:x", ""])
def test_an_address_of_a_drawing_that_no_lock_may_hold_counts_for_nothing(tmp_path, url):
    row = {"name": "m.safetensors", "url": url, "directory": "checkpoints"}
    lock = locked(tmp_path, drawing(loader("m.safetensors", row))).lock
    assert lock.models == ()
    assert len(lock.open) == 1


@pytest.mark.parametrize("name", ["../../etc/passwd.safetensors", "https://example.com/model.safetensors"])
def test_a_loader_that_names_a_path_or_an_address_is_a_question_that_the_drawing_answers(tmp_path, name):
    (question,) = locked(tmp_path, checkpoint_graph(name)).lock.open
    assert "no file inside" in question.question
    assert "in ComfyUI, and save the graph there; then lock it again." in question.question
    file = write_graph(tmp_path, checkpoint_graph("flux1-dev-fp8.safetensors"))
    assert question.command == f"ryla-gen graph lock {file}"
    assert lock_graph(file).lock.open == ()


def test_a_graph_without_packs_takes_the_shipped_packages(tmp_path):
    from ryla_gen.locks.families import FOLDER

    made = locked(tmp_path, picture_graph())
    assert made.requirements == (FOLDER / family_lock("flux").python.file).read_text(encoding="utf-8")
    assert made.lock.image.comfyui.commit == family_lock("flux").comfyui.commit


def test_fields_have_what_the_schemas_say(tmp_path):
    lock = locked(tmp_path, checkpoint_graph("flux1-dev-fp8.safetensors")).lock
    fields = {item.name: item for item in lock.inputs}
    assert fields["prompt"].places == ("2.text",)
    assert fields["negative_prompt"].default == "blurry"
    assert (fields["steps"].default, fields["steps"].minimum) == (4, 1)
    assert fields["width"].multiple_of == 8 or fields["width"].multiple_of == 16
    assert fields["seed"].places == ("5.seed",)


def test_more_fields_by_hand(tmp_path):
    options = {"inputs": ("sampler=5.sampler_name", "noise=5.denoise")}
    fields = {item.name: item for item in locked(tmp_path, checkpoint_graph("flux1-dev-fp8.safetensors"), **options).lock.inputs}
    assert "euler" in fields["sampler"].choices
    assert (fields["noise"].type, fields["noise"].maximum) == ("float", 1.0)
    assert "denoise" not in fields, "a value has one field"


@pytest.mark.parametrize("text", ["x", "x=", "=5.seed", "x=9.seed", "x=5.model", "X y=5.seed"])
def test_fields_by_hand_that_do_not_fit(tmp_path, text):
    with pytest.raises(InvalidInputError, match="--input"):
        locked(tmp_path, checkpoint_graph(), inputs=(text,))


def test_an_unknown_class_is_a_question(tmp_path):
    graph = {**picture_graph(), "3": {"class_type": "StrangeNode", "inputs": {"images": ["1", 0]}}}
    (question,) = locked(tmp_path, graph).lock.open
    assert (question.kind, question.subject) == ("pack", "StrangeNode")
    assert "--pack StrangeNode=" in question.command


def test_the_gpu_follows_the_largest_file(tmp_path):
    from ryla_gen.tools.locking.gpu_choice import propose_gpu

    item = replace(chosen(f"{HUB}/a/b/resolve/main/m.safetensors"), bytes=2**30)
    assert propose_gpu([item])[0].name == "L40S"
    assert propose_gpu([replace(item, bytes=60 * 2**30)])[0].name == "A100-80GB"
    assert propose_gpu([replace(item, bytes=100 * 2**30)])[0].name == "H200"
    assert propose_gpu([replace(item, bytes=100 * 2**30, needed=False)])[0].name == "L40S"
    gpu, price = propose_gpu([item], "h100:2")
    assert (gpu.name, price.usd_per_second) == ("H100:2", pytest.approx(2 * 0.001097))
    with pytest.raises(InvalidInputError, match="Modal has no GPU"):
        propose_gpu([item], "RTX4090")


def test_what_was_pinned_stays_until_it_is_named(tmp_path):
    graph = drawing(loader("m.safetensors", model("m.safetensors")))
    first = locked(tmp_path, graph).lock
    pinned = replace(
        first.models[0], revision=COMMIT, sha256="b" * 64, bytes=7, url=f"{HUB}/owner/repo/resolve/{COMMIT}/m.safetensors"
    )
    before = replace(first, models=(pinned,))
    assert locked(tmp_path, graph, before=before).lock.models == (pinned,)
    for moves in (("models",), ("m.safetensors",), ("all",), ("checkpoints/m.safetensors",)):
        assert locked(tmp_path, graph, before=before, moves=moves).lock.models[0].sha256 == PENDING
    other = drawing(loader("m.safetensors", model("m.safetensors", repo="other/repo")))
    assert locked(tmp_path, other, before=before).lock.models[0].sha256 == PENDING, "another address is another file"
    with pytest.raises(InvalidInputError, match="has no 'nonsense' to update"):
        locked(tmp_path, graph, before=before, moves=("nonsense",))


def test_a_saved_picture_brings_its_graph_and_its_drawing(tmp_path):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("prompt", json.dumps(checkpoint_graph("m.safetensors")))
    info.add_text("workflow", json.dumps(drawing(loader("m.safetensors", model("m.safetensors")))))
    path = tmp_path / "My Portrait_v2.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    lock = lock_graph(path).lock
    assert lock.name == "my-portrait-v2"
    assert [item.source for item in lock.models] == ["the drawing"]
    assert "prompt" in {item.name for item in lock.inputs}


@pytest.mark.parametrize(
    ("file", "name"),
    [("portrait.json", "portrait"), ("3D Thing.json", "graph-3d-thing"), ("ä.json", "graph"), ("x" * 60 + ".json", "x" * 41)],
)
def test_names_of_files(tmp_path, file, name):
    assert name_of(tmp_path / file) == name


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"nodes": []}', '{"nodes": [3]}'])
def test_files_without_a_graph(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError):
        lock_graph(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInputError, match="No such file"):
        lock_graph(tmp_path / "absent.json", LockOptions())


def test_nothing_is_written(tmp_path):
    path = write_graph(tmp_path, picture_graph())
    lock_graph(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_has_no_name_of_a_workflow(tmp_path):
    with pytest.raises(InvalidInputError, match="that of a workflow"):
        locked(tmp_path, picture_graph(), "flux_dev.json")
    made = locked(tmp_path, picture_graph())
    path = write_lock_files(tmp_path, made)
    stolen = path.with_name("flux-dev.lock")
    stolen.write_text(path.read_text().replace('"portrait', '"flux-dev'))
    path.with_name("portrait.requirements.txt").rename(path.with_name("flux-dev.requirements.txt"))
    with pytest.raises(InvalidInputError, match="has the name of the workflow flux_dev"):
        workflow_class(str(stolen))


def test_what_was_chosen_by_hand_stays_until_it_is_named(tmp_path):
    graph = checkpoint_graph("flux1-dev-fp8.safetensors")
    first = locked(tmp_path, graph, inputs=("sampler=5.sampler_name",), gpu="H100").lock
    again = locked(tmp_path, graph, before=first).lock
    assert again == first
    named = {item.name for item in locked(tmp_path, graph, before=first, moves=("inputs",)).lock.inputs}
    assert "sampler" not in named
    assert locked(tmp_path, graph, before=first, moves=("gpu",)).lock.gpu.name == "L40S"
    other = locked(tmp_path, graph, before=first, inputs=("sampler=5.scheduler",)).lock
    assert {item.name: item.places for item in other.inputs}["sampler"] == ("5.scheduler",)


def test_the_prompt_of_an_edit_is_found(tmp_path):
    graph = checkpoint_graph("flux1-dev-fp8.safetensors")
    for node in ("2", "3"):
        text = graph[node]["inputs"].pop("text")
        graph[node] = {"class_type": "TextEncodeQwenImageEditPlus", "inputs": {**graph[node]["inputs"], "prompt": text}}
    fields = {item.name: item for item in locked(tmp_path, graph).lock.inputs}
    assert fields["prompt"].places == ("2.prompt",)
    assert fields["negative_prompt"].places == ("3.prompt",)


def test_an_embedding_that_a_prompt_names_is_a_file_of_the_graph(tmp_path):
    graph = checkpoint_graph()
    graph["3"]["inputs"]["text"] = "blurry, embedding:bad-hands.pt, (embedding:EasyNegative:1.2) and embedding: none"
    asked = {item.subject: item.command for item in locked(tmp_path, graph).lock.open}
    assert set(asked) == {"checkpoints/model.safetensors", "embeddings/bad-hands.pt", "embeddings/EasyNegative.safetensors"}
    assert "--model embeddings/bad-hands.pt=" in asked["embeddings/bad-hands.pt"]


def test_a_choice_has_the_graph_s_own_value_among_its_choices(tmp_path):
    graph = checkpoint_graph()
    graph["5"]["inputs"]["sampler_name"] = "of_a_pack"
    (given,) = [item for item in locked(tmp_path, graph, inputs=["sampler=5.sampler_name"]).lock.inputs if item.name == "sampler"]
    assert given.default == "of_a_pack"
    assert {"of_a_pack", "euler"} <= set(given.choices)


def test_what_was_chosen_by_hand_stays_when_a_graph_is_locked_again(tmp_path):
    first = locked(tmp_path, picture_graph(), inputs=["colour=1.color"], gpu="H100").lock
    again = locked(tmp_path, picture_graph(), before=first).lock
    assert [item.name for item in again.inputs] == [item.name for item in first.inputs]
    assert again.gpu == first.gpu
    other = locked(tmp_path, picture_graph(), before=first, inputs=["Colour=1.width"], gpu="L4").lock
    assert [item.places for item in other.inputs if item.name == "colour"] == [("1.width",)]
    assert other.gpu.name == "L4"
    fresh = locked(tmp_path, picture_graph(), before=first, moves=("all",)).lock
    assert ("colour" in {item.name for item in fresh.inputs}, fresh.gpu.name) == (False, "L40S")
    without = picture_graph()
    del without["1"]["inputs"]["color"]
    assert "colour" not in {item.name for item in locked(tmp_path, without, before=first).lock.inputs}
