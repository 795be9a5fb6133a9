"""A model for the tests: it calls bright what may not be shown."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import ryla_classifier


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mean of all pixels, in the place of a classifier that has learnt something."""
    takes = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 224, 224])
    gives = helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])
    node = helper.make_node("ReduceMean", ["pixels"], ["score"], axes=[1, 2, 3], keepdims=0)
    graph = helper.make_graph([node], "brightness", [takes], [gives])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    monkeypatch.setattr(ryla_classifier, "MODEL", path)
    ryla_classifier._session.cache_clear()
    return path
