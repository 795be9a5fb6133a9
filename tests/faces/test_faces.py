"""Comparing faces: the arithmetic, the errors, and insightface's own classes on onnxruntime with tiny models made here.

The real antelopev2 files cannot be had where these tests run. What stands in for them has the same inputs and outputs, so
that insightface loads it as a detector and as a recogniser: a "face" is a red square, and its embedding are its colours.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ryla_gen import Generation, InstantID, Output
from ryla_gen.contract import read_reply, reply
from ryla_gen.errors import (
    BackendNotConfiguredError,
    FaceNotFoundError,
    InternalError,
    InvalidInputError,
    ModelNotFoundError,
    RylaGenError,
    StorageFailedError,
)
from ryla_gen.faces import Face, InsightFace, choose_face, cosine, install, similarity
from ryla_gen.faces.insight import DETECTOR, FOLDER, RECOGNISER, rows
from ryla_gen.remote.consistency import with_similarity

from ..models.downloads.hub import Hub

Box = tuple[int, int, int, int]


def picture(*squares: tuple[Box, str], size: tuple[int, int] = (640, 640)) -> bytes:
    image = Image.new("RGB", size, "#202020")
    for box, colour in squares:
        ImageDraw.Draw(image).rectangle(box, fill=colour)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Squares:
    """An embedder that sees bright squares: a face's embedding is its mean colour."""

    def faces(self, picture: bytes) -> Sequence[Face]:
        with Image.open(io.BytesIO(picture)) as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(np.float32)
        found = []
        for left, right in ((0, 320), (320, 640)):
            lit = np.argwhere(pixels[:, left:right].max(axis=2) > 100)
            if len(lit):
                (top, west), (bottom, east) = lit.min(axis=0), lit.max(axis=0)
                inside = pixels[top : bottom + 1, left + west : left + east + 1].mean(axis=(0, 1))
                found.append(Face((left + west, top, left + east + 1, bottom + 1), inside))
        return found


SMALL, LARGE = (10, 10, 59, 59), (400, 100, 599, 299)
RED, GREEN = "#ff0000", "#00ff00"


def test_cosine_is_one_for_the_same_direction_and_minus_one_for_the_opposite() -> None:
    vector = np.array([3.0, 4.0], dtype=np.float32)
    assert cosine(vector, 7 * vector) == pytest.approx(1.0)
    assert cosine(vector, -vector) == pytest.approx(-1.0)
    assert cosine(vector, np.array([-4.0, 3.0], dtype=np.float32)) == pytest.approx(0.0)
    assert cosine(vector, np.array([4.0, 3.0], dtype=np.float32)) == pytest.approx(24 / 25)
    assert -1.0 <= cosine(vector / 3, vector * 3) <= 1.0


@pytest.mark.parametrize("other", [[0.0, 0.0], [1.0, 2.0, 3.0], [math.nan, 1.0]])
def test_what_no_embedder_gives_is_refused(other: list[float]) -> None:
    with pytest.raises(InternalError, match="cannot be compared"):
        cosine(np.array([3.0, 4.0], dtype=np.float32), np.array(other, dtype=np.float32))


def test_similarity_takes_any_reference_to_a_picture(tmp_path: Path) -> None:
    red = picture((LARGE, RED))
    (tmp_path / "a.png").write_bytes(red)
    with Image.open(io.BytesIO(red)) as opened:
        image = opened.convert("RGB")
    assert similarity(tmp_path / "a.png", red, embedder=Squares()) == pytest.approx(1.0)
    assert similarity(image, str(tmp_path / "a.png"), embedder=Squares()) == pytest.approx(1.0)
    assert similarity(red, picture((LARGE, GREEN)), embedder=Squares()) == pytest.approx(0.0)


@pytest.mark.parametrize(("a", "b", "name"), [((), (LARGE,), "a"), ((LARGE,), (), "b")])
def test_no_face_names_the_picture(a: Sequence[Box], b: Sequence[Box], name: str) -> None:
    first, second = (picture(*((box, RED) for box in boxes)) for boxes in (a, b))
    with pytest.raises(FaceNotFoundError, match=f"No face was found in {name}") as missing:
        similarity(first, second, embedder=Squares())
    assert missing.value.details == {"input": name}


def test_several_faces_are_refused_or_the_largest_is_taken() -> None:
    both, red, green = picture((SMALL, RED), (LARGE, GREEN)), picture((LARGE, RED)), picture((SMALL, GREEN))
    with pytest.raises(InvalidInputError, match="b shows 2 faces") as refused:
        similarity(red, both, embedder=Squares())
    assert 'several="largest"' in refused.value.hint
    assert similarity(green, both, several="largest", embedder=Squares()) == pytest.approx(1.0)
    assert similarity(red, both, several="largest", embedder=Squares()) == pytest.approx(0.0)
    with pytest.raises(InvalidInputError, match="several must be"):
        similarity(red, both, several="all", embedder=Squares())  # type: ignore[arg-type]
    with pytest.raises(FaceNotFoundError):
        choose_face([], "a", "largest")


