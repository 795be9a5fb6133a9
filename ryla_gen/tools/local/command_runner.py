"""Run external commands one after the other: check each, remember it, show output on failure. Knows no ComfyUI and no table."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...comfy.messages import clean
from ...errors import ServerUnhealthyError, StorageFailedError
from ...support.state_files import read_state, write_state

TAIL_LINES = 30
"""Lines of a failed command that its error carries."""
SHOWN_LINES = 8
"""Of them so many are shown."""
REASON = re.compile(r"\s*(?:ERROR|error|fatal|E)(?:\[\w+\])?: |\s*(?:×|╰─▶|Caused by:) |[^\s:]+:\d+(?::\d+)?: (?:fatal )?error: ")
"""How pip, uv, git, apt and compilers begin the line that says what is wrong. The programs that called them add tracebacks."""
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One command."""

    title: str
    """What it is for, in a few words; also the name under which it is remembered."""
    command: tuple[str, ...]
    """Program and arguments; no shell reads them."""
    folder: Path | None = None
    """Where it runs."""
    expects: str | None = None
    """What it must print, and nothing else; None takes anything."""
    produces: Path | None = None
    """What must be there afterwards; with it the step is remembered, and not done again while that stays."""
    clears: Path | None = None
    """What an interrupted try may have left, taken away before."""
    rename: tuple[Path, Path] | None = None
    """Put in place when it succeeded: from, to."""

    @property
    def mark(self) -> str:
        """Tells this command from an older one of the same title."""
        return hashlib.sha256("\0".join(self.command).encode()).hexdigest()[:16]


class CommandRunner:
    """Runs steps.

    Args:
        state: folder in which done steps are remembered.
        log: file that takes everything the commands write.
        environment: what they see.

    """

    def __init__(self, state: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._done = state / "steps.json"
        self._log = log
        self._reasons: list[str] = []
        """Lines of the command that runs which say why it fails; a traceback that follows pushes them out of its last lines."""
        self._environment = dict(environment)

    def pending(self, steps: Sequence[Step]) -> list[Step]:
        """Return the steps that still have to be done, in order."""
        done = self._read_remembered()
        return [step for step in steps if not (step.produces and step.produces.exists() and done.get(step.title) == step.mark)]

    def run(self, step: Step, told: Told | None = None) -> None:
        """Run one step to its end.

        Args:
            step: what to run.
            told: takes each line it writes.

        Raises:
            ServerUnhealthyError: it failed, or did not do what it should; ``details`` has its last lines.
            StorageFailedError: a file could not be written.

        """
        try:
            self._prepare(step)
            code, lines = self._execute(step, told)
            self._judge(step, code, lines)
            if step.rename is not None:
                step.rename[0].replace(step.rename[1])
            self._remember(step)
        except OSError as error:
            where = error.filename or self._log
            raise StorageFailedError(f"{step.title}: {where} could not be used: {error.strerror or error}.") from None

    def _prepare(self, step: Step) -> None:
        self._done.parent.mkdir(parents=True, exist_ok=True)
        if step.clears is not None and step.clears.exists():
            shutil.rmtree(step.clears)

    def _execute(self, step: Step, told: Told | None) -> tuple[int, list[str]]:
        lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._reasons.clear()
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(step.command)}\n")
            log.flush()
            process = subprocess.Popen(  # noqa: S603 - the recipe's own commands
                step.command,
                cwd=step.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that stopping it reaches what it started
            )
            assert process.stdout is not None, "it is a pipe"
            try:
                for line in process.stdout:
                    log.write(line)
                    if line.strip():
                        lines.append(clean(line.rstrip(), 500))
                        if REASON.match(line) and len(self._reasons) < SHOWN_LINES:
                            self._reasons.append(lines[-1])
                        if told is not None:
                            told(lines[-1])
                return process.wait(), list(lines)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                process.stdout.close()

    def _judge(self, step: Step, code: int, lines: list[str]) -> None:
        said = "\n".join(lines)
        if code != 0:
            why = f"exit code {code}" if code > 0 else f"signal {-code}"
        elif step.expects is not None and said.strip() != step.expects:
            why = f"expected {step.expects}, found {said.strip() or 'nothing'}"
        elif step.produces is not None and not step.produces.exists():
            why = f"{step.produces} is not there afterwards"
        else:
            return
        details = {"step": step.title, "command": list(step.command), "exit_code": code, "output": said}
        shown = "\n".join(f"    {line}" for line in self._reasons or lines[-SHOWN_LINES:])
        message = f"{step.title} failed ({why}).\n    $ {shlex.join(step.command)}\n{shown}".rstrip()
        raise ServerUnhealthyError(
            message,
            f"Fix that and run the same command again; finished steps are kept. The whole output is in {self._log}",
            details,
        )

    def _read_remembered(self) -> dict[str, str]:
        found = read_state(self._done)
        return found if isinstance(found, dict) else {}

    def _remember(self, step: Step) -> None:
        if step.produces is not None:
            write_state(self._done, self._read_remembered() | {step.title: step.mark})
