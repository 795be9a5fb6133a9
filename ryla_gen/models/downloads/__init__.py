"""Weights into a folder: parallel, resumed, verified; on Modal and on people's machines alike. Knows no workflow and no volume."""

from __future__ import annotations

from .base import FileProgress, FileReport, FileStatus, Outcome, Progress, Report, Stage, State
from .sync import sync
from .verify import status, verify

__all__ = [
    "FileProgress",
    "FileReport",
    "FileStatus",
    "Outcome",
    "Progress",
    "Report",
    "Stage",
    "State",
    "status",
    "sync",
    "verify",
]
