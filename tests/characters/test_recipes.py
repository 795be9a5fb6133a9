"""Recipes: which workflow makes a character's pictures and what it is told; older requests and plans are made as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ryla_gen import Client, Settings
from ryla_gen.characters import ANGLES, BASE_RECIPES, SHEET_RECIPES, CharacterJob, Characters, SheetRecipe
from ryla_gen.emulator.server import Emulator
from ryla_gen.errors import BudgetExceededError, InvalidInputError
from ryla_gen.media import describe
from tests.cli.shell import SMALL as SMALL_OPTIONS
from tests.cli.shell import here, lines

SMALL: dict[str, Any] = {"width": 256, "height": 256, "steps": 1}
SECONDS = 240
SHEETS: tuple[SheetRecipe, ...] = ("qwen_edit", "kontext", "flux_pulid", "instantid")


def face_region(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The middle of a picture, without what the emulator writes below it."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L").resize((256, 256)), dtype=float)
    return pixels[40:170, 70:190]


def likeness(one: Path, other: Path) -> float:
    """The correlation of two pictures' middles: of emulated pictures a law, of real ones no measure of likeness."""
    return float(np.corrcoef(face_region(one).ravel(), face_region(other).ravel())[0, 1])


@pytest.mark.parametrize("recipe", SHEETS)
def test_each_recipe_makes_a_sheet_by_its_own_workflow_and_prompt(
    runner: Characters, client: Client, photo: Path, recipe: SheetRecipe
) -> None:
    job = runner.submit_character_sheet(photo, angles=["front", "back"], recipe=recipe, prompt="red hair.", seed=3, fields=SMALL)
    assert len(job.result(SECONDS).pictures) == 2
    assert job.plan.workflow == SHEET_RECIPES[recipe].workflow
    told = [ANGLES[name].instruction if SHEET_RECIPES[recipe].edits else ANGLES[name].prompt for name in ("front", "back")]
    assert [words in part.prompt for words, part in zip(told, job.parts, strict=True)] == [True, True]
    assert all("red hair" in part.prompt and ".." not in part.prompt and ", ," not in part.prompt for part in job.parts)
    journaled = client.history.get(job.parts[0].job)
    assert journaled is not None
    picture = journaled.inputs[SHEET_RECIPES[recipe].picture or ""]
    assert {name: (picture[0] if isinstance(picture, list) else picture)[name] for name in ("sha256", "bytes")} == {
        name: describe(photo.read_bytes())[name] for name in ("sha256", "bytes")
    }


def test_an_edit_keeps_the_emulated_person_and_a_face_model_blends_the_face_in(runner: Characters, tmp_path: Path) -> None:
    base = runner.submit_base_images("a woman with red hair", seed=7, count=1, fields={**SMALL, "steps": 8}).result(SECONDS)
    photo = base.pictures[0].path
    kept: dict[str, float] = {}
    for recipe in SHEETS:
        job = runner.submit_character_sheet(photo, angles=["front"], recipe=recipe, seed=3, fields={**SMALL, "steps": 4})
        kept[recipe] = likeness(photo, job.result(SECONDS).pictures[0].path)
    assert min(kept["qwen_edit"], kept["kontext"]) > 0.95
    assert max(kept["flux_pulid"], kept["instantid"]) < 0.95


def workflow_of(job: CharacterJob) -> str:
    job.cancel()
    return job.plan.workflow


@pytest.mark.parametrize(
    ("settings", "given", "base", "sheet"),
    [
        ({}, {}, "z_image", "qwen_image_edit"),
        ({"characters_checkpoint": "flux1-dev-fp8.safetensors"}, {}, "flux_dev", "flux_pulid"),
        ({"characters_nsfw_checkpoint": "flux1-dev-fp8.safetensors"}, {"nsfw": True}, "flux_dev", "flux_pulid"),
        ({}, {"fields": {"guidance": 2.0, "sampler": "euler", "scheduler": "simple"}}, "flux_dev", "flux_pulid"),
        ({"characters_face_workflow": "instantid"}, {}, "z_image", "instantid"),
    ],
    ids=["nothing", "a checkpoint is set", "nsfw", "fields of the earlier workflows", "a face workflow is set"],
)
def test_without_a_recipe_the_default_is_used_unless_only_the_earlier_one_can_do_it(
    server: Emulator, photo: Path, settings: dict[str, Any], given: dict[str, Any], base: str, sheet: str
) -> None:
    with Client(settings=Settings.load(comfyui_url=server.url, **settings)) as client:
        runner = Characters(client)
        assert workflow_of(runner.submit_base_images("a fox", count=1, **given)) == base
        assert workflow_of(runner.submit_character_sheet(photo, angles=["front"], **given)) == sheet


def test_a_named_recipe_is_used_whatever_is_set(server: Emulator, photo: Path) -> None:
    settings = Settings.load(
        comfyui_url=server.url, characters_checkpoint="flux1-dev-fp8.safetensors", characters_face_workflow="instantid"
    )
    with Client(settings=settings) as client:
        runner = Characters(client)
        assert workflow_of(runner.submit_base_images("a fox", count=1, recipe="z_image")) == "z_image"
        assert workflow_of(runner.submit_character_sheet(photo, angles=["front"], recipe="kontext")) == "flux_kontext"
        assert workflow_of(runner.submit_face_swap(photo, "reading")) == "instantid"


