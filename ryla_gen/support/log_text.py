"""Make what strangers' code writes to a log fit to be shown: whole lines, without colours, secrets masked. Must not read a log.

A secret is known by its form (the tokens of Hugging Face, Modal, GitHub and others), by what stands before it (``Authorization:``,
``HF_TOKEN=``, ``?token=``, ``user:password@``), or because it is the value of a secret variable of this process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

MASK = "[secret]"
"""What stands in a secret's place."""
LONGEST_LINE = 4000
"""Characters of a line that are kept: node packs print whole tensors."""
LONGEST_REST = 1_000_000
"""Characters without a line's end after which one is made."""
SHORTEST_VALUE = 8
"""Characters of a variable's value from which it is looked for: a shorter one stands in every second line by chance."""

SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN(?:_ID|_SECRET)?|SECRET|PASSWORD|PASSWD|(?:API|ACCESS|SECRET|PRIVATE|POSTHOG)_?KEY)$", re.IGNORECASE
)
"""Names of variables whose value is a secret."""
_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Control sequences of terminals: colours stand between the letters of a secret as anywhere else."""
_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|(?:ak|as|wk|ws)-(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{20,}"  # Modal: id and secret of a token, and of one for web addresses
    r"|rpa_[A-Za-z0-9]{16,}"  # RunPod
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|sk-[\w-]{20,}|r8_[A-Za-z0-9]{20,}|AIza[\w-]{30,}|AKIA[A-Z0-9]{16}|xox[abprs]-[\w-]{10,}|ph[cx]_[A-Za-z0-9]{20,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web tokens
    r")"
)
"""Tokens that are known by their first letters."""
_VALUE = r"[^\s'\"`,;&<>)\]}]"
_NAMED = (
    re.compile(rf"(authorization['\"]?\s*[:=]\s*['\"]?)(?:(?:bearer|basic|token|digest)\s+)?{_VALUE}+", re.IGNORECASE),
    re.compile(rf"(\b(?:bearer|basic)\s+){_VALUE}{{8,}}", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]{1,15}://)[^\s/?#@'\"]+@", re.IGNORECASE),
    re.compile(
        rf"([?&;](?:[\w-]*token|[\w-]*key|api_?key|secret|password|sig|signature|x-amz-[\w-]+|policy)=){_VALUE}+", re.IGNORECASE
    ),
    re.compile(rf"(\b\w*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY)['\"]?\s*[=:]\s*['\"]?){_VALUE}{{4,}}"),
    re.compile(
        rf"(\b(?:[\w-]*[_-])?(?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key)['\"]?\s*[=:]\s*['\"]?){_VALUE}{{8,}}",
        re.IGNORECASE,
    ),
)
"""What stands before a secret, and the secret."""
_ENDS = {2: "@"}
"""Index in that list → what follows the secret and is taken with it."""


def secret_values(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the values of the secret variables of an environment, the longest first; None is this process's."""
    env = os.environ if env is None else env
    found = {value.strip() for name, value in env.items() if SECRET_NAME.search(name) and len(value.strip()) >= SHORTEST_VALUE}
    return tuple(sorted(found, key=len, reverse=True))


def mask_secrets(text: str, values: Iterable[str] = ()) -> str:
    """Return a text with its secrets masked.

    Args:
        text: whole lines: half a token is no token.
        values: secrets of no known form, as :func:`secret_values` finds them.

    """
    for value in values:
        text = text.replace(value, MASK)
    for index, pattern in enumerate(_NAMED):
        text = pattern.sub(rf"\g<1>{MASK}{_ENDS.get(index, '')}", text)
    return _FORMS.sub(MASK, text)


class LogText:
    """Turns the pieces of one log into lines that may be shown."""

    def __init__(self) -> None:
        self._rest = ""
        self._values = secret_values()

    def add(self, piece: str) -> list[str]:
        """Return the lines that a piece ends."""
        *lines, self._rest = (self._rest + piece).replace("\r\n", "\n").split("\n")
        if len(self._rest) > LONGEST_REST:
            lines, self._rest = [*lines, self._rest], ""
        return [shown for line in lines if (shown := self._shown(line)) is not None]

    def end(self) -> list[str]:
        """Return the last line, which has no end."""
        return self.add("\n") if self._rest else []

    def _shown(self, line: str) -> str | None:
        """Return a line as it may be shown: of a progress bar, what it says last; None for an empty line."""
        plain = _CODES.sub("", line).rstrip()
        masked = mask_secrets(plain.rsplit("\r", 1)[-1], self._values)
        if not masked.strip():
            return None
        return masked if len(masked) <= LONGEST_LINE else f"{masked[:LONGEST_LINE]}…"
