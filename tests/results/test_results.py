"""Results: saved whole or not at all, shown in notebooks, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import ryla_gen
from ryla_gen import CustomWorkflow, FluxDev, Generation, InstantID, Output
from ryla_gen.errors import InvalidInputError, OutputExistsError, StorageFailedError
from ryla_gen.media import add_png_text
from ryla_gen.results import METADATA_KEY, metadata
from ryla_gen.workflows.base import Notice, Workflow

from ..conftest import encoded, portrait

PNG = encoded(portrait((32, 32)))


def generation(count: int = 1, workflow: Workflow | None = None) -> Generation:
    outputs = tuple(Output("image", "image/png", f"flux_dev-7-{index}.png", PNG, 32, 32) for index in range(count))
    notes = (Notice("careful", "Mind the <gap>."),)
    return Generation(
        workflow=workflow or FluxDev(prompt="a fox", seed=7),
        outputs=outputs,
        seed=7,
        job="job-1",
        backend="emulator",
        warnings=notes,
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("x.png", ["x.png"]),
        ("x", ["x.png"]),
        ("new/x.png", ["new/x.png"]),
        ("new/", ["new/flux_dev-7-0.png"]),
        (".", ["flux_dev-7-0.png"]),
        ("{workflow}-{seed}-{index}.png", ["flux_dev-7-0.png"]),
        ("{job}/{name}", ["job-1/flux_dev-7-0.png"]),
    ],
)
def test_one_output_goes_where_the_name_says(tmp_path: Path, path: str, expected: list[str]) -> None:
    saved = generation().save(f"{tmp_path}/{path}")
    assert saved == [tmp_path / name for name in expected]
    assert saved[0].read_bytes() == PNG


def test_several_outputs_are_told_apart(tmp_path: Path) -> None:
    assert [path.name for path in generation(3).save(tmp_path / "x.png")] == ["x-0.png", "x-1.png", "x-2.png"]
    assert [path.name for path in generation(2).save(f"{tmp_path}/{{seed}}_{{index}}.png")] == ["7_0.png", "7_1.png"]


def test_nothing_is_overwritten_unless_allowed(tmp_path: Path) -> None:
    target = tmp_path / "x-1.png"
    target.write_text("precious")
    with pytest.raises(OutputExistsError, match="x-1.png"):
        generation(2).save(tmp_path / "x.png")
    assert target.read_text() == "precious"
    assert not (tmp_path / "x-0.png").exists()
    generation(2).save(tmp_path / "x.png", overwrite=True)
    assert target.read_bytes() == PNG


def test_a_template_with_one_name_for_two_pictures_leaves_nothing(tmp_path: Path) -> None:
    for overwrite in (False, True):
        with pytest.raises(InvalidInputError, match="the same name"):
            generation(2).save(f"{tmp_path}/{{seed}}.png", overwrite=overwrite)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "template", ["{nothing}.png", "{", "{seed:zz}.png", "{seed:>999999999}.png", "{seed.__class__}.png", "{{seed}}.png"]
)
def test_a_template_that_cannot_be_filled_says_what_it_may_use(tmp_path: Path, template: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        generation().save(f"{tmp_path}/{template}")
    assert "{workflow}" in caught.value.hint


def test_a_file_where_a_folder_should_be_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailedError):
        generation().save(tmp_path / "file" / "x.png")
    assert (tmp_path / "file").read_text() == "x"


def test_pictures_come_as_pil_images_and_wrong_kinds_are_named() -> None:
    made = generation(2)
    assert [image.size for image in made.images] == [(32, 32), (32, 32)]
    assert made.image.getpixel((0, 0)) == Image.open(__import__("io").BytesIO(PNG)).getpixel((0, 0))
    with pytest.raises(InvalidInputError, match="has no video, only: image"):
        _ = made.video
    with pytest.raises(InvalidInputError, match="is a video"):
        Output("video", "video/mp4", "x.mp4", b"").image()


def test_notebooks_show_pictures_players_and_warnings() -> None:
    page = generation(2)._repr_html_()
    assert page.count("<img") == 2
    assert "Mind the &lt;gap&gt;." in page
    assert generation()._repr_png_() == PNG
    assert "<video controls" in Output("video", "video/mp4", "x.mp4", b"1")._repr_html_()
    assert "<img" in Output("video", "image/webp", "x.webp", b"1")._repr_html_()
    assert "x&amp;y.flac" in Output("file", "audio/flac", "x&y.flac", b"1")._repr_html_()


def test_a_repr_does_not_drown_the_reader_in_bytes() -> None:
    assert len(repr(generation(3, InstantID(prompt="a", reference_image=PNG)))) < 1500


def marked(workflow: Workflow, tmp_path: Path) -> Path:
    path = tmp_path / "made.png"
    path.write_bytes(add_png_text(PNG, {METADATA_KEY: json.dumps(metadata(workflow, 7, "job-1"))}))
    return path


def test_a_saved_picture_gives_its_workflow_back(tmp_path: Path) -> None:
    made = FluxDev(prompt="ein Fuchs „im Schnee“ 🦊", seed=7, guidance=2.5, speed="balanced")
    assert ryla_gen.load(marked(made, tmp_path)) == made
    assert ryla_gen.load(marked(made, tmp_path), seed=8, steps=4) == made.changed(seed=8, steps=4)


def test_a_face_is_not_in_the_file_and_must_be_given_again(tmp_path: Path) -> None:
    made = InstantID(prompt="a", seed=7, reference_image=PNG)
    path = marked(made, tmp_path)
    assert PNG[:40] not in path.read_bytes()[100:]
    with pytest.raises(InvalidInputError) as caught:
        ryla_gen.load(path)
    assert "--reference-image" in caught.value.hint
    assert caught.value.details["missing"] == ["reference_image"]
    assert ryla_gen.load(path, reference_image=PNG) == made


def test_a_picture_of_comfyui_itself_becomes_a_custom_workflow(tmp_path: Path) -> None:
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64}}}
    (tmp_path / "comfy.png").write_bytes(add_png_text(PNG, {"prompt": json.dumps(graph)}))
    loaded = ryla_gen.load(tmp_path / "comfy.png")
    assert isinstance(loaded, CustomWorkflow)
    assert loaded.graph == graph


def test_files_that_say_nothing_or_nonsense_are_named(tmp_path: Path) -> None:
    (tmp_path / "plain.png").write_bytes(PNG)
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "broken.png").write_bytes(add_png_text(PNG, {METADATA_KEY: "{"}))
    (tmp_path / "future.png").write_bytes(add_png_text(PNG, {METADATA_KEY: json.dumps({"workflow": "hologram", "inputs": {}})}))
    for name in ("plain.png", "text.png", "broken.png", "future.png"):
        with pytest.raises(InvalidInputError):
            ryla_gen.load(tmp_path / name)
    with pytest.raises(StorageFailedError):
        ryla_gen.load(tmp_path / "none.png")
    with pytest.raises(StorageFailedError):
        ryla_gen.load(tmp_path)


def test_a_suffix_does_not_lie(tmp_path: Path) -> None:
    output = Output("image", "image/png", "flux-7-0.png", encoded(portrait((64, 64))), 64, 64)
    for asked, written in [("a.jpg", "a.png"), ("b.mp4", "b.png"), ("c", "c.png"), ("d.PNG", "d.PNG"), ("e.v2", "e.v2")]:
        assert output.save(tmp_path / asked) == tmp_path / written
        assert (tmp_path / written).read_bytes() == output.data
    jpeg = Output("image", "image/jpeg", "flux-7-0.jpg", encoded(portrait((64, 64)), "JPEG"), 64, 64)
    assert jpeg.save(tmp_path / "f.jpeg") == tmp_path / "f.jpeg"


def note(tmp_path: Path, workflow: str, **inputs: object) -> Path:
    """A picture that somebody else made, with a note of that person's choice."""
    path = tmp_path / "stranger.png"
    path.write_bytes(
        add_png_text(PNG, {METADATA_KEY: json.dumps({"contract": 1, "workflow": workflow, "seed": 7, "inputs": inputs})})
    )
    return path


