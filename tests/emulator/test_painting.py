"""What a prompt names is in its picture or written under it; and what can move, moves."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from running import Runner, flux, folders_in, pictures

from ryla_gen.emulator import latents
from ryla_gen.emulator.painting import add_caption, legible, paint
from ryla_gen.emulator.painting.scene import FIGURES, PLACES, read
from ryla_gen.emulator.style import is_flat

Array = npt.NDArray[np.float32]


def captioned(prompt: str, width: int, height: int, layout: int = 0, time: float = 0.0) -> Array:
    return add_caption(paint(prompt, width, height, layout, time), [prompt])


def letters_of(caption_of: str, size: int) -> Array:
    """The lower part of a grey picture with the caption of a prompt: dark where the strip is, light where the letters are."""
    return add_caption(np.full((size, size, 3), 0.5, np.float32), [caption_of])[-size // 6 :].mean(-1)


def likeness(one: Array, other: Array) -> float:
    """The correlation of two pictures' fine detail."""
    edges = [np.diff(picture, axis=1).ravel() for picture in (one, other)]
    return float(np.corrcoef(*edges)[0, 1])


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("a lighthouse at dusk, red roof", ""),
        ("portrait of a woman with red hair", ""),
        ("a red boat on a blue sea at noon", ""),
        ("an octopus playing the violin", "an octopus playing the violin"),
        ("a lighthouse at dusk, an octopus on its red roof, fog", "an octopus on its red roof"),
        ("a lighthouse\nwith a dragon", "with a dragon"),
        ("portrait of a woman with a red roof", "portrait of a woman with a red roof"),
        ("a boat in the mountains", "a boat in the mountains"),
        ("two boats", "two boats"),
        ("a sea with no boat", "a sea with no boat"),
        ("portrait of a man, rain", "rain"),
        ("shallow depth of field, f/1.8", "shallow depth of field, f/1.8"),
        ("a green boat, a house, a lighthouse", "a lighthouse"),
    ],
)
def test_the_caption_is_what_the_painting_does_not_show_in_the_prompts_own_words(prompt: str, caption: str) -> None:
    assert read(prompt).caption == caption


@pytest.mark.parametrize("word", sorted({*FIGURES, *PLACES}))
def test_every_word_that_can_be_painted_needs_no_caption_and_paints_something(word: str) -> None:
    assert read(f"a {word}").caption == ""
    assert paint(f"a {word}", 64, 48).std() > 0.03


def test_a_painting_without_a_caption_is_left_as_it_is() -> None:
    picture = paint("a lighthouse at dusk, red roof", 256, 256)
    assert np.array_equal(add_caption(picture, ["a lighthouse at dusk, red roof"]), picture)


OTHERS = [
    "an octopus playing the violin",
    "an octopus playing the violas",
    "a perfume bottle on marble",
    "a tortoise playing chess again",
]


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_a_caption_can_still_be_read_when_it_comes_out_of_the_latent(size: int) -> None:
    half = size // 2
    for prompt in OTHERS[1:]:
        shown = latents.decode(latents.encode_half(captioned(prompt, half, half)))
        seen = latents.halve(shown.mean(-1))[-half // 6 :]
        scores = {other: likeness(seen, letters_of(other, half)) for other in OTHERS}
        assert max(scores, key=scores.__getitem__) == prompt
        assert scores[prompt] > 0.75


def test_a_saved_picture_carries_its_caption_and_the_mark_below_it(tmp_path: Path) -> None:
    here, prompt, half = folders_in(tmp_path), OTHERS[0], 256
    decoded = pictures(flux(prompt, size=512), here)[0]
    seen = latents.halve(decoded.mean(-1))[-half // 6 :]
    scores = {other: likeness(seen, letters_of(other, half)) for other in OTHERS}
    assert max(scores, key=scores.__getitem__) == prompt
    assert scores[prompt] > 0.6
    Runner(flux(prompt, size=512), here).run()
    with Image.open(next(here.output.glob("*.png"))) as opened:
        saved = np.asarray(opened.convert("RGB"), np.float32) / 255
    changed = np.argwhere(np.abs(saved - decoded).max(-1) > 0.1)
    assert changed.min(0)[0] > 490  # pixels from the top: below the caption's last line
    assert changed.min(0)[1] > 430
    assert len(changed) > 100


def test_prompts_differ_and_the_same_prompt_is_the_same_picture_every_time() -> None:
    shots = [captioned(prompt, 192, 192) for prompt in OTHERS]
    assert all(np.array_equal(captioned(prompt, 192, 192), shot) for prompt, shot in zip(OTHERS, shots, strict=True))
    assert all(np.abs(one - other).mean() > 0.01 for index, one in enumerate(shots) for other in shots[:index])
    layouts = [paint(OTHERS[0], 96, 96, layout) for layout in range(3)]
    assert all(np.abs(one - other).mean() > 0.01 for one, other in pairwise(layouts))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("an octopus", "“an octopus”"),
        ("a 章鱼 in a café", "“a … in a cafe”"),
        ("violin 🎻", "“violin …”"),
        ("a\x00b\u202ec\u200bd", "“a bcd”"),
        ("\ud800 broken", "“broken”"),
    ],
)
def test_what_the_font_lacks_is_an_ellipsis_never_a_box(text: str, written: str) -> None:
    assert legible(text) == written


