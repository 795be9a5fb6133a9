"""Implement ``ryla-gen character``: base images, face swaps and character sheets. Options only; ``work`` does the work."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ryla_gen.errors import InvalidInputError

from ...common import Backend, Json, MaxUsd, Overwrite, Quiet, Tag, Url, User, example, group, grouped, screen_of
from ...run_options import RunOptions

if TYPE_CHECKING:
    from ryla_gen.characters import BaseRecipe, CharacterJob, Characters, SheetRecipe

app = group(
    "Make a character: base images, a face swap, a sheet of angles. Each is one job with several pictures.",
    example('ryla-gen character base "a young woman with red hair and freckles" --count 4 -o mia/'),
)

Nsfw = Annotated[bool, typer.Option("--nsfw", help="Use the checkpoint set in characters.nsfw_checkpoint.")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="NUMBER", min=0, help="The same seed gives the same pictures. Random by default.")
]
Width = Annotated[int | None, typer.Option("--width", metavar="PIXELS", help="Width of each picture.")]
Height = Annotated[int | None, typer.Option("--height", metavar="PIXELS", help="Height of each picture.")]
Steps = Annotated[int | None, typer.Option("--steps", metavar="NUMBER", help="Sampling steps of each picture.")]
Speed = Annotated[
    str | None,
    typer.Option("--speed", metavar="NAME", help="Speed of the recipe, where it has a choice: lightning for qwen_edit."),
]
Folder = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="DIR", help="Folder to copy the pictures and the sheet to."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Submit everything, print the job id, and do not wait.")]
Face = Annotated[str, typer.Argument(metavar="IMAGE", help="Picture of the face to keep.", show_default=False)]
Id = Annotated[str, typer.Argument(metavar="ID", help="The job id, or its first characters.", show_default=False)]
Again = Annotated[
    str | None,
    typer.Option("--base-image", metavar="IMAGE", help="The reference picture, if it is no longer where it was."),
]


@dataclass(frozen=True, slots=True)
class PicturesOptions:
    """The options of every command that makes pictures."""

    seed: SeedOption = None
    nsfw: Nsfw = False
    width: Width = None
    height: Height = None
    steps: Steps = None
    speed: Speed = None
    output: Folder = None
    overwrite: Overwrite = False
    detach: Detach = False
    backend: Backend = None
    url: Url = None
    tag: Tag = None
    user: User = None
    max_usd: MaxUsd = None
    as_json: Json = False
    quiet: Quiet = False

    def submit(
        self, context: typer.Context, names: Sequence[str], start: Callable[[Characters, dict[str, Any]], CharacterJob]
    ) -> None:
        """Submit a job, and follow it unless it was detached.

        Args:
            context: of the command.
            names: of the pictures, in order.
            start: submits the job, given the arguments that every kind of job takes.

        """
        from . import work  # the client and its backends, which no help text needs

        given = {"width": self.width, "height": self.height, "steps": self.steps, "speed": self.speed}
        fields = {name: value for name, value in given.items() if value is not None}
        shared = {"nsfw": self.nsfw, "seed": self.seed, "fields": fields, "tags": self.tag or (), "user": self.user}
        screen = screen_of(context, as_json=self.as_json, quiet=self.quiet)
        how = RunOptions(self.output, self.overwrite, self.backend, self.url, max_usd=self.max_usd)
        work.submit(screen, lambda runner: start(runner, shared), how, names, detach=self.detach)


@app.command(epilog=example('ryla-gen character base "a young woman with red hair" --seed 7 --count 3 -o mia/'))
@grouped
def base(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the character looks like.", show_default=False)],
    count: Annotated[int, typer.Option("--count", metavar="NUMBER", min=1, max=16, help="Number of pictures to make.")] = 4,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", help="z_image (the default; Apache-2.0) or flux_dev (non-commercial)."),
    ] = None,
    *,
    options: PicturesOptions,
) -> None:
    """Make pictures of a new character, each with its own seed.

    --nsfw, and a checkpoint in the setting characters.checkpoint, use flux_dev unless you name a recipe.
    """
    names = [f"base-{number}" for number in range(1, count + 1)]
    named = cast("BaseRecipe | None", recipe)  # the library says which there are
    options.submit(context, names, lambda runner, shared: runner.submit_base_images(prompt, count=count, recipe=named, **shared))


@app.command(epilog=example('ryla-gen character swap mia/base-2.png "reading in a sunlit library" -o mia/'))
@grouped
def swap(
    context: typer.Context,
    image: Face,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="Describes the new picture.", show_default=False)],
    *,
    options: PicturesOptions,
) -> None:
    """Make a new picture with the face from another one."""
    options.submit(context, ["swap"], lambda runner, shared: runner.submit_face_swap(_picture(image), prompt, **shared))


@app.command(epilog=example('ryla-gen character sheet mia/base-2.png --prompt "red hair, green coat" -o mia/sheet/'))
@grouped
def sheet(
    context: typer.Context,
    image: Face,
    angle: Annotated[
        list[str] | None, typer.Option("--angle", metavar="NAME", help="Make only this angle; repeatable. Default: all.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="qwen_edit (the default; Apache-2.0), kontext, flux_pulid or instantid (non-commercial).",
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option("--prompt", metavar="TEXT", help="Describes what stays the same in every picture: hair, clothes.")
    ] = "",
    *,
    options: PicturesOptions,
) -> None:
    """Make one picture per angle of the person in another picture, and a labelled contact sheet.

    Angles: front, three-quarter-left, three-quarter-right, profile-left, profile-right, back, looking-up, looking-down.
    --nsfw, and the settings characters.checkpoint and characters.face_workflow, use the face workflow unless you name a recipe.
    """
    from ryla_gen.characters.base import chosen_angles

    angles = chosen_angles(angle or None)
    names = [item.name for item in angles]
    named = cast("SheetRecipe | None", recipe)

    def start(runner: Characters, shared: dict[str, Any]) -> CharacterJob:
        return runner.submit_character_sheet(_picture(image), angles=angles, recipe=named, prompt=prompt, **shared)

    options.submit(context, names, start)


@app.command(epilog=example("ryla-gen character status 7f0c4a1e --wait -o mia/"))
def status(
    context: typer.Context,
    job: Id,
    wait: Annotated[bool, typer.Option("--wait", help="Show its progress until it ends; Ctrl-C only stops watching.")] = False,
    base_image: Annotated[str | None, typer.Option("--base-image", hidden=True)] = None,
    output: Folder = None,
    overwrite: Overwrite = False,
    backend: Backend = None,
    url: Url = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the state of each picture of a job. Sends nothing, and works while another command makes the pictures."""
    from . import work

    if base_image is not None:  # until 0.4: what status sent itself until 0.2
        hint = f"Continue the job: {shlex.join(['ryla-gen', 'character', 'resume', job, '--base-image', base_image])}"
        raise InvalidInputError("status sends nothing, so it needs no --base-image.", hint)
    work.status(screen_of(context, as_json=as_json, quiet=quiet), job, RunOptions(output, overwrite, backend, url), wait=wait)