CLAIMS = [
    "/etc/passwd",
    "~/.ssh/id_rsa",
    "private.png",
    "https://example.com/beacon.png",
    "http://127.0.0.1:1/beacon.png",
    "data:image/png;base64,iVBORw0KGgo=",
    "",
    {"sha256": "0" * 64, "bytes": 3, "path": "/etc/passwd"},
    {"path": "/etc/passwd"},
    ["/etc/passwd"],
    7,
    True,
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_strangers_note_names_no_picture_whatever_it_says(tmp_path: Path, claim: object) -> None:
    path = note(tmp_path, "instantid", prompt="a", reference_image=claim)
    with pytest.raises(InvalidInputError) as caught:
        ryla_gen.load(path)
    assert "reference_image" in caught.value.message
    assert "--reference-image FILE" in caught.value.hint
    assert ryla_gen.load(path, reference_image=PNG) == InstantID(prompt="a", seed=7, reference_image=PNG)


@pytest.mark.parametrize("claim", [*CLAIMS, {"photo.png": "/etc/passwd"}, {"photo.png": {"sha256": "0" * 64, "bytes": 3}}])
def test_nor_the_pictures_of_a_graph(tmp_path: Path, claim: object) -> None:
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}}}
    path = note(tmp_path, "workflow", graph=graph, images=claim)
    with pytest.raises(InvalidInputError, match="images") as caught:
        ryla_gen.load(path)
    assert "--image" in caught.value.hint
    assert ryla_gen.load(path, images={"photo.png": PNG}).to_plain()["images"] == {"photo.png": PNG}


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.png", "C:\\secret.png", "https://example.com/beacon.png", "//host/share/x.png"]
)
def test_a_strangers_graph_names_no_file_outside_the_servers_own_folder(tmp_path: Path, name: str) -> None:
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": name}}}
    (tmp_path / "comfy.png").write_bytes(add_png_text(PNG, {"prompt": json.dumps(graph)}))
    for path in (tmp_path / "comfy.png", note(tmp_path, "workflow", graph=graph)):
        with pytest.raises(InvalidInputError, match="outside the server's own folder"):
            ryla_gen.load(path)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "null", "[]", "9" * 5000, '{"workflow": [1]}', '{"workflow": "flux_dev", "inputs": []}'],
)
def test_a_note_of_another_shape_is_damaged_and_says_so(tmp_path: Path, text: str) -> None:
    for key in (METADATA_KEY, "prompt"):
        (tmp_path / "odd.png").write_bytes(add_png_text(PNG, {key: text}))
        with pytest.raises(InvalidInputError):
            ryla_gen.load(tmp_path / "odd.png")
