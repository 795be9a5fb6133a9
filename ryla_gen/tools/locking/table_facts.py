"""Fill in what this package's own weights know of a model where nobody is asked: commit, hash, size, licence."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from ...locks.graph_lock import PENDING, LockedModel
from ...locks.model_rows import COMMIT, place_of
from ...models.weights_table import Weights, all_weights

SAID = "Commit, hash and size: this package's weights"
"""What the source of a model says besides."""


@cache
def _rows() -> dict[tuple[str, str], Weights]:
    return {(row.repo, row.file): row for row in all_weights() if row.sha256 and row.revision}


def with_table_facts(model: LockedModel) -> LockedModel:
    """Return a model with what the row of the same file in the same repository says, unless it names another commit or hash."""
    if not model.url:
        return model
    repo, revision, file = place_of(model.url)
    row = _rows().get((repo, file))
    asked = model.revision or (revision if COMMIT.fullmatch(revision or "") else None)
    if row is None or row.sha256 is None or asked not in (None, row.revision) or model.sha256 not in (PENDING, row.sha256):
        return model
    known = replace(
        model,
        revision=row.revision,
        sha256=row.sha256,
        bytes=row.bytes if model.bytes is None else model.bytes,
        licence=model.licence or row.licence,
        gated=row.gated if model.gated is None else model.gated,
    )
    return model if known == model else replace(known, source=f"{model.source.rstrip('. ')}. {SAID}".lstrip(". "))
