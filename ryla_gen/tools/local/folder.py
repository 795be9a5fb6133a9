"""Locate a ComfyUI of this machine: one folder with everything in it. Starts nothing and downloads nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import InvalidInputError
from ...remote.container_paths import COMMAND, Places
from ...settings import home_folder
from ...support.shell_words import path_word

COMMAND_VARIABLE = "RYLA_COMFYUI_COMMAND"
"""Starts something else in ComfyUI's place, with ``{python}``, ``{port}``, ``{work}`` and ``{models}`` filled in."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One installation."""

    root: Path
    """Absolute; everything of the installation lies below it."""

    @property
    def comfyui(self) -> Path:
        """ComfyUI's own repository."""
        return self.root / "ComfyUI"

    @property
    def environment(self) -> Path:
        """Its own Python environment: the packs need versions that this package cannot share."""
        return self.root / "venv"

    @property
    def python(self) -> Path:
        """The interpreter of that environment."""
        return self.environment / "bin" / "python"

    @property
    def models(self) -> Path:
        """The weights: the same layout as Modal's volume."""
        return self.places({}).models

    @property
    def state(self) -> Path:
        """What this package keeps about it."""
        return self.root / ".ryla"

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self.root / "comfyui.log"

    @property
    def install_log(self) -> Path:
        """What the commands of the installation wrote."""
        return self.root / "install.log"

    @property
    def option(self) -> str:
        """What a command has to be told to work on this one: `` --folder DIR``, or nothing for the usual place."""
        try:
            usual = (home_folder() / "local").absolute()
        except InvalidInputError:  # a machine without a home folder has no usual place
            usual = None
        return "" if self.root == usual else f" --folder {path_word(self.root)}"

    def places(self, env: Mapping[str, str] | None = None, *, cpu: bool = False) -> Places:
        """Return the folders and the command of the server, as on Modal.

        Args:
            env: the environment, for ``RYLA_COMFYUI_COMMAND``; None is this process's.
            cpu: whether ComfyUI is told that there is no GPU.

        """
        env = os.environ if env is None else env
        own = env.get(COMMAND_VARIABLE)
        command = own or COMMAND + (" --cpu" if cpu else "")
        return Places(self.root, self.comfyui, self.root / "work", command.replace("{python}", shlex.quote(str(self.python))))

    def head(self, repository: Path) -> str | None:
        """Return the commit that a repository of this installation is at; None when there is no repository."""
        if not (repository / ".git").exists():
            return None
        command = ["git", "-C", str(repository), "rev-parse", "--verify", "-q", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
        return done.stdout.strip() or None
