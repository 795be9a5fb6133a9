"""Writes what happens to the logger ``ryla_gen.events``: a line for people, and the fields for programs. Formats nothing more."""

from __future__ import annotations

import logging

from .base import LOGGER, Failed, Happening, OfJob

log = logging.getLogger(LOGGER)


def write(happening: Happening) -> None:
    """Log it; ``record.ryla_gen`` holds the fields."""
    data = happening.to_data()
    words = [happening.type]
    if isinstance(happening, OfJob):
        words += [happening.workflow, happening.job]
    if isinstance(happening, Failed):
        data |= {"error_type": happening.fault.error_type, "error_message": happening.fault.message}
        words += [f"{happening.code}: {happening.fault.message}"]
    words += [f"{data['seconds']:.3f} s"] if "seconds" in data else []
    log.info(" ".join(words), extra={"ryla_gen": data})
