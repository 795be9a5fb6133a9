"""Offer locked graphs as methods by their names: ``client.graphs.portrait(prompt=…)``. Knows no single one."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

from ..errors import BackendError, InvalidInputError, NotDeployedError
from ..locks.graph_lock import NAME
from ..results import Generation
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import LOCK_SUFFIX, graph_names, named_class, workflow_class
from .methods import WorkflowRunner, method

R = TypeVar("R")


class Graphs(Generic[R]):
    """The locked graphs that are known by name, each as a method whose parameters are its fields."""

    def __init__(self, runner: WorkflowRunner[R], find: Callable[[str], Callable[..., R]]) -> None:
        self._runner = runner
        self._find = find

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *graph_names()]

    def __getattr__(self, name: str) -> Callable[..., R]:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in graph_names():
            return method_for(self._runner, workflow_class(name))
        return self._find(name)

    def __getitem__(self, name: str) -> Callable[..., R]:
        """Return a graph by its name or by the path of its lock, which need not be deployed: ``client.graphs["portrait.lock"]``.

        Raises:
            InvalidInputError: there is none of that name, or the file is no lock.
            StorageFailedError: the file cannot be read.

        """
        return method_for(self._runner, workflow_class(name)) if name.endswith(LOCK_SUFFIX) else getattr(self, name)


def method_for(runner: WorkflowRunner[R], workflow: type[Workflow]) -> Callable[..., R]:
    """Return a workflow as a method of a client."""
    bound: Callable[..., R] = method(workflow).__get__(runner, type(runner))
    return bound


async def find_workflow(name: str, settings: Settings, *, at_modal: bool = False) -> type[Workflow]:
    """Return a workflow by its name; a name that nothing here knows may be that of a graph which is deployed on Modal.

    Args:
        name: the name, which is never a path where others wrote it.
        settings: which Modal environment.
        at_modal: whether Modal is asked although it is not among the backends: a job that ran there has the name.

    Raises:
        InvalidInputError: there is no such workflow, nor such an app.
        HashMismatchError, StorageFailedError: its lock cannot be used.

    """
    try:
        return named_class(name) if at_modal else workflow_class(name)
    except InvalidInputError as unknown:
        key = name.replace("_", "-").lower()
        if not (at_modal or "modal" in settings.backend_names):
            raise _named_by_file(unknown, key) from None
        if not NAME.fullmatch(key) or key.replace("-", "_") in graph_names():
            raise
        from ..remote.graph_fetch import fetch_lock  # Modal's client, which known names do not need

        try:
            await fetch_lock(key, settings)
        except NotDeployedError:
            raise unknown from None
        except BackendError as error:  # a name with a mistake in it is more likely than a graph that is deployed
            hint = f"{unknown.hint} Graphs that are deployed on Modal were not looked through: {error.message}"
            raise InvalidInputError(unknown.message, hint) from error
    return workflow_class(key)


def _named_by_file(unknown: InvalidInputError, key: str) -> InvalidInputError:
    """Say of an unknown name how its lock is named, where one lies in the current folder; it is not opened."""
    file = f"{key}{LOCK_SUFFIX}"
    if not NAME.fullmatch(key) or not os.path.isfile(file):  # noqa: PTH113 - Path's own test raises for odd names
        return unknown
    hint = f"Before its deploy a lock is named by its file: client.graphs[{file!r}](…), or ryla-gen run {file}"
    return InvalidInputError(unknown.message, hint)


def find_later(runner: WorkflowRunner[Awaitable[Generation]], settings: Settings) -> Callable[[str], Callable[..., Any]]:
    """Return how an async client finds a graph that is not known here: when it is called."""

    def find(name: str) -> Callable[..., Any]:
        async def call(**fields: Any) -> Generation:
            return await runner.run((await find_workflow(name, settings))(**fields))

        return call

    return find
