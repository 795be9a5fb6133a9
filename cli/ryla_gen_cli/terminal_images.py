"""Show a small copy of a picture in a terminal that can: in the way of kitty, iTerm2 or sixel. Shows nothing anywhere else.

A terminal's variables say what it can. Only one that may know sixel is asked, and only where an answer cannot be late and no key
was pressed: whatever is not the answer goes back to the keyboard's queue.

Why no library: textual-image (0.12) asks every terminal while it is imported, may swallow keys that are typed meanwhile, and does
not know iTerm2's way; term-image (0.7) takes 0.2 s to import and does not know sixel.
"""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import sys
import time
from base64 import standard_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .screen import Screen

if TYPE_CHECKING:
    from PIL import Image

Preview = Annotated[bool, typer.Option("--preview/--no-preview", help="Show pictures if the terminal can.")]

MOST = 4
"""Pictures shown of one job."""
PIXELS = 480
"""Longest side of the small copy: about a third of a screen's height."""
COLUMNS = 40
"""Widest, in columns, where the terminal scales."""
CHUNK = 4096
"""Bytes of base64 that kitty's protocol takes at once (https://sw.kovidgoyal.net/kitty/graphics-protocol)."""
COLOURS = 256
"""Colour registers that sixel terminals have at least since the VT340's successors; xterm's own default."""
ANSWER_SECONDS = 0.25
"""How long a terminal on this machine may take to say what it is; they take a few milliseconds."""
ANSWER = re.compile(rb"\x1b\[\?[0-9;]*c")
"""What a terminal answers to DA1; a 4 among its numbers is sixel (DEC VT382 manual)."""
ASK = b"\x1b[c"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
NO_SIXEL = ("Apple_Terminal", "vscode", "Hyper", "WarpTerminal")
"""Programs that are known to ignore sixel; VTE's terminals say so by a variable of their own."""


def show_images(screen: Screen, paths: Sequence[Path | str], *, wanted: bool = True) -> None:
    """Show pictures where the terminal can; anything else is silence.

    Args:
        screen: where to.
        paths: files that were saved; videos and files that are gone are left out.
        wanted: whether the command line agrees.

    """
    files = [path for path in map(Path, paths) if path.suffix.lower() in SUFFIXES and path.is_file()][:MOST]
    if not (wanted and files) or screen.json or screen.quiet or not sys.stdout.isatty() or not sys.stderr.isatty():
        return
    from ryla_gen.settings import Settings

    way = Settings.load().preview
    way = told_by(os.environ) if way == "auto" else way
    if way == "ask":
        way = "sixel" if _says_sixel() else "off"
    for path in files if way in WAYS else ():
        with suppress(OSError, ValueError):  # cannot be shown; the file was saved, and that counts
            screen.paint(WAYS[way](_small(path)))


def told_by(env: Mapping[str, str]) -> str:
    """Return what a terminal's variables promise: kitty, iterm2, sixel, ``ask`` where it may support sixel, or off."""
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if (
        env.get("CI")
        or env.get("NO_COLOR")
        or term in ("", "dumb", "linux")
        or env.get("TMUX")
        or term.startswith(("screen", "tmux"))
    ):
        return "off"  # a terminal multiplexer redraws the screen and loses pictures
    if env.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or env.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    if term.startswith(("foot", "mlterm", "contour")):
        return "sixel"
    if program in NO_SIXEL or env.get("VTE_VERSION") or env.get("SSH_CONNECTION") or os.name == "nt":
        return "off"  # over a network the answer might come when the shell reads the keys again
    return "ask"


def _small(path: Path) -> Image.Image:
    from PIL import Image

    with Image.open(path) as found:
        found.thumbnail((PIXELS, PIXELS))
        return found.convert("RGB")


def _png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def _wide() -> int:
    return max(4, min(COLUMNS, shutil.get_terminal_size().columns - 2))


