"""Define the app that downloads the models of a lock before its own app is deployed: ``modal run`` runs it, and it ends then.

So a lock's app never goes live without its models, and a download that fails leaves what is live as it was.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import modal

from ..errors import RylaGenError
from ..settings import Settings
from ..support.loop_thread import run_async
from . import admin, config
from .graph_deploy import PROGRESS_MARK, SECRETS_VARIABLE
from .graph_served import LOCK, weights_image
from .served import WEIGHTS_OPTIONS, WeightsServed, built

SECRETS = [modal.Secret.from_name(name) for name in os.environ.get(SECRETS_VARIABLE, "").split(",") if name]

app = modal.App(f"{LOCK.app}-models", include_source=False)


@app.cls(image=built(weights_image), secrets=SECRETS, **WEIGHTS_OPTIONS)
@modal.concurrent(max_inputs=config.WEIGHTS_INPUTS)
class Weights(WeightsServed):
    """The graph's models on the volume. Tokens are attached to this class alone, for as long as it runs."""

    lock = LOCK


@app.local_entrypoint()
def bring(reply: str) -> None:
    """Download what is missing, and write the report, or the error, into a file.

    Args:
        reply: the file.
    """
    try:
        wanted = {"workflows": [LOCK.python_name], "variants": False}
        report = run_async(admin.run_weights(Weights, Settings.load(), "sync", wanted, _tell))
        found = {"ok": True, "report": report}
    except RylaGenError as error:
        found = {"ok": False, "error": error.to_data()}
    Path(reply).write_text(json.dumps(found), encoding="utf-8")


def _tell(progress: object) -> None:
    print(f"{PROGRESS_MARK}{json.dumps(progress)}", flush=True)  # noqa: T201 - the process that started this one reads it
