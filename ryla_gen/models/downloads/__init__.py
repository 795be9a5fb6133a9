"""Download weights into a folder: parallel, resumed, verified; on Modal and elsewhere. Must not know a workflow."""

from __future__ import annotations

from .base import FileProgress, FileReport, FileStatus, Outcome, Report, Stage, State, SyncProgress
from .sync import sync
from .verify import status, verify
from .web import Web

__all__ = [
    "FileProgress",
    "FileReport",
    "FileStatus",
    "Outcome",
    "Report",
    "Stage",
    "State",
    "SyncProgress",
    "Web",
    "status",
    "sync",
    "verify",
]
