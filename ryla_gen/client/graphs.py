"""Offer locked graphs as methods by their names: ``client.graphs.portrait(prompt=…)``. Knows no single one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

from ..errors import BackendError, InvalidInputError, NotDeployedError
from ..locks.graph_lock import NAME
from ..results import Generation
from ..settings import Settings
from ..workflows.base import Workflow
from ..workflows.registry import graph_names, workflow_class
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


def method_for(runner: WorkflowRunner[R], workflow: type[Workflow]) -> Callable[..., R]:
    """Return a workflow as a method of a client."""
    bound: Callable[..., R] = method(workflow).__get__(runner, type(runner))
    return bound


async def find_workflow(name: str, settings: Settings) -> type[Workflow]:
    """Return a workflow by its name; a name that nothing here knows may be that of a graph which is deployed on Modal.

    Raises:
        InvalidInputError: there is no such workflow, nor such an app.
        HashMismatchError, StorageFailedError: its lock cannot be used.

    """
    try:
        return workflow_class(name)
    except InvalidInputError as unknown:
        key = name.replace("_", "-").lower()
        if "modal" not in settings.backend_names or not NAME.fullmatch(key) or key.replace("-", "_") in graph_names():
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


def find_later(runner: WorkflowRunner[Awaitable[Generation]], settings: Settings) -> Callable[[str], Callable[..., Any]]:
    """Return how an async client finds a graph that is not known here: when it is called."""

    def find(name: str) -> Callable[..., Any]:
        async def call(**fields: Any) -> Generation:
            return await runner.run((await find_workflow(name, settings))(**fields))

        return call

    return find
