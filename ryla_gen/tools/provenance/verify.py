"""Read what a file says of its origin: the mark in its XMP, its signed C2PA manifest, our own note. Uses no network.

What a file says is a claim. Only a manifest's signature can be checked: by whom it was made, and that the file is as it was then.
"""

from __future__ import annotations

import io
import json
import ssl
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ... import media
from ...errors import BackendNotConfiguredError, InvalidInputError, StorageFailedError
from ...media.provenance import read_mark
from ...results.notes import METADATA_KEY
from ...results.signing import OFFLINE, c2pa_library

Seal = Literal["trusted", "valid", "invalid", "unread"]
"""Of a manifest: its signer is on the list that was given; it is whole, and nobody here vouches for its signer; it does not fit the
file, or is broken; it could not be read."""
EXPECTED = "signingCredential.untrusted"
"""What every reader says of a signer that is on none of its lists: no fault of the file."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The active C2PA manifest of a file."""

    seal: Seal
    problems: tuple[str, ...] = ()
    """What is wrong, in C2PA's codes, or why it was not read."""
    issuer: str | None = None
    """The organisation that the certificate names."""
    signer: str | None = None
    """The certificate's common name."""
    algorithm: str | None = None
    signed_at: str | None = None
    """By a time-stamping authority; None where none was asked."""
    generator: str | None = None
    """The program that wrote the claim."""
    actions: tuple[dict[str, Any], ...] = ()
    """What was done: action, digital source type, program, description."""
    note: dict[str, Any] | None = None
    """Workflow, models and seed, where this package wrote it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file says of its origin."""

    file: str
    media_type: str | None
    source_type: str | None = None
    """Digital source type in its XMP."""
    tool: str | None = None
    """Program in its XMP."""
    note: dict[str, Any] | None = None
    """What this package noted in it: workflow, seed, version."""
    manifest: Manifest | None = None
    unread: str | None = None
    """Why manifests were not looked for."""

    @property
    def found(self) -> bool:
        """Whether it says anything of its origin."""
        return bool(self.source_type or self.note or self.manifest)

    @property
    def fine(self) -> bool:
        """Whether it says something, and no signature in it is broken."""
        return self.found and (self.manifest is None or self.manifest.seal in ("trusted", "valid"))

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "fine": self.fine}


def verify(path: str | PathLike[str], *, trust: bytes | None = None) -> Origin:
    """Read what a file says of its origin.

    Args:
        path: of any file.
        trust: PEM of the certificate authorities whose signers are trusted; None is none, so that no signer is.

    Raises:
        StorageFailedError: the file cannot be read.
        InvalidInputError: ``trust`` contains no certificate.

    """
    if trust is not None:
        _require_certificates(trust)
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise StorageFailedError(f"Cannot read {path}: {error.strerror or error}.", "Give the path of an existing file.") from None
    kind = media.sniff_media_type(data)
    source_type, tool = read_mark(data, kind or "")
    manifest, unread = None, None
    try:
        manifest = read_manifest(data, kind, trust)
    except BackendNotConfiguredError as error:
        unread = f"{error.message} {error.hint}"
    return Origin(str(path), kind, source_type, tool, _note(data), manifest, unread)


def _require_certificates(trust: bytes) -> None:
    """Refuse what is no list of certificates: it would make a whole signature look unread, or vouch for nobody."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=trust.decode("ascii", "ignore"))
    except (ValueError, ssl.SSLError):
        text = "The list of trusted authorities contains no certificate, or a damaged one."
        raise InvalidInputError(text, "Give certificates in PEM, such as the signer's authority.pem.") from None


def _note(data: bytes) -> dict[str, Any] | None:
    try:
        note = json.loads(media.read_metadata(data).get(METADATA_KEY, ""))
    except (ValueError, RecursionError):
        return None
    return {key: note[key] for key in ("workflow", "seed", "sdk", "job") if key in note} if isinstance(note, dict) else None


def read_manifest(data: bytes, media_type: str | None, trust: bytes | None = None) -> Manifest | None:
    """Read and check the manifest of a file; None where it has none.

    Raises:
        BackendNotConfiguredError: the extra is not installed.

    """
    c2pa = c2pa_library()
    settings: dict[str, Any] = {**OFFLINE}
    if trust:
        settings["trust"] = {**OFFLINE["trust"], "trust_anchors": trust.decode("utf-8", "replace")}
    try:
        if media_type not in c2pa.Reader.get_supported_mime_types():
            return None
        reader = c2pa.Reader.try_create(media_type, io.BytesIO(data), context=c2pa.Context.from_dict(settings))
        if reader is None:
            return None
        with reader:
            return _manifest(reader.get_active_manifest() or {}, reader.get_validation_state(), reader.get_validation_results())
    except (c2pa.C2paError, KeyError, ValueError) as error:  # the last two: its wrapper, on a damaged manifest
        return Manifest("unread", (str(error)[:300],))


def _manifest(active: dict[str, Any], state: str | None, results: dict[str, Any] | None) -> Manifest:
    failures = ((results or {}).get("activeManifest") or {}).get("failure") or ()
    problems = tuple(code for entry in failures if (code := str(entry.get("code"))) != EXPECTED)
    seals: dict[str | None, Seal] = {"Trusted": "trusted", "Valid": "valid"}
    signature = active.get("signature_info") or {}
    made: dict[str, Any] = next(iter(active.get("claim_generator_info") or ()), {})
    assertions = {str(item.get("label")): item.get("data") for item in active.get("assertions") or ()}
    actions = next((data for label, data in assertions.items() if label.startswith("c2pa.actions")), None) or {}
    return Manifest(
        seals.get(state, "invalid"),
        problems,
        signature.get("issuer"),
        signature.get("common_name"),
        signature.get("alg"),
        signature.get("time"),
        " ".join(str(made[key]) for key in ("name", "version") if made.get(key)) or active.get("claim_generator"),
        tuple(_action(item) for item in actions.get("actions") or ()),
        next((data for label, data in assertions.items() if label.startswith("ryla_gen.")), None),
    )


def _action(item: dict[str, Any]) -> dict[str, Any]:
    agent = item.get("softwareAgent")
    program = " ".join(str(agent[key]) for key in ("name", "version") if agent.get(key)) if isinstance(agent, dict) else agent
    found = {"action": item.get("action"), "source_type": item.get("digitalSourceType"), "program": program}
    return {**found, "description": item.get("description")}
