"""Define the client's typed methods, one line per workflow, without writing a field twice. Knows no backend.

The lines between ``begin generated`` and ``end generated`` come from the registry: ``python -m docs_tools``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from ..errors import InvalidInputError
from ..support.shell_words import command_word

# begin generated: imports
from ..workflows.base import Workflow
from ..workflows.custom import CustomWorkflow
from ..workflows.faces import FluxInstantID, FluxPulid, InstantID
from ..workflows.flux import Flux, FluxDev, FluxLora
from ..workflows.flux2 import Flux2Klein
from ..workflows.flux_edits import FluxFill, FluxKontext
from ..workflows.qwen import QwenImage, QwenImageEdit
from ..workflows.sdxl import SDXL
from ..workflows.seedvr2 import SeedVR2
from ..workflows.wan2 import Wan2
from ..workflows.wan22 import Wan22
from ..workflows.z_image import ZImage

# end generated: imports

P = ParamSpec("P")
R = TypeVar("R")


class WorkflowRunner(Generic[R]):
    """Something that runs a workflow and returns an ``R``: a generation, or an awaitable of one."""

    def run(self, workflow: Workflow) -> R:
        """Run a workflow."""
        raise NotImplementedError


class method(Generic[P]):  # noqa: N801 - used like a decorator
    """A workflow class as a method: the class's own fields are its parameters."""

    def __init__(self, workflow: Callable[P, Workflow]) -> None:
        self._workflow = workflow
        self.__doc__ = workflow.__doc__

    @overload
    def __get__(self, runner: None, owner: type) -> method[P]: ...

    @overload
    def __get__(self, runner: WorkflowRunner[R], owner: type) -> Callable[P, R]: ...

    def __get__(self, runner: WorkflowRunner[R] | None, owner: type) -> method[P] | Callable[P, R]:
        if runner is None:
            return self
        name = getattr(self._workflow, "name", "")

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if args:  # type checkers refuse it; this is the message for callers without one
                text = f"{name} takes its fields by name, not {args[0]!r:.60}."
                raise InvalidInputError(
                    text, f'Write: {name}(prompt="a fox"). All fields: ryla-gen workflows show {command_word(self._workflow)}'
                )
            return runner.run(self._workflow(*args, **kwargs))

        described: Any = call
        described.__name__ = name
        described.__doc__ = self.__doc__
        described.__signature__ = _signature_of(self._workflow)  # notebooks complete from it
        return call


def _signature_of(workflow: Any) -> Any:
    """Return the signature of a workflow's class. It has none before its validation is built, which waits for the first use."""
    if hasattr(workflow, "model_rebuild"):
        workflow.model_rebuild()
    return getattr(workflow, "__signature__", None)


class Methods(WorkflowRunner[R]):
    """Every built-in workflow as a method; its parameters are the workflow's fields."""

    # begin generated: methods
    z_image = method(ZImage)
    qwen_image = method(QwenImage)
    qwen_image_edit = method(QwenImageEdit)
    flux = method(Flux)
    flux_dev = method(FluxDev)
    flux_lora = method(FluxLora)
    flux_kontext = method(FluxKontext)
    flux_fill = method(FluxFill)
    flux2_klein = method(Flux2Klein)
    sdxl = method(SDXL)
    instantid = method(InstantID)
    flux_instantid = method(FluxInstantID)
    flux_pulid = method(FluxPulid)
    wan22 = method(Wan22)
    wan2 = method(Wan2)
    seedvr2 = method(SeedVR2)
    workflow = method(CustomWorkflow)
    # end generated: methods
