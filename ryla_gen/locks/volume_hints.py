"""Say what to do about a file of a lock that is published nowhere and is not on the volume either. Asks nobody."""

from __future__ import annotations

import shlex

from ..errors import ModelNotFoundError
from ..names import MODELS_VOLUME
from .graph_lock import LockedModel


def not_on_volume(model: LockedModel, environment: str | None = None) -> ModelNotFoundError:
    """Return the error for a file whose content the volume does not have.

    Args:
        model: the file, of a lock, without an address.
        environment: of Modal, where it is known.

    """
    where = f" of the environment {environment}" if environment else ""
    text = f"{model.label} is published nowhere, and the volume {MODELS_VOLUME}{where} has no file with its sha256 {model.sha256}."
    put = ["modal", "volume", "put", *(["--env", environment] if environment else []), MODELS_VOLUME, "FILE", model.label]
    hint = (
        f"Say where it is published: ryla-gen graph lock FILE.json --model {shlex.quote(f'{model.label}=ADDRESS')}. "
        f"Or put it there: {shlex.join(put)}"
    )
    return ModelNotFoundError(text, hint, {"file": model.file, "folder": model.folder, "sha256": model.sha256})
