"""Say in two sentences why requirements contradict each other: who asks for what, and uv's own reason. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..errors import InvalidInputError
from .base import canonical

LONGEST = 400
"""Characters of uv's reason; ``details["uv"]`` has all of it."""
MOST = 2
"""Packages that are named."""
_LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<rest>[^;]*)")


def explain_contradiction(words: str, lists: Mapping[str, str], until: str = "") -> InvalidInputError:
    """Return the error for requirements without a solution.

    Args:
        words: what uv said.
        lists: by the name of who asks, one requirement a line.
        until: packages that were uploaded later did not count.

    """
    reason = _shortened(words)
    named = [item for item in _asked_by_several(lists) if re.search(rf"(?<![\w.-]){re.escape(item[0])}(?![\w-])", words)]
    told = "; ".join(_sentence(package, asked) for package, asked in named[:MOST])
    text = (
        f"The requirements contradict each other: {told}. uv says: {reason}"
        if told
        else f"The requirements contradict each other: {reason}"
    )
    several = "Leave one of the packs out, or take another commit of it: --pack CLASS=OWNER/REPOSITORY@COMMIT"
    hint = several if len(lists) > 1 else "Change one of the versions that it names."
    if "exclude-newer" in words:  # uv's own hint, where the versions that are asked for are there and too new
        text = f"{text.rstrip('.')}. Packages uploaded after {until[:10]} do not count."
        hint = f"Let those of today count: --update python. Or: {hint[0].lower()}{hint[1:]}"
    return InvalidInputError(text, hint, {"uv": words})


def _asked_by_several(lists: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield packages that several ask for in different versions: those that one of them pins come first."""
    found: dict[str, dict[str, str]] = {}
    for owner, text in lists.items():
        for match in filter(None, map(_LINE.match, text.splitlines())):
            found.setdefault(canonical(match["name"]), {})[owner] = re.sub(r"\s", "", match["rest"])
    several = {name: asked for name, asked in found.items() if len(set(asked.values())) > 1}
    yield from sorted(several.items(), key=lambda item: not any("==" in rest for rest in item[1].values()))


def _sentence(package: str, asked: Mapping[str, str]) -> str:
    return " and ".join(f"{owner} asks for {package}{rest or ' in any version'}" for owner, rest in asked.items())


def _shortened(words: str) -> str:
    """Return uv's reason in one line, from its end where it is long: there it names what was asked for."""
    text = re.sub(r"[×╰─▶│]|hint:.*", " ", words, flags=re.DOTALL if "hint:" in words else 0)
    line = re.sub(r"\s+", " ", re.sub(r"^.*?(?=Because|there (is|are|was) no)", "", text, flags=re.DOTALL | re.IGNORECASE)).strip()
    return line if len(line) <= LONGEST else f"… {line[-LONGEST:].partition(' ')[2]}"
