"""Walk a person through steps: say what each one takes and costs, ask, run it, go on with the next. Knows no step and no backend.

What is done is never remembered here: each step looks at the real state, so a second walk goes on where the first one stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import typer

from ryla_gen.errors import RylaGenError

from ...screen import Screen, width, wrap

State = Literal["done", "already", "skipped", "failed"]
Answer = Literal["yes", "skip", "stop"]

ANSWERS: dict[str, Answer] = {"yes": "yes", "y": "yes", "skip": "skip", "stop": "stop"}


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a step will do, as it is said before it runs."""

    text: str
    takes: str
    """How long, as the end of a sentence."""
    costs: str
    """How much, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step."""

    step: str
    state: State
    message: str
    error: RylaGenError | None = None

    @property
    def stands(self) -> bool:
        """Whether what the step is for is there."""
        return self.state in ("done", "already")

    def to_data(self) -> dict[str, Any]:
        """Return the result as plain data."""
        error = self.error.to_data() if self.error is not None else None
        return {"step": self.step, "state": self.state, "message": self.message, "error": error}


@dataclass(frozen=True, slots=True)
class Consent:
    """What the person agreed to on the command line, and whether they can be asked."""

    yes: bool
    asking: bool
    skip: frozenset[str] = frozenset()
    """Names of steps that shall not run."""


class GuideStep(ABC):
    """One step; its methods raise ``RylaGenError``."""

    name: ClassVar[str]
    needed_to_find: ClassVar[tuple[str, ...]] = ()
    """Steps without which nothing can be looked up."""
    needed_to_run: ClassVar[tuple[str, ...]] = ()
    """Steps without which this one cannot run."""

    @abstractmethod
    def find(self) -> str | None:
        """Say in a sentence what is there already; None where something is left to do."""

    @abstractmethod
    def plan(self) -> StepPlan:
        """Say what running it means."""

    @abstractmethod
    def run(self) -> str:
        """Do it, and say in a sentence what is there now."""


def walk(screen: Screen, steps: Sequence[GuideStep], consent: Consent) -> list[StepResult]:
    """Take each step that is not done yet and that the person agrees to; a step that fails does not end the walk."""
    found: dict[str, StepResult] = {}
    stopped = False
    for number, step in enumerate(steps, start=1):
        title = f"Step {number} of {len(steps)}, {step.name}"
        if stopped:
            result = StepResult(step.name, "skipped", "You stopped before it.")
        else:
            result, stopped = _take(screen, step, title, found, consent)
            screen.working = False  # not in a finally: an interrupt has to know that it ended work
            screen.say(wrap(_line(title, result, found), width(), ""))
        found[step.name] = result
    return list(found.values())


def _take(
    screen: Screen, step: GuideStep, title: str, found: Mapping[str, StepResult], consent: Consent
) -> tuple[StepResult, bool]:
    """Return what became of a step, and whether the person wants no more of them."""
    try:
        lacking = _lacking(step.needed_to_find, found)
        if not lacking and (there := step.find()) is not None:
            return StepResult(step.name, "already", there), False
        if step.name in consent.skip:
            return StepResult(step.name, "skipped", "You left it out."), False
        if lacking := lacking or _lacking(step.needed_to_run, found):
            return StepResult(step.name, "skipped", lacking), False
        _show(screen, title, step.plan())
        answer = _ask(consent)
        if answer == "yes":
            screen.working = True
            return StepResult(step.name, "done", step.run()), False
        message = "You left it out." if consent.asking else "It was not confirmed. To run it, add --yes."
        return StepResult(step.name, "skipped", message), answer == "stop"
    except RylaGenError as error:
        return StepResult(step.name, "failed", error.message, error), False


def _lacking(names: Sequence[str], found: Mapping[str, StepResult]) -> str:
    """Name the first step that this one needs and that is not done; empty where there is none."""
    return next((f"It needs the step {name} first." for name in names if not found[name].stands), "")


def _show(screen: Screen, title: str, plan: StepPlan) -> None:
    screen.note(title)
    for text in (plan.text, f"Takes {plan.takes}", f"Costs {plan.costs}"):
        screen.note(wrap(text, width()))


def _ask(consent: Consent) -> Answer:
    if consent.yes:
        return "yes"
    if not consent.asking:
        return "skip"

    def read(text: str) -> Answer:
        answer = ANSWERS.get(text.strip().lower())
        if answer is None:
            raise typer.BadParameter("Answer yes, skip or stop.")
        return answer

    found: Answer = typer.prompt("  Run this step? [yes/skip/stop]", value_proc=read, err=True)
    return found


def _line(title: str, result: StepResult, found: Mapping[str, StepResult]) -> str:
    """Write the result of a step. The first failure is the command's own error, which says more at the end."""
    if result.state == "failed" and all(item.state != "failed" for item in found.values()):
        return f"{title}: failed."
    words = {"done": "done", "already": "already done", "skipped": "skipped", "failed": "failed"}
    return f"{title}: {words[result.state]}. {result.message}"