def kitty(image: Image.Image) -> str:
    """Write a picture as kitty reads it: PNG in pieces; q=2 asks for no answer, which would be typed into the shell."""
    text = standard_b64encode(_png(image)).decode()
    parts = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    last = len(parts) - 1
    keys = [f"a=T,f=100,q=2,c={_wide()},m={int(last > 0)}", *(f"m={int(at < last)}" for at in range(1, len(parts)))]
    return "".join(f"\x1b_G{key};{part}\x1b\\" for key, part in zip(keys, parts, strict=True))


def iterm2(image: Image.Image) -> str:
    """Write a picture as iTerm2 and WezTerm read it (https://iterm2.com/documentation-images.html)."""
    data = _png(image)
    about = f"inline=1;size={len(data)};width={_wide()};preserveAspectRatio=1"
    return f"\x1b]1337;File={about}:{standard_b64encode(data).decode()}\x07"


def sixel(image: Image.Image) -> str:
    """Write a picture as sixels: bands of six rows, one pass per colour in it (DEC VT330/VT340 manual, chapter 14)."""
    import numpy

    few = image.quantize(COLOURS)
    pixels = numpy.asarray(few)
    palette = numpy.asarray(few.getpalette()).reshape(-1, 3)
    height, width = pixels.shape
    out = [f'\x1bPq"1;1;{width};{height}']
    out += [f"#{at};2;{red * 100 // 255};{green * 100 // 255};{blue * 100 // 255}" for at, (red, green, blue) in enumerate(palette)]
    for top in range(0, height, 6):
        band = pixels[top : top + 6]
        weights = 1 << numpy.arange(len(band))[:, None]
        passes = [f"#{colour}{_pack_sixels(((band == colour) * weights).sum(axis=0))}" for colour in numpy.unique(band)]
        out.append("$".join(passes) + "-")
    return "".join([*out, "\x1b\\"])


def _pack_sixels(columns: Any) -> str:
    """Encode the sixels of one colour; more than three alike are counted."""
    text = bytes((columns + 63).astype("uint8")).decode("ascii")
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", text)


WAYS = {"kitty": kitty, "iterm2": iterm2, "sixel": sixel}
"""Way → how a picture is written for it."""


def _says_sixel() -> bool:
    """Whether the terminal answers that it supports sixel; False where asking is not safe."""
    if not sys.stdin.isatty():
        return False
    try:
        with _keys_unread(sys.stdin.fileno()) as keyboard:
            if select.select([keyboard], [], [], 0)[0]:
                return False  # a key was pressed
            os.write(sys.stderr.fileno(), ASK)
            said = _read_answer(keyboard)
    except (OSError, ValueError, ImportError):
        return False
    found = ANSWER.search(said)
    return found is not None and b"4" in found[0][3:-1].split(b";")


@contextmanager
def _keys_unread(keyboard: int) -> Iterator[int]:
    """Read keys unbuffered and without echo while the block runs, and restore the terminal afterwards."""
    import termios
    import tty

    if os.tcgetpgrp(keyboard) != os.getpgrp():
        raise OSError  # in the background, where another program reads the keys
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard, termios.TCSANOW)  # not TCSAFLUSH, which throws away what was typed
    try:
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


def _read_answer(keyboard: int) -> bytes:
    """Read until the answer is complete; put all other input back."""
    said, end = b"", time.monotonic() + ANSWER_SECONDS
    while not ANSWER.search(said) and select.select([keyboard], [], [], max(0.0, end - time.monotonic()))[0]:
        said += os.read(keyboard, 1)
    _put_back(keyboard, ANSWER.sub(b"", said))
    return said


def _put_back(keyboard: int, typed: bytes) -> None:
    import fcntl
    import termios

    for at in range(len(typed)):
        with suppress(OSError):  # some systems forbid it
            fcntl.ioctl(keyboard, termios.TIOCSTI, typed[at : at + 1])
