"""Show the bar of a running job below its cell, with the picture as it grows. Listens to events; starts and stops nothing.

It is one display that is replaced, not a widget: that works in every front end without an extension, is saved with the
notebook as words, and leaves no dead widget behind.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from html import escape
from uuid import uuid4

from ..events import Event, Finished, Preview, Progress, Queued, Started, State
from .base import publish, shell

PAUSE = 0.1
"""Seconds between two drawings: the eye sees no more, and each carries a preview of a few kB."""
WIDEST = 384
"""Pixels at which a preview is shown at most, so that a bar and its picture fit beside other cells."""
STYLE = "max-width:32em;font-family:system-ui,sans-serif;font-size:13px"
TROUGH = "height:6px;margin:4px 0 8px;border-radius:3px;overflow:hidden;background:rgba(128,128,128,.3)"
FILLED = "height:100%;background:#2f7fb0"
"""Colours that are seen on light and dark ground; a browser's own bar is white on dark pages."""

Show = Callable[[dict[str, str], bool], None]
"""Shows a bundle; True replaces the one before."""


def live(workflow: object, *, on: bool) -> Live | None:
    """Return a bar for one run; None outside a Jupyter kernel, or when it is switched off."""
    if not on or shell() is None:
        return None
    place = f"ryla-gen-{uuid4()}"
    width = getattr(workflow, "width", None)
    return Live(
        str(getattr(workflow, "name", "")),
        lambda bundle, again: publish(bundle, place=place, again=again),
        width=width if isinstance(width, int) else None,
    )


class Live:
    """A bar: call it with every event of one job.

    Args:
        name: the workflow's.
        show: how it is shown.
        width: pixels of the finished picture, when known: a preview is shown as large.

    """

    def __init__(self, name: str, show: Show, *, width: int | None = None) -> None:
        self._name = name
        self._show = show
        self._width = min(width or WIDEST, WIDEST)
        self._began = time.monotonic()
        self._drawn: float | None = None
        self._words = "waits"
        self._fraction: float | None = None
        self._picture = ""
        self._ended = False

    def __call__(self, event: Event) -> None:
        """Handle one event, and draw when there is something new to see."""
        at_once = True
        match event:
            case Queued():
                self._words = f"queued, {event.position} ahead of it" if event.position else "queued"
            case Started():
                self._words = f"started, after {event.cold_start:.0f} s for the server" if event.cold_start >= 1 else "started"
                self._fraction = self._fraction or 0.0
            case Progress():
                self._fraction, at_once = event.fraction, False
                self._words = f"{event.node} {event.step}/{event.steps}" if event.steps > 1 else event.node
            case Preview():
                at_once = not self._picture
                self._picture = f"data:{event.media_type};base64,{b64encode(event.data).decode()}"
            case Finished():
                self.end(event.state)
                return
        self._draw(at_once=at_once)

    def end(self, state: State) -> None:
        """Leave one line in place of the bar; only the first call counts."""
        if self._ended:
            return
        self._ended = True
        seconds = f"{time.monotonic() - self._began:.1f} s"
        where = f" at {self._fraction:.0%}, {self._words}" if self._fraction else ""
        line = f"{self._name} · done in {seconds}" if state == "succeeded" else f"{self._name} · {state} after {seconds}{where}"
        self._put(line, f'<small style="opacity:.7">{escape(line)}</small>')

    def _draw(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if self._ended or (not at_once and self._drawn is not None and now - self._drawn < PAUSE):
            return
        self._drawn = now
        known = self._fraction is not None
        line = f"{self._name} · {self._words}" + (f" · {self._fraction:.0%}" if known else "")
        percent = f"{self._fraction or 0.0:.0%}"
        image = f'<img alt="preview" style="display:block;width:{self._width}px;max-width:100%" src="{self._picture}">'
        self._put(
            line,
            f'<div style="{STYLE}">{escape(line)}<div role="progressbar" aria-valuetext="{percent}" style="{TROUGH}">'
            f'<div style="width:{percent};{FILLED}"></div></div>{image if self._picture else ""}</div>',
        )

    def _put(self, line: str, html: str) -> None:
        again, self._shown = self._shown, True
        self._show({"text/plain": line, "text/html": html}, again)

    _shown = False