def test_prompts_in_another_script_are_told_apart_by_a_number() -> None:
    octopus, bottle = legible("一只章鱼在拉小提琴"), legible("大理石上的香水瓶")
    assert octopus != bottle
    assert octopus.isascii()
    assert octopus.endswith("in other letters")


@pytest.mark.parametrize("prompt", ["many different things " * 200, "x" * 5000, "W" * 90 + " " + "i" * 400])
@pytest.mark.parametrize("size", [(96, 96), (256, 256), (512, 128), (104, 400)])
def test_a_long_caption_is_cut_and_stays_inside_its_margins(prompt: str, size: tuple[int, int]) -> None:
    grey = np.full((size[1], size[0], 3), 0.5, np.float32)
    picture = add_caption(grey, [prompt])
    assert np.array_equal(picture[: size[1] // 2], grey[: size[1] // 2])
    assert picture.max() > 0.85
    assert picture[:, :8].max() <= 0.5
    assert picture[:, -8:].max() <= 0.5


def test_a_picture_too_small_for_letters_has_no_caption() -> None:
    grey = np.full((80, 400, 3), 0.5, np.float32)
    assert np.array_equal(add_caption(grey, [OTHERS[0]]), grey)


@pytest.mark.parametrize("prompt", ["", "  ", "\n\t"])
def test_an_empty_prompt_is_neutral_grey(prompt: str) -> None:
    assert np.all(captioned(prompt, 128, 96) == 0.5)


@pytest.mark.parametrize("prompt", [", ,", "\x07\x00", "…", "no", "portrait", "red"])
def test_hardly_a_prompt_is_a_picture_all_the_same(prompt: str) -> None:
    assert captioned(prompt, 128, 96).std() > 0.03


@pytest.mark.parametrize("prompt", ["a lighthouse", "a house in the snow", "two boats, fog", "a woman in a forest, rain", "ink"])
@pytest.mark.parametrize("size", [(64, 64), (208, 120), (96, 176), (24, 8), (640, 40)])
def test_every_figure_fits_every_shape_of_picture(prompt: str, size: tuple[int, int]) -> None:
    picture = captioned(prompt, *size)
    assert picture.shape == (size[1], size[0], 3)
    assert np.isfinite(picture).all()
    assert picture.std() > 0.02


@pytest.mark.parametrize("layout", range(8))
def test_every_portrait_passes_for_a_face_and_has_hair_of_the_colour_asked_for(layout: int) -> None:
    red, black = (paint(f"portrait of a woman with {colour} hair", 128, 128, layout) for colour in ("red", "black"))
    assert not is_flat(red)
    assert share_of_red(red) > share_of_red(black) + 0.05


def share_of_red(picture: Array) -> float:
    return float(np.mean((picture[..., 0] > picture[..., 1] * 2.2) & (picture[..., 0] > picture[..., 2] * 2.2)))


def middle_of_red(picture: Array) -> float:
    mask = (picture[..., 0] > picture[..., 1] * 1.8) & (picture[..., 0] > picture[..., 2] * 1.8) & (picture[..., 0] > 0.25)
    return float(np.mean(np.nonzero(mask)[1]) / picture.shape[1])


def test_a_boat_crosses_a_good_part_of_the_picture_in_even_steps() -> None:
    frames = [paint("a red boat on a blue sea at noon", 208, 120, time=float(time)) for time in range(0, 21, 2)]
    at = [middle_of_red(frame) for frame in frames]
    steps = np.diff(at)
    assert abs(at[-1] - at[0]) > 0.05
    assert np.all(np.sign(steps) == np.sign(steps[0]))
    assert np.abs(steps).max() < 0.03
    assert max(float(np.abs(one - other).mean()) for one, other in pairwise(frames)) < 0.05


@pytest.mark.parametrize("prompt", ["a boat at sea", "mountains, forest", "an octopus playing the violin"])
def test_a_long_video_runs_out_of_nothing(prompt: str) -> None:
    late, later = (captioned(prompt, 96, 64, time=time) for time in (200.0, 201.0))
    assert 0 < np.abs(late - later).mean() < 0.05


@pytest.mark.parametrize(
    "prompt", [*sorted(set(PLACES.values())), "a house", "a portrait", "a lighthouse at night", "an octopus playing the violin"]
)
def test_a_still_is_frame_zero_and_time_alone_moves_things(prompt: str) -> None:
    first, again, later = (captioned(prompt, 128, 96, time=time) for time in (0.0, 0.0, 4.0))
    assert np.array_equal(first, again)
    assert np.abs(first - later).mean() > 0.002


def test_a_video_keeps_its_caption_in_place() -> None:
    first, later = (captioned(OTHERS[0], 256, 160, time=time)[-20:] for time in (0.0, 8.0))
    letters = letters_of(OTHERS[0], 256)[-20:]
    for frame in (first, later):
        assert frame.mean(-1)[letters > 0.9].min() > 0.8
