"""Implement ``ryla-gen jobs logs``: print a log as it comes, under the name of who wrote it. Reads no log itself."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace

from ryla_gen.client import Client

from ...run_options import settings_for
from ...screen import Screen


def show(screen: Screen, name: str, url: str | None, environment: str | None, *, follow: bool) -> None:
    """Print a log, and say so where it is empty.

    Raises:
        RylaGenError: neither a job nor an app is known by that name, or its backend shows no log.

    """
    settings = settings_for(None, url)
    settings = replace(settings, modal_environment=environment) if environment else settings
    screen.resume = f"Follow it again: {shlex.join(['ryla-gen', 'jobs', 'logs', name, '--follow'])}" if follow else ""
    count, source = 0, ""
    with Client(settings=settings) as client:
        for line in client.jobs.logs(name, follow=follow):
            if line.source != source:
                source = line.source
                screen.note(f"── {source}")
            screen.entry({"type": "log", **asdict(line)}, line.text)
            count += 1
    screen.result({"name": name, "lines": count})
    if not count:
        screen.note(f"The log of {name} is empty: nothing was written, or nothing is kept any longer.")
