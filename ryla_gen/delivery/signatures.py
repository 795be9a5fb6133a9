"""Sign events as Standard Webhooks 1.0 says (https://www.standardwebhooks.com). Must not send anything, or show a secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from ..errors import InvalidInputError
from ..settings.base import SECRETS

VARIABLE = SECRETS["webhook.secret"]
"""Variable of the environment that holds the secret; several are separated by spaces, while one takes the place of another."""
PREFIX = "whsec_"
SHORTEST, LONGEST, USUAL = 24, 64, 32
"""Bytes that a secret may have, by the specification, and those of a new one."""
HOW = f"Make one with `ryla-gen webhook secret`, and put it into {VARIABLE} here and at the receiver."


def new_secret() -> str:
    """Make a fresh secret."""
    return PREFIX + base64.b64encode(os.urandom(USUAL)).decode()


def read_secrets(text: str | None) -> tuple[bytes, ...]:
    """Read the secrets of a variable, the first one first.

    Raises:
        InvalidInputError: there is none, or one of them is not written as the specification says.

    """
    words = (text or "").split()
    if not words:
        raise InvalidInputError("A webhook is signed, and there is no secret to sign it with.", HOW)
    return tuple(_read_secret(word, place) for place, word in enumerate(words, 1))


def _read_secret(word: str, place: int) -> bytes:
    coded = word.removeprefix(PREFIX)
    try:
        # Some senders leave out the padding; the specification's own libraries read that too.
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:
        key = b""
    if not word.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        wanted = f"{PREFIX} and the base64 of {SHORTEST} to {LONGEST} bytes"
        raise InvalidInputError(f"Secret {place} of {VARIABLE} cannot be used: it must be {wanted}.", HOW)
    return key


def sign(secrets: tuple[bytes, ...], message: str, seconds: int, body: bytes) -> dict[str, str]:
    """Return the headers of one try.

    Args:
        secrets: each of them signs, so that a receiver may hold any one.
        message: the event's id.
        seconds: Unix time of this try.
        body: the request's body, byte for byte.

    """
    signed = f"{message}.{seconds}.".encode() + body
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in secrets]
    signatures = " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {"webhook-id": message, "webhook-timestamp": str(seconds), "webhook-signature": signatures}