def test_what_is_no_picture_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidInputError, match="b: "):
        similarity(picture((LARGE, RED)), b"text", embedder=Squares())


def test_the_two_models_are_in_the_table_with_their_hashes(tmp_path: Path) -> None:
    assert sorted(Path(row.name).name for row in rows()) == sorted([DETECTOR, RECOGNISER])
    assert all(row.sha256 for row in rows())
    places = {str(Path(row.folder) / row.name) for row in rows()}
    assert places == {f"{FOLDER}/{DETECTOR}", f"{FOLDER}/{RECOGNISER}"}


def test_the_models_come_by_our_own_download_which_refuses_other_bytes(tmp_path: Path) -> None:
    with Hub() as hub:
        with pytest.raises(RylaGenError, match="no repository"):
            install(tmp_path, endpoint=hub.url)
        for row in rows():
            hub.put(row.repo, row.file, b"other bytes than the table's hash says", large=False)
        with pytest.raises(RylaGenError) as refused:
            install(tmp_path, endpoint=hub.url)
        assert len(refused.value.details["failures"]) == 2
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(BackendNotConfiguredError, match="insightface, which is not installed") as missing:
        similarity(picture((LARGE, RED)), picture((LARGE, RED)))
    assert "pip install 'ryla-gen[faces]'" in missing.value.hint


# -- on the result of a generation ---------------------------------------------------------------------------------------


def generation(*pictures: bytes, reference: bytes) -> Generation:
    workflow = InstantID(prompt="reading", reference_image=reference, seed=1)
    outputs = tuple(Output("image", "image/png", f"{index}.png", data, 640, 640) for index, data in enumerate(pictures))
    return Generation(workflow, outputs, 1, "7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11", "modal")


def test_the_likeness_is_the_mean_of_all_pictures_and_travels_with_the_reply() -> None:
    red, green = picture((LARGE, RED)), picture((LARGE, GREEN))
    made = with_similarity(generation(red, green, reference=red), emulated=False, models=Path(), embedder=Squares())
    assert made.face_similarity == pytest.approx(0.5)
    assert made.warnings == ()
    read = read_reply(reply(made), made.workflow)
    assert read.face_similarity == made.face_similarity


def test_a_result_that_nobody_measured_has_no_number_and_says_why() -> None:
    red, nobody = picture((LARGE, RED)), picture()
    emulated = with_similarity(generation(red, reference=red), emulated=True, models=Path())
    faceless = with_similarity(generation(nobody, reference=red), emulated=False, models=Path(), embedder=Squares())
    part = with_similarity(generation(nobody, red, reference=red), emulated=False, models=Path(), embedder=Squares())
    assert [item.face_similarity for item in (emulated, faceless, part)] == [None, None, pytest.approx(1.0)]
    assert [item.warnings[-1].code for item in (emulated, faceless, part)] == ["consistency_not_measured"] * 3
    assert "No face was found in 0.png" in faceless.warnings[-1].message
    assert "face_similarity" not in reply(emulated)["generation"], "older readers see nothing new"
    assert read_reply(reply(emulated), emulated.workflow).face_similarity is None


# -- insightface's own classes, on onnxruntime ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a tiny detector and a tiny recogniser."""
    pytest.importorskip("insightface", reason="the extra faces is not installed")
    folder = tmp_path_factory.mktemp("models")
    (folder / FOLDER).mkdir(parents=True)
    save_detector(folder / FOLDER / DETECTOR)
    save_recogniser(folder / FOLDER / RECOGNISER)
    return folder


