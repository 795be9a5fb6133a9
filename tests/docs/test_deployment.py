"""The list of what only an account can prove holds whole commands, in an order in which they work."""

from __future__ import annotations

import re
import shlex

from docs_tools.__main__ import DOCS
from docs_tools.markdown import blocks
from ryla_gen.workflows.registry import prepared_names

from .running import misfit

PAGE = (DOCS / "deployment.md").read_text(encoding="utf-8")
TABLE, _, EVERY = PAGE.partition("| unproven here |")[2].partition("\n\n")
COMMANDS = [shlex.split(text)[1:] for text in re.findall(r"`(ryla-gen [^`]+)`", TABLE)]
EACH = [shlex.split(line)[1:] for block in blocks(EVERY, "deployment.md") for line in block.text.splitlines()]


def test_every_command_is_whole() -> None:
    assert [words for words in (*COMMANDS, *EACH) if "…" in " ".join(words) or misfit(words)] == []
    for row in TABLE.strip().splitlines()[2:]:
        assert re.search(r"`ryla-gen |\bthe same\b", row.split("|")[2]), row


def test_every_workflow_is_tried_after_its_weights_were_brought() -> None:
    brought: set[str] = set()
    tried: set[str] = set()
    for words in EACH:
        if words[:2] == ["weights", "sync"]:
            brought.add(words[2])
        if words[0] == "run":
            assert words[1] in brought, words
            tried.add(words[1].replace("-", "_"))
    assert tried == set(prepared_names())
