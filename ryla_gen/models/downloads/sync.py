"""Sync weights into a folder: find what is missing, check the room, download in parallel, report file by file.

Knows no workflow and no volume: rows come in, a report goes out.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ModelNotFoundError, RylaGenError, StorageFailedError
from ...support.numbers import format_bytes
from ..weights_table import UNPUBLISHED, Weights
from .base import FileReport, FileStatus, Outcome, Report, SyncProgress, distinct, mismatch, row_details
from .checksums import ChecksumRecord, Records
from .progress import Board
from .retry import CancelToken, patiently, sha256_of
from .sources import GITHUB, Sources, with_details
from .transfer import Arrived, TransferPlan, adopt, fetch
from .verify import examine, look, now
from .web import Web

WORKERS = 4
"""Files at once: the hub gives one connection some 50-200 MB/s, and four fill a cloud machine's network."""
TRIES = 5
"""Passing faults in a row, with waits of 0.5, 1, 2 and 4 s between them: outlives a restarted router, not a cut cable."""
MARGIN = 1 << 20
"""Bytes that stay free beside the files, for records, locks and directory entries."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """A file that needs no download, or cannot have one."""

    outcome: Outcome
    error: RylaGenError | None = None


class _Sync:
    """One sync: what its threads share."""

    def __init__(self, models: Path, sources: Sources, cache: Path | None, tries: int, board: Board) -> None:
        self.models, self.sources, self.cache, self.tries, self.board = models, sources, cache, tries, board
        self.records, self.stop = Records(models), CancelToken()

    def look(self, row: Weights) -> FileStatus:
        return look(row, self.models, self.records.all().get(row.label))

    def prepare(self, row: Weights) -> TransferPlan | _Settled:
        """Find out whether the file has to come, and then from where; never raises for the fault of one file."""
        try:
            found = self.look(row)
            if row.repo == UNPUBLISHED:
                return self._settle_unpublished(row, found)
            if found.state == "unverified" and found.sha256 is not None:
                found = self._examine(row)
                if found.state == "present":
                    return self._settle(row, "verified", found.bytes)
            if found.state == "present":
                return self._settle(row, "already", found.bytes)
            return self._plan(row, found)
        except RylaGenError as error:
            return self._fail(row, error)
        except OSError as error:
            return self._fail(row, StorageFailedError(f"{row.label} cannot be read: {error}"))

    def _settle_unpublished(self, row: Weights, found: FileStatus) -> _Settled:
        """Hash a file that no download brings, each time: whoever put it there may have put another one there since."""
        if found.state in ("present", "unverified", "wrong_hash"):
            found = self._examine(row)
        if found.state == "present":
            return self._settle(row, "verified", found.bytes)
        told = f"There is another file at {found.path}." if found.path.is_file() else "It is not there."
        text = f"{row.label} is published nowhere, and has to be put there by hand. {told}"
        hint = f"Put the file with the sha256 {row.sha256} at {found.path}"
        raise ModelNotFoundError(text, hint, row_details(row, None) | {"sha256": row.sha256})

    def _examine(self, row: Weights) -> FileStatus:
        self.board.stage(row.label, "checking")
        found = examine(row, self.models, self.records, lambda size: self.board.add_bytes(row.label, size), self.stop)
        self.board.stage(row.label, "waiting", bytes=0)
        return found

    def _plan(self, row: Weights, found: FileStatus) -> TransferPlan | _Settled:
        record = self.records.all().get(row.label)
        known = record.revision if record and record.holds(row) else None
        origin = patiently(lambda: self.sources.probe(row, known), lambda: 0, self.tries, self.stop)
        size = found.expected_bytes if found.expected_bytes is not None else origin.size
        plan = TransferPlan(row, origin, found.path, found.sha256 or origin.sha256, size)
        _same_as_told(plan)
        if found.state == "unverified" and (plan.sha256 is not None or record is None) and self._takes(plan):
            return self._settle(row, "verified", found.bytes)
        self.board.stage(row.label, "waiting", bytes=0, total=plan.size)
        return plan

    def _takes(self, plan: TransferPlan) -> bool:
        """Whether the file on disk is the expected one (by sha256; by size when no hash is published)."""
        self.board.stage(plan.row.label, "checking", total=plan.size)
        actual = sha256_of(plan.path, lambda size: self.board.add_bytes(plan.row.label, size), self.stop)
        size = plan.path.stat().st_size
        if size != plan.size or (plan.sha256 or actual) != actual:
            return False
        known = self.records.all().get(plan.row.label)
        self._record(plan, Arrived(size, actual, 0, False), placed=known.placed if known and known.sha256 == actual else False)
        return True

    def bring(self, plan: TransferPlan) -> FileReport:
        """Download one file; never raises for its fault."""
        row, began = plan.row, time.monotonic()
        try:
            with self.records.lock(row.label, self.stop):
                # Looked at again under the lock: several syncs share the work.
                found = self.look(row)
                if found.state == "present":  # another process did it first
                    self._settle(row, "already", found.bytes)
                    return FileReport(row, plan.path, "already", 0, time.monotonic() - began)
                arrived, outcome = self._arrive(plan)
                self._record(plan, arrived, placed=True)
            self._settle(row, outcome, arrived.bytes)
            return FileReport(row, plan.path, outcome, arrived.downloaded, time.monotonic() - began)
        except RylaGenError as error:
            return FileReport(row, plan.path, "failed", 0, time.monotonic() - began, self._fail(row, error).error)
        except OSError as error:
            failure = self._fail(row, StorageFailedError(f"{row.label} could not be stored: {error}"))
            return FileReport(row, plan.path, "failed", 0, time.monotonic() - began, failure.error)

    def _arrive(self, plan: TransferPlan) -> tuple[Arrived, Outcome]:
        name = plan.row.label
        if self.cache is not None:
            self.board.stage(name, "checking")
            if taken := adopt(plan, self.cache, lambda size: self.board.add_bytes(name, size), self.stop):
                return taken, "copied"
        self.board.stage(name, "downloading", bytes=0)
        arrived = fetch(plan, self.sources, lambda size, came: self.board.add_bytes(name, size, flow=came), self.tries, self.stop)
        return arrived, "resumed" if arrived.resumed else "downloaded"

    def _record(self, plan: TransferPlan, arrived: Arrived, *, placed: bool | None) -> None:
        row, origin = plan.row, plan.origin
        # The record says who vouched for the hash: the table, the hub, or only the first download.
        source = "table" if row.sha256 else "hub" if origin.sha256 else "first"
        size, sha256 = arrived.bytes, arrived.sha256
        record = ChecksumRecord(row.repo, origin.commit, row.file, size, sha256, source, now(), placed=placed)
        self.records.put(row, record, self.stop)

    def _settle(self, row: Weights, outcome: Outcome, size: int) -> _Settled:
        self.board.stage(row.label, "done", bytes=size, total=size)
        return _Settled(outcome)

    def _fail(self, row: Weights, error: RylaGenError) -> _Settled:
        self.board.stage(row.label, "failed")
        # Reports travel; frames and requests (with the token) stay here.
        error.__cause__ = error.__context__ = error.__traceback__ = None
        return _Settled("failed", with_details(error, row))


def _same_as_told(plan: TransferPlan) -> None:
    """Refuse a file before its first byte when its publisher already names another hash or size than the table."""
    for kind, expected, actual in (("bytes", plan.size, plan.origin.size), ("sha256", plan.sha256, plan.origin.sha256)):
        if expected is not None and actual is not None and expected != actual:
            message = f"{plan.row.repo} has another {plan.row.label} now: {kind} {actual} instead of {expected}."
            hint = f"Nothing was downloaded. Compare {plan.row.repo} with weights.json; correct the row if the change is intended."
            told = {"expected": expected, "actual": actual, "revision": plan.origin.commit}
            raise mismatch(plan.row, message, hint, told)


def _room(plans: Iterable[TransferPlan]) -> None:
    """Raise StorageFailedError when the files do not fit on their disks."""
    needs: dict[int, int] = defaultdict(int)
    places: dict[int, Path] = {}
    for plan in plans:
        place = next(folder for folder in plan.path.parents if folder.exists())
        device = place.stat().st_dev
        # What an earlier sync left needs no room again.
        begun = plan.part.stat().st_size if plan.part.exists() else 0
        needs[device] += max((plan.size or 0) - begun, 0)
        places[device] = place
    for device, need in needs.items():
        disk = shutil.disk_usage(places[device])
        if disk.total and need + MARGIN > disk.free:  # some network volumes report 0 for all sizes
            message = f"{places[device]} has {format_bytes(disk.free)} free, and the downloads need {format_bytes(need)} more."
            hint = "Free some space, choose another folder, or sync fewer workflows. Nothing was downloaded."
            raise StorageFailedError(message, hint, {"needed": need, "free": disk.free, "folder": str(places[device])})


def sync(
    rows: Iterable[Weights],
    models: Path,
    *,
    token: str | None = None,
    workers: int = WORKERS,
    progress: Callable[[SyncProgress], None] | None = None,
    cache: Path | None = None,
    commit: Callable[[], None] | None = None,
    tries: int = TRIES,
    endpoint: str | None = None,
    github: str = GITHUB,
    web: Web | None = None,
) -> Report:
    """Download every file that is missing, incomplete or wrong into a models folder, verified by size and sha256.

    A file is continued where an earlier sync stopped, even one that was killed; under its own name it appears whole or not at all.
    A hash or a commit that the row leaves open is fixed at the first download: recorded, in the report, and held to afterwards.
    Files in place cost no request. Two syncs at once share the work. What fails is in the report and does not stop the others.

    Args:
        rows: The files; repetitions are dropped.
        models: ComfyUI's models folder; made when it is not there.
        token: Hugging Face token for gated files; sent to the hub only, and none is looked up elsewhere.
        workers: Files at once.
        progress: Called from this thread, at most ten times a second.
        cache: A hub cache (``HF_HOME/hub``) to take files from before downloading them; never written to.
        commit: Called from this thread after files were put in place (on Modal: the volume's commit).
        tries: Passing faults in a row, without a byte in between, before a file is given up.
        endpoint: Address of the hub; by default HF_ENDPOINT, else huggingface.co.
        github: Address of GitHub, for rows whose ``repo`` is ``github:owner/name``.
        web: For rows whose ``repo`` is an https address: the token for Civitai, and whether private networks are asked.

    Raises:
        StorageFailedError: before the first byte, when the files do not fit on the disk, or the recorded hashes cannot be read.

    """
    began, wanted = time.monotonic(), distinct(rows)
    board = Board(progress)
    run = _Sync(models, Sources(token, endpoint, github, web), cache, tries, board)
    recorded = run.records.all()  # unreadable hashes are a fault of the whole folder, not of one file
    for row in wanted:
        board.add(row.label, row.bytes or (recorded[row.label].bytes if row.label in recorded else None))
    _make(models)
    committed = _committer(run.records, commit)
    with ThreadPoolExecutor(max(workers, 1), "ryla-sync") as pool:
        prepared = [pool.submit(run.prepare, row) for row in wanted]
        board.watch(prepared, run.stop, committed)
        plans = {row.label: future.result() for row, future in zip(wanted, prepared, strict=True)}
        _room(plan for plan in plans.values() if isinstance(plan, TransferPlan))
        coming = {name: pool.submit(run.bring, plan) for name, plan in plans.items() if isinstance(plan, TransferPlan)}
        board.watch(coming.values(), run.stop, committed)
    board.show(last=True)
    records = run.records.all()
    files = (
        _with_fixed(coming[name].result() if name in coming else _report_unmoved(row, models, plans[name]), records.get(name))
        for row in wanted
        for name in (row.label,)
    )
    return Report(tuple(files), time.monotonic() - began)


def _with_fixed(report: FileReport, record: ChecksumRecord | None) -> FileReport:
    """Add what the record fixes of that which the row leaves open."""
    if record is None or report.error is not None or not record.holds(report.row):
        return report
    known = {"hash": record.sha256, "commit": record.revision}
    return replace(report, fixed={what: value for what in report.row.pending if (value := known[what])})


def _report_unmoved(row: Weights, models: Path, plan: TransferPlan | _Settled) -> FileReport:
    """Report on a file that needed no download, or could not have one; one with an impossible name stays without a place."""
    assert isinstance(plan, _Settled)
    return FileReport(row, models / row.label, plan.outcome, error=plan.error)


def _make(models: Path) -> None:
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailedError(f"The folder {models} cannot be made: {error.strerror or error}.") from error


def _committer(records: Records, commit: Callable[[], None] | None) -> Callable[[], None] | None:
    """Call ``commit`` only when something was put in place or recorded since the last time."""
    if commit is None:
        return None
    committed = 0

    def finished() -> None:
        nonlocal committed
        if records.written > committed:
            committed = records.written
            commit()

    return finished
