"""The list of what only an account can prove holds whole commands, in an order in which they work."""

from __future__ import annotations

import re
import shlex

from docs_tools.__main__ import DOCS
from ryla_gen.workflows.registry import BUILT_IN

from .running import misfit

TABLE = (DOCS / "deployment.md").read_text(encoding="utf-8").partition("| unproven here |")[2]
COMMANDS = [shlex.split(text)[1:] for text in re.findall(r"`(ryla-gen [^`]+)`", TABLE)]


def test_every_command_is_whole() -> None:
    assert [words for words in COMMANDS if "…" in " ".join(words) or misfit(words)] == []
    for row in TABLE.strip().splitlines()[2:]:
        assert re.search(r"`ryla-gen |\bthe same\b", row.split("|")[2]), row


def test_every_workflow_is_tried_after_its_weights_were_brought() -> None:
    brought: set[str] = set()
    tried: set[str] = set()
    for words in COMMANDS:
        if words[:2] == ["weights", "sync"]:
            brought.add(words[2])
        if words[0] == "run":
            needed = "flux-dev" if words[1] == "flux-lora" else words[1]  # one checkpoint serves both
            assert needed in brought, words
            tried.add(words[1].replace("-", "_"))
    assert tried == set(BUILT_IN) - {"workflow"}
