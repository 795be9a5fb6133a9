"""Make the first picture of ``init``: run it, save it, show it. Asks nothing."""

from __future__ import annotations

from ryla_gen.workflows.base import Workflow

from ...screen import Screen

PROMPT = "a lighthouse at dusk, red roof"
FIRST = ("z_image", "flux", "flux_dev")
"""Workflows that may make the first picture: the first one that the backend has the weights for. The first two are Apache-2.0."""
FIRST_OF_RUNPOD = FIRST[1:]
"""The same for an endpoint that nothing can be asked: worker-comfyui's published images are for FLUX.1."""
TAG = "first"
"""Tag of its job in the journal."""


def first_workflow(name: str) -> Workflow:
    """Return the request for the first picture."""
    from ryla_gen.workflows.registry import workflow_class

    return workflow_class(name).from_plain({"prompt": PROMPT, "seed": 7})


def make_picture(screen: Screen, backend: str, name: str, max_usd: float | None) -> str:
    """Make the first picture and return its path.

    Raises:
        BudgetExceededError: it would probably cost more than ``max_usd`` US dollars.
        RylaGenError: it could not be made.

    """
    from ryla_gen.client import Client

    from ...generate import note_result, save_outputs
    from ...progress import following
    from ...run_options import RunOptions
    from ...terminal_images import show_images

    screen.say(f'Making "{PROMPT}" with {name.replace("_", "-")} …')
    with Client(backend, max_usd=max_usd) as client:
        with following(screen, name) as follower:
            generation = client.run(first_workflow(name), on_event=follower.event, tags=(TAG,))
        paths = save_outputs(screen, generation, RunOptions(), client.settings.output_dir)
        client.history.saved(generation.job, paths)
    screen.say(str(paths[0]))
    show_images(screen, paths)
    note_result(screen, generation)
    return str(paths[0])