@app.command(epilog=example("ryla-gen character resume 7f0c4a1e -o mia/"))
def resume(
    context: typer.Context,
    job: Id,
    base_image: Again = None,
    output: Folder = None,
    overwrite: Overwrite = False,
    detach: Detach = False,
    backend: Backend = None,
    url: Url = None,
    max_usd: MaxUsd = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continue a job where it stopped, and wait for its pictures; Ctrl-C only stops waiting.

    Pictures that a stopped command never sent are sent now; those lost to a machine fault are tried once more.
    """
    from . import work

    how = RunOptions(output, overwrite, backend, url, max_usd=max_usd)
    work.resume(screen_of(context, as_json=as_json, quiet=quiet), job, how, _again(base_image), detach=detach)


@app.command(epilog=example("ryla-gen character retry 7f0c4a1e --only profile-left"))
def retry(
    context: typer.Context,
    job: Id,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="Retry only this picture; repeatable.")] = None,
    base_image: Again = None,
    output: Folder = None,
    overwrite: Overwrite = False,
    backend: Backend = None,
    url: Url = None,
    max_usd: MaxUsd = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the missing pictures again; existing ones are kept."""
    from . import work

    how = RunOptions(output, overwrite, backend, url, max_usd=max_usd)
    work.retry(screen_of(context, as_json=as_json, quiet=quiet), job, how, only, _again(base_image))


@app.command(epilog=example("ryla-gen character cancel 7f0c4a1e"))
def cancel(context: typer.Context, job: Id, backend: Backend = None, url: Url = None, as_json: Json = False) -> None:
    """Stop a job; existing pictures are kept."""
    from . import work

    work.cancel(screen_of(context, as_json=as_json), job, RunOptions(None, False, backend, url))


@app.command(epilog=example("ryla-gen character compare mia/base-2.png mia/swap.png"))
def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="The first picture.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", help="The second picture.", show_default=False)],
    largest: Annotated[bool, typer.Option("--largest", help="Use the largest face in a picture with several.")] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Download the two face models first (278 MB, for non-commercial research).")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how similar two faces are: the cosine of their ArcFace embeddings, -1 to 1. Needs the extra "faces"."""
    from . import work

    screen = screen_of(context, as_json=as_json, quiet=quiet)
    work.compare(screen, _picture(first), _picture(second), largest=largest, install=install)


@app.command("list", epilog=example("ryla-gen character list"))
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the character jobs of this machine, newest first."""
    from . import work

    work.list_jobs(screen_of(context, as_json=as_json))


def _picture(image: str) -> str | Path:
    """Read a picture argument of the command line: a file, or an address.

    Raises:
        InvalidInputError: there is no such file.

    """
    if image.lower().startswith(("http://", "https://", "data:")):
        return image
    path = Path(image).expanduser()
    if not path.is_file():
        raise InvalidInputError(f"There is no picture at {image}.", "Give the path of an existing file, or an address.")
    return path


def _again(image: str | None) -> str | Path | None:
    return None if image is None else _picture(image)
