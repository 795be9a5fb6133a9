"""What a lock knows of a model without asking anybody: what this package's own weights say of the same file."""

from __future__ import annotations

from dataclasses import replace

from ryla_gen.locks.graph_lock import PENDING, LockedModel
from ryla_gen.locks.model_rows import hub_address
from ryla_gen.models.weights_table import all_weights
from ryla_gen.tools.locking.table_facts import SAID, with_table_facts

ROW = next(row for row in all_weights() if row.sha256 and row.revision and row.licence and "://" not in row.repo)
NAMED = LockedModel(
    file="mine.safetensors", folder=ROW.folder, url=hub_address(ROW.repo, "main", ROW.file), revision=None, sha256=PENDING,
    bytes=None, licence=None, gated=None, source="the drawing",
)  # fmt: skip


def test_the_same_file_of_the_same_repository_is_known() -> None:
    found = with_table_facts(NAMED)
    assert (found.revision, found.sha256, found.bytes) == (ROW.revision, ROW.sha256, ROW.bytes)
    assert (found.licence, found.gated) == (ROW.licence, ROW.gated)
    assert found.source == f"the drawing. {SAID}"
    assert with_table_facts(found) == found, "and locking again changes nothing"


def test_another_commit_another_hash_another_file_and_no_address_are_left_alone() -> None:
    for other in (
        replace(NAMED, url=hub_address(ROW.repo, "0" * 40, ROW.file)),
        replace(NAMED, revision="0" * 40),
        replace(NAMED, sha256="0" * 64),
        replace(NAMED, url=hub_address(ROW.repo, "main", f"other/{ROW.file}")),
        replace(NAMED, url=f"https://example.com/{ROW.file}"),
        replace(NAMED, url=""),
    ):
        assert with_table_facts(other) == other


def test_what_the_graph_says_stands() -> None:
    said = replace(NAMED, licence="mine", gated=True, bytes=7)
    found = with_table_facts(said)
    assert (found.licence, found.gated, found.bytes) == ("mine", True, 7)