def save_detector(path: Path) -> None:
    """SCRFD's interface: per stride 8, 16 and 32 scores, box distances and five points for two anchors a cell.

    The score of a cell of stride 32 is how red it is; the other strides see nothing. insightface scales to (x - 127.5) / 128
    and gives red, green, blue.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, outputs, constants = [], [], []

    def constant(name: str, value: Any, kind: Any = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.array(value, dtype=kind), name))
        return name

    # Red minus green minus blue: about 1 + 1 + 1 for pure red, about 1 for grey: 2 is subtracted.
    weights = constant("weights", np.array([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1))
    nodes.append(helper.make_node("Conv", ["image", weights], ["redness"], kernel_shape=[1, 1]))
    for stride in (8, 16, 32):
        count = 2 * (640 // stride) ** 2
        for kind, width in (("score", 1), ("box", 4), ("points", 10)):
            outputs.append(helper.make_tensor_value_info(f"{kind}{stride}", TensorProto.FLOAT, [count, width]))
        boxes = constant(f"boxes{stride}", np.full((count, 4), 1.0))
        points = constant(f"marks{stride}", np.tile([-0.5, -0.5, 0.5, -0.5, 0, 0, -0.4, 0.5, 0.4, 0.5], (count, 1)))
        nodes.append(helper.make_node("Identity", [boxes], [f"box{stride}"]))
        nodes.append(helper.make_node("Identity", [points], [f"points{stride}"]))
        if stride != 32:
            nodes.append(helper.make_node("Identity", [constant(f"none{stride}", np.zeros((count, 1)))], [f"score{stride}"]))
    nodes += [
        helper.make_node("AveragePool", ["redness"], ["mean"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Sub", ["mean", constant("two", 2.0)], ["above"]),
        helper.make_node("Clip", ["above", constant("least", 0.0), constant("most", 1.0)], ["cells"]),
        helper.make_node("Reshape", ["cells", constant("column", [-1, 1], np.int64)], ["each"]),
        helper.make_node("Concat", ["each", constant("silent", np.zeros((400, 1)))], ["pairs"], axis=1),
        helper.make_node("Reshape", ["pairs", "column"], ["score32"]),
    ]
    order = {name: index for index, name in enumerate(("score", "box", "points"))}
    outputs.sort(key=lambda item: (order[item.name.rstrip("0123456789")], int(item.name.lstrip("abcdefghijklmnopqrstuvwxyz"))))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])
    save(path, helper.make_graph(nodes, "detector", [image], outputs, constants), onnx, helper)


def save_recogniser(path: Path) -> None:
    """ArcFace's interface: a crop of 112 by 112 to numbers, here the mean colours of its four quarters."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = numpy_helper.from_array(np.array([1, -1], dtype=np.int64), "shape")
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["quarters"], kernel_shape=[56, 56], strides=[56, 56]),
        helper.make_node("Reshape", ["quarters", "shape"], ["683"]),
    ]
    crop = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, 112, 112])
    found = helper.make_tensor_value_info("683", TensorProto.FLOAT, [1, 12])
    save(path, helper.make_graph(nodes, "recogniser", [crop], [found], [shape]), onnx, helper)


def save(path: Path, graph: Any, onnx: Any, helper: Any) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


CELL, OTHER = (128, 128, 159, 159), (416, 320, 447, 351)
"""Squares that fill one cell of the detector's coarsest grid."""


def person(*cells: Box, around: str = "#202020") -> bytes:
    """A picture whose faces are at these cells, on a ground that the recogniser sees too."""
    image = Image.new("RGB", (640, 640), around)
    for cell in cells:
        ImageDraw.Draw(image).rectangle(cell, fill=RED)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_insightface_finds_each_face_where_it_is(models: Path) -> None:
    found = InsightFace(models).boxes(person(CELL, OTHER))
    centres = sorted(((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in found)
    assert np.allclose(centres, [(128, 128), (416, 320)])
    assert InsightFace(models).boxes(person()) == []


def test_insightface_compares_faces(models: Path) -> None:
    embedder = InsightFace(models)
    same = similarity(person(CELL), person(CELL), embedder=embedder)
    moved = similarity(person(CELL), person(OTHER), embedder=embedder)
    other = similarity(person(CELL), person(CELL, around="#1010f0"), embedder=embedder)
    assert same == pytest.approx(1.0)
    assert moved == pytest.approx(1.0, abs=0.05), "the crop follows the face"
    assert other < 0.7
    with pytest.raises(FaceNotFoundError, match="found in b"):
        similarity(person(CELL), person(), embedder=embedder)
    with pytest.raises(InvalidInputError, match="a shows 2 faces"):
        similarity(person(CELL, OTHER), person(CELL), embedder=embedder)


def test_models_that_are_not_there_or_damaged_say_so(models: Path, tmp_path: Path, clean_environment: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=DETECTOR) as missing:
        similarity(person(CELL), person(CELL))
    assert str(clean_environment) in missing.value.message
    assert "--install" in missing.value.hint
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / DETECTOR).write_bytes(b"not a model")
    with pytest.raises(StorageFailedError, match="is not a face model"):
        InsightFace(tmp_path).boxes(person(CELL))


def test_the_models_in_the_home_folder_are_found(models: Path, clean_environment: Path) -> None:
    clean_environment.mkdir(parents=True, exist_ok=True)
    (clean_environment / "models").symlink_to(models)
    assert similarity(person(CELL), person(CELL)) == pytest.approx(1.0)
