"""What a prompt names is in its picture: numbers, furniture, solids, places; and what can move, moves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from ryla_gen.emulator.painter import paint
from ryla_gen.emulator.painter_words import read

Array = npt.NDArray[np.float32]


def share(picture: Array, wanted: str) -> float:
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    masks = {
        "red": (red > 0.3) & (red > green * 2.0) & (red > blue * 2.0),
        "green": (green > red * 1.5) & (green > blue * 1.5),
        "blue": (blue > 0.3) & (blue > red * 1.6) & (blue > green * 1.2),
        "white": picture.min(-1) > 0.82,
        "black": picture.max(-1) < 0.16,
    }
    return float(np.mean(masks[wanted]))


def runs(row: npt.NDArray[np.bool_]) -> int:
    """How many separate stretches of a row are true."""
    return int(np.sum(np.diff(np.concatenate([[False], row]).astype(int)) == 1))


@pytest.mark.parametrize(
    ("prompt", "figure", "count"),
    [
        ("two cats on a sofa", "cat", 2),
        ("three red balloons", "balloon", 3),
        ("a couple of dogs", "dog", 2),
        ("several boats on a lake", "boat", 4),
        ("4 cubes, white background", "cube", 4),
        ("sailboats at sunset", "boat", 3),
        ("a dozen horses", "horse", 6),
    ],
)
def test_numbers_and_plurals_are_counted(prompt: str, figure: str, count: int) -> None:
    assert read(prompt).counts == {figure: count}


@pytest.mark.parametrize(
    "prompt",
    ["a cat", "portrait of a woman, f/1.8, 85mm", "4k photo of a cat", "a two story house", "two lamps with a cat", "an octopus"],
)
def test_what_only_looks_like_a_number_counts_nothing(prompt: str) -> None:
    assert read(prompt).counts == {}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", [0, 1, 2])
def test_as_many_solids_stand_there_as_were_asked_for(count: int, layout: int) -> None:
    number = {1: "a red sphere", 2: "two red spheres", 3: "three red spheres", 4: "four red spheres"}[count]
    picture = paint(f"{number}, white background", 192, 192, layout)
    reds = picture[..., 0] - picture[..., 2] > 0.15
    assert runs(reds.sum(0) > 2) == count


@pytest.mark.parametrize("layout", [0, 1, 2])
def test_a_red_cube_stands_on_a_white_background(layout: int) -> None:
    picture = paint("a red cube on a white background", 160, 160, layout)
    assert share(picture, "red") > 0.1
    assert share(picture, "white") > 0.45
    assert picture[:8, :8].min() > 0.8
    assert share(paint("a red cube on a black background", 160, 160, layout), "black") > 0.5


@pytest.mark.parametrize("furniture", ["sofa", "chair", "bed"])
def test_furniture_has_its_colour_and_stays_when_somebody_sits_on_it(furniture: str) -> None:
    alone, empty = (paint(f"a {colour} {furniture}", 160, 160) for colour in ("green", "red"))
    taken = paint(f"two cats on a green {furniture}", 160, 160)
    assert share(alone, "green") > 0.02
    assert share(empty, "green") < share(alone, "green") / 3
    assert share(taken, "green") > 0.015
    assert read(f"two cats on a green {furniture}").place == "room"


def test_a_named_background_is_plain_behind_furniture_too() -> None:
    assert read("a chair on a black background").is_plain
    assert share(paint("a chair on a black background", 128, 128), "black") > 0.5


def test_a_table_is_furniture_by_itself_and_under_a_bowl_the_one_indoors() -> None:
    assert read("a wooden table and two chairs").subjects == ["table", "chair"]
    bowl = read("a bowl of oranges on a table")
    assert (bowl.place, bowl.subjects) == ("interior", ["bowl"])


def test_the_moon_is_a_place_to_stand_on_or_a_light_in_the_sky() -> None:
    assert read("astronaut riding a horse on the moon").place == "moon"
    assert read("lunar landscape").place == "moon"
    sea = read("the moon over the sea")
    assert (sea.place, sea.hour) == ("sea", "night")
    ground = paint("astronaut riding a horse on the moon", 160, 160)
    assert ground[:10, :10].max() < 0.35
    corner = ground[140:, :30].reshape(-1, 3)
    assert 0.2 < corner.mean() < 0.8
    assert np.abs(corner.mean(0) - corner.mean()).max() < 0.05
    red = paint("a rover on mars", 160, 160)[140:].reshape(-1, 3).mean(0)
    assert red[0] > red[2] * 1.5


def test_a_rider_sits_on_the_horse_and_does_not_replace_it() -> None:
    scene = read("astronaut riding a brown horse on the moon")
    assert scene.subjects == ["astronaut", "horse"]
    with_horse = paint("astronaut riding a brown horse on the moon", 160, 160)
    white_horse = paint("astronaut riding a white horse on the moon", 160, 160)
    brown = [((p[..., 0] > p[..., 2] * 1.5) & (p[..., 0] > 0.12)).mean() for p in (with_horse, white_horse)]
    assert brown[0] > 0.04
    assert brown[1] < brown[0] / 2


def test_a_pine_forest_stands_at_its_mountain_lake() -> None:
    pines, bare = (paint(f"mountain lake{rest}", 192, 192)[40:110] for rest in (", pine forest", ""))

    def dark_green(picture: Array) -> float:
        return float(np.mean((picture[..., 1] > picture[..., 0] * 1.3) & (picture[..., 1] < 0.42)))

    assert dark_green(pines) > dark_green(bare) + 0.05


@pytest.mark.parametrize(
    "prompt", ["a steam train", "a stone bridge", "steam train crossing a bridge", "a horse", "a crown", "a pyramid"]
)
@pytest.mark.parametrize("size", [(64, 64), (208, 120), (96, 176)])
def test_every_new_figure_fits_every_shape_of_picture(prompt: str, size: tuple[int, int]) -> None:
    picture = paint(prompt, *size)
    assert picture.shape == (size[1], size[0], 3)
    assert np.isfinite(picture).all()
    assert picture.std() > 0.03


def test_train_and_bridge_are_both_there() -> None:
    scene = read("steam train crossing a bridge")
    assert (scene.place, scene.subjects) == ("lake", ["train", "bridge"])
    both, bridge = (paint(prompt, 160, 160) for prompt in ("red train crossing a bridge", "a bridge"))
    assert share(both, "red") > share(bridge, "red") + 0.02


def middle_of_red(picture: Array) -> float:
    mask = (picture[..., 0] > picture[..., 1] * 1.8) & (picture[..., 0] > picture[..., 2] * 1.8) & (picture[..., 0] > 0.25)
    return float(np.mean(np.nonzero(mask)[1]) / picture.shape[1])


@pytest.mark.parametrize("prompt", ["a red boat on a blue lake at noon", "a red car in a city street", "a red fish under water"])
def test_what_travels_crosses_a_good_part_of_the_picture_in_even_steps(prompt: str) -> None:
    frames = [paint(prompt, 208, 120, time=float(time)) for time in range(0, 21, 2)]
    at = [middle_of_red(frame) for frame in frames]
    steps = np.diff(at)
    assert abs(at[-1] - at[0]) > 0.08
    assert np.all(np.sign(steps) == np.sign(steps[0]))
    assert np.abs(steps).max() < 0.03
    changes = [float(np.abs(one - other).mean()) for one, other in pairwise(frames)]
    assert max(changes) < 0.05


def test_boats_sail_together_and_not_into_each_other() -> None:
    for time in (0.0, 10.0, 20.0):
        picture = paint("two red boats on a lake", 208, 120, time=time)
        reds = (picture[..., 0] > picture[..., 1] * 1.8) & (picture[..., 0] > picture[..., 2] * 1.8)
        assert runs(reds.sum(0) > 1) == 2


@pytest.mark.parametrize("prompt", ["a boat at sea", "mountain lake, pine forest", "a steam train in the desert"])
def test_a_long_video_runs_out_of_nothing(prompt: str) -> None:
    late, later = (paint(prompt, 96, 64, time=time) for time in (200.0, 201.0))
    assert 0 < np.abs(late - later).mean() < 0.05


def test_a_still_is_frame_zero_and_time_alone_moves_things() -> None:
    for prompt in ("two boats at sea", "a horse in a meadow", "a steam train", "clouds in the sky"):
        first, again, later = (paint(prompt, 128, 96, time=time) for time in (0.0, 0.0, 4.0))
        assert np.array_equal(first, again)
        assert np.abs(first - later).mean() > 0.004
