"""Run a command with what a node pack asks for: its requirements.txt, or else the dependencies of its pyproject.toml.

A script for the Python of an installation: ``pack_list.py FOLDER COMMAND...``. Runs nothing where a pack asks for nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path


def asked_by(pack: Path) -> list[str]:
    """Return what names a pack's requirements to pip; nothing for a pack that has none."""
    if (pack / "requirements.txt").is_file():
        return ["-r", str(pack / "requirements.txt")]
    try:
        project = tomllib.loads((pack / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return []
    listed = project.get("dependencies") if isinstance(project, dict) else None
    found = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
    return ["--", *found] if found else []


if __name__ == "__main__":
    asked = asked_by(Path(sys.argv[1]))
    sys.exit(subprocess.run([*sys.argv[2:], *asked], check=False).returncode if asked else 0)  # noqa: S603 - the caller's command
