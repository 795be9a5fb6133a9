"""Configure the Modal class of a locked graph like that of the family which makes the same. Must not know a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..contract import method_of
from ..locks.graph_lock import GraphLock
from ..names import CLASS_OF_FAMILY, GRAPH_CLASS, GRAPH_FAMILY
from ..settings import FamilySettings, Settings
from ..workflows.base import Workflow
from .config import FAMILIES, FamilyConfig, configured, deployed_family, told_inside


def usual_config(lock: GraphLock) -> FamilyConfig:
    """Return a lock's class as it is deployed when nothing says otherwise.

    There is no snapshot where nodes of others run that were never tried without a GPU.
    """
    pictures = all(item.kind == "image" for item in lock.outputs)
    like = FAMILIES["flux" if pictures else "video"]
    snapshot = "off" if lock.image.packs else like.snapshot
    return replace(like, family=GRAPH_FAMILY, gpu=(lock.gpu.name,), preload=lock.python_name, snapshot=snapshot)


def deployed_graph(lock: GraphLock, settings: Settings) -> FamilyConfig:
    """Return a lock's class as this deploy registers it.

    Raises:
        InvalidInputError: a setting does not fit.
    """
    return configured(usual_config(lock), settings.modal_graphs.get(lock.name, FamilySettings()), settings)


def graph_inside(lock: GraphLock, env: Mapping[str, str] | None = None) -> FamilyConfig:
    """Return a lock's class as the container that asks was deployed with."""
    return told_inside(usual_config(lock), env)


def config_for(workflow: Workflow | type[Workflow], settings: Settings) -> FamilyConfig:
    """Return the class that serves a workflow, as the settings say that it is deployed.

    Raises:
        InvalidInputError: a setting does not fit.
    """
    if workflow.lock is not None:
        return deployed_graph(workflow.lock, settings)
    return deployed_family(method_of(workflow)[0], settings)


def class_for(workflow: Workflow, settings: Settings) -> tuple[str, str, str]:
    """Return the app, the class and the method that serve a workflow."""
    family, method = method_of(workflow)
    if workflow.lock is not None:
        return workflow.lock.app, GRAPH_CLASS, method
    return settings.modal_app, CLASS_OF_FAMILY[family], method
