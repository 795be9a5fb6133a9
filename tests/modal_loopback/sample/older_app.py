"""An app of another version, under the names of the project's: its containers let out whatever Python raises."""

from __future__ import annotations

from typing import Any

import modal

app = modal.App("older", image=modal.Image.debian_slim().add_local_python_source("older_app"))
RAISED: dict[str, type[Exception]] = {"TimeoutError": TimeoutError, "KeyError": KeyError}


@app.cls()
class Flux:
    """Fails as its prompt says."""

    @modal.method()
    async def flux(self, request: dict[str, Any]) -> dict[str, Any]:
        raise RAISED[request["inputs"]["prompt"]]("in the container")
