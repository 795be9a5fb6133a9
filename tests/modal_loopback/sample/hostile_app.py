"""An app under the name of a lock's, whose description is whatever a file of the test says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import modal

app = modal.App("ryla-hostile", image=modal.Image.debian_slim().add_local_python_source("hostile_app"))


@app.cls()
class Weights:
    """Answers as it was told to."""

    @modal.method()
    def describe(self, request: dict[str, Any]) -> Any:
        """Return what the file says, or raise what comes of it."""
        return eval(Path(os.environ["HOSTILE_ANSWER"]).read_text(encoding="utf-8"))