@pytest.mark.parametrize(
    ("call", "said", "hint"),
    [
        (
            lambda runner, photo: runner.submit_base_images("a fox", recipe="zimage"),
            "no recipe 'zimage' for base images; did you mean z_image",
            "Recipes for base images: z_image, flux_dev.",
        ),
        (
            lambda runner, photo: runner.submit_character_sheet(photo, recipe="z_image"),
            "no recipe 'z_image' for character sheets",
            "qwen_edit, kontext, flux_pulid, instantid",
        ),
        (
            lambda runner, photo: runner.submit_base_images("a fox", recipe="z_image", fields={"guidance": 3.0}),
            "The recipe z_image has no field guidance",
            "Recipes that have it: flux_dev. See its fields: ryla-gen workflows show z-image",
        ),
        (
            lambda runner, photo: runner.submit_character_sheet(photo, recipe="kontext", fields={"identity_strength": 0.5}),
            "The recipe kontext has no field identity_strength",
            "Recipes that have it: flux_pulid.",
        ),
        (
            lambda runner, photo: runner.submit_character_sheet(photo, recipe="qwen_edit", fields={"images": []}),
            "sets images itself",
            "",
        ),
        (
            lambda runner, photo: runner.submit_base_images("a fox", nsfw=True, recipe="z_image"),
            "the recipe z_image has none to choose",
            "Leave the recipe out",
        ),
        (
            lambda runner, photo: runner.submit_character_sheet(photo, fields={"width": 512}),
            "both width and height",
            "",
        ),
    ],
)
def test_what_does_not_belong_to_the_recipe_is_refused_before_anything_is_sent(
    runner: Characters, server: Emulator, photo: Path, call: Any, said: str, hint: str
) -> None:
    with pytest.raises(InvalidInputError, match=said) as refused:
        call(runner, photo)
    assert hint in refused.value.hint
    assert (runner.list(), server.stats.prompts) == ([], 0)


JOB = "4a6b35c0-4f0e-4d0a-9a3e-0b6f2f1c7d11"
PART = "4b8d6f5e-3c1d-4a57-9d53-53b5f2a0e0c2"


@pytest.mark.parametrize(("kind", "workflow"), [("base", "flux_dev"), ("sheet", "flux_pulid"), ("sheet", "instantid")])
def test_a_plan_of_an_earlier_version_is_made_as_it_was_asked_for(
    client: Client, runner: Characters, photo: Path, clean_environment: Path, kind: str, workflow: str
) -> None:
    picture = None if kind == "base" else {**describe(photo.read_bytes()), "origin": str(photo)}
    prompt = "character reference photo, front view, red hair"
    part = {"name": "front", "label": "Front", "prompt": prompt, "seed": 7, "jobs": [PART]}
    plan = {"version": 1, "id": JOB, "kind": kind, "backend": "comfyui", "workflow": workflow, "nsfw": False, "seed": 7}
    plan |= {"created_at": "2026-06-01T00:00:00Z", "fields": SMALL, "base_image": picture, "tags": ["mia"], "parts": [part]}
    folder = clean_environment / "characters" / JOB
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(plan))
    assert len(runner.resume(JOB).result(SECONDS).pictures) == 1
    made = client.history.get(PART)
    assert made is not None
    assert (made.workflow, made.inputs["prompt"], made.seed, "reference_image" in made.inputs) == (
        workflow,
        prompt,
        7,
        kind == "sheet",
    )


@pytest.mark.usefixtures("one_day")
def test_a_budget_is_held_against_the_recipe_that_is_used(server: Emulator, photo: Path) -> None:
    settings = Settings.load(comfyui_url=server.url, comfyui_hourly_usd=2.0, max_usd=0.05, max_usd_per_day=0.25)
    with Client(settings=settings) as client:
        runner = Characters(client)
        with pytest.raises(BudgetExceededError, match="one call may cost at most"):
            runner.submit_character_sheet(photo, angles=["front"])
        with pytest.raises(BudgetExceededError, match="The 16 pictures would cost about"):
            runner.submit_base_images("a fox", count=16, recipe="flux_dev")
        assert (runner.list(), server.stats.prompts) == ([], 0)
        assert workflow_of(runner.submit_base_images("a fox", count=1)) == "z_image"
        fast = {"speed": "lightning", "width": 512, "height": 512}
        assert workflow_of(runner.submit_character_sheet(photo, angles=["front"], fields=fast)) == "qwen_image_edit"


def test_the_command_takes_a_recipe_a_speed_and_a_limit(
    server: Emulator, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = [*SMALL_OPTIONS, "--url", server.url]
    out = str(tmp_path / "mia")
    sheet = ["character", "sheet", str(photo), "--angle", "front"]
    assert here("character", "base", "a fox", "--count", "1", "--recipe", "flux-dev", "--speed", "balanced", *where, "-o", out) == 0
    assert "flux_dev · seed" in capsys.readouterr().err
    assert here(*sheet, "--speed", "lightning", *where, "-o", out) == 0
    assert "qwen_image_edit · seed" in capsys.readouterr().err
    assert here(*sheet, "--recipe", "instantid", "--speed", "lightning", *where) == 2
    assert "The recipe instantid has no field speed" in capsys.readouterr().err
    monkeypatch.setenv("RYLA_GEN_COMFYUI_HOURLY_USD", "2")
    assert here(*sheet, "--max-usd", "0.01", "--url", server.url, "--json") == 1
    assert lines(capsys.readouterr().out)[-1]["error"]["code"] == "budget_exceeded"
    assert server.stats.prompts == 2


def test_the_defaults_may_be_used_commercially_and_come_first() -> None:
    assert (next(iter(BASE_RECIPES)), next(iter(SHEET_RECIPES))) == ("z_image", "qwen_edit")
