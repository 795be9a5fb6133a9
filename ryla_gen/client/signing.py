"""Sign results where they arrive, as the settings say. A result that cannot be signed is returned as it is, with a warning."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from ..errors import BackendNotConfiguredError, InternalError, RylaGenError
from ..results import Generation, Output
from ..results.signing import Claim, Signer, claim_of, read_signer
from ..settings import Settings
from ..workflows.base import Notice

UNSIGNED = "unsigned"
"""Code of the warning."""
SIGNED_KINDS = ("image", "video", "audio")


def signing_files(settings: Settings) -> tuple[Path, Path]:
    """Return the files of the certificate and of its key: those of the settings, else those that ``provenance init`` makes."""
    home = settings.home / "provenance"
    return settings.provenance_certificate or home / "certificate.pem", settings.provenance_key or home / "key.pem"


class Signatures:
    """Signs what a client receives.

    Args:
        settings: whether to, and with which certificate.

    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._signer: Signer | None = None

    async def sign(self, generation: Generation) -> Generation:
        """Return a result with its files signed; with a warning for each that is not."""
        if not self._settings.provenance_sign:
            return generation
        return await asyncio.to_thread(self._signed, generation)

    def _signed(self, generation: Generation) -> Generation:
        try:
            signer = self._read()
            claim = claim_of(generation, include_prompt=self._settings.provenance_include_prompt)
        except Exception as error:  # whatever it is, the result has been paid for
            return _with_notices(generation, [_notice("The files", error)])
        notices: list[Notice] = []
        outputs = tuple(_signed_output(item, signer, claim, notices) for item in generation.outputs)
        return _with_notices(replace(generation, outputs=outputs), notices)

    def _read(self) -> Signer:
        if self._signer is None:
            self._signer = read_signer(*signing_files(self._settings), self._settings.provenance_timestamp_url)
        return self._signer


def _signed_output(item: Output, signer: Signer, claim: Claim, notices: list[Notice]) -> Output:
    if item.kind not in SIGNED_KINDS:
        return item
    try:
        if not item.data:
            raise BackendNotConfiguredError("it was stored where it was made, and is not here.")
        if not signer.signs(item.media_type):
            raise BackendNotConfiguredError(f"C2PA has no place for a manifest in {item.media_type}.")
        return replace(item, data=signer.sign(item, claim))
    except Exception as error:  # as above
        notices.append(_notice(item.name, error))
        return item


def _notice(what: str, error: Exception) -> Notice:
    typed = error if isinstance(error, RylaGenError) else InternalError(f"{type(error).__name__}.")
    hint = f" {typed.hint}" if typed.hint else ""
    return Notice(UNSIGNED, f"{what} could not be signed: {typed.message}{hint}")


def _with_notices(generation: Generation, notices: list[Notice]) -> Generation:
    return replace(generation, warnings=generation.warnings + tuple(notices)) if notices else generation
