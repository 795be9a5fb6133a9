"""Hold the templates of a written workflow package. ``@@WORD@@`` is filled in; texts only, no logic."""

CLASS = '''"""The workflow @@DASHED@@, made of a ComfyUI graph. Its fields are set where PLACES says; graph.json holds the rest."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

@@FIELD@@from ryla_gen import Workflow
from ryla_gen.graphs.graph import Graph
from ryla_gen.workflows.base import @@BASES@@
@@MEDIA@@
PLACES: dict[str, tuple[tuple[str, str], ...]] = @@PLACES@@
"""Field -> the nodes and inputs it sets."""
@@OUTPUTS@@
"""Inputs that name the files to be saved."""


class @@CLASS@@(Workflow):
    """The graph @@DASHED@@ of ComfyUI."""

    name: ClassVar[str] = "@@MODULE@@"
    family: ClassVar[str] = "custom"
@@FIELDS@@

    def build(self, files: Files = Files.preview()) -> Graph:  # noqa: B008 - frozen
        """Return the graph with this request's values in it."""
        api: dict[str, Any] = json.loads(_text())
        media = self.media_fields()
        for field, places in PLACES.items():
            value = files.of(field) if field in media else getattr(self, field)
            for node, name in places:
                if value is not None:
                    api[node]["inputs"][name] = value
        for node, name in OUTPUTS:
            api[node]["inputs"][name] = files.prefix
        return Graph.from_api(api)


@cache
def _text() -> str:
    return Path(__file__).with_name("graph.json").read_text(encoding="utf-8")
'''

LOCKED = '''"""The workflow @@DASHED@@, made of the lock of a ComfyUI graph. Its fields stand here; @@LOCK@@ holds the rest."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar@@LITERAL@@

@@FIELD@@from ryla_gen.locks.graph_lock import GraphLock
from ryla_gen.locks.lock_reading import read_graph_lock
@@SEED@@@@MEDIA@@from ryla_gen.workflows.locked import LockedWorkflow


class @@CLASS@@(LockedWorkflow):
    """The graph @@DASHED@@ of ComfyUI."""

    name: ClassVar[str] = "@@MODULE@@"
    lock: ClassVar[GraphLock] = read_graph_lock(Path(__file__).with_name("@@LOCK@@"))
@@FIELDS@@
'''

TEST = '''"""What @@DASHED@@ promises: its fields reach the graph, and this package offers it."""

from __future__ import annotations

from ryla_gen.workflows.registry import workflow_class

from @@MODULE@@ import @@CLASS@@


def sample() -> @@CLASS@@:
    """Return a request with other values than the defaults."""
    return @@CLASS@@(@@GIVEN@@)


def test_every_field_reaches_the_graph() -> None:
    graph = sample().build().to_api()
@@CHECKS@@

def test_it_survives_the_way_to_a_server() -> None:
    request = sample()
    assert @@CLASS@@.from_plain(request.to_plain()) == request


def test_this_package_offers_it() -> None:
    assert workflow_class("@@MODULE@@") is @@CLASS@@
'''

PYPROJECT = """[build-system]
requires = ["flit_core>=3.9,<4"]
build-backend = "flit_core.buildapi"

[project]
name = "@@DASHED@@"
version = "0.1.0"
description = "The workflow @@DASHED@@ for ryla-gen."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["ryla-gen>=@@VERSION@@"]

[project.entry-points."ryla_gen.workflows"]
@@MODULE@@ = "@@MODULE@@:@@CLASS@@"

[tool.flit.module]
name = "@@MODULE@@"

[tool.ruff]
line-length = 132
"""

README = """# @@DASHED@@

A workflow for ryla-gen, made of a ComfyUI graph. Install it into the environment that has ryla-gen:

```bash
pip install -e .
@@RUN@@
```

```python
from ryla_gen import Client
from @@MODULE@@ import @@CLASS@@

with Client() as client:
    client.run(@@CLASS@@(...)).save()
```

`@@MODULE@@/__init__.py` holds the fields, @@GRAPH@@, `tests/` the test.
"""
