"""Sign the files of a result with a C2PA manifest, by the extra ``provenance``. Reads keys; must not store, print or send one.

Works without a network: no manifest, no certificate status and, unless an address is given, no time stamp is fetched.
Source: C2PA Technical Specification 2.2, https://spec.c2pa.org.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import media
from ..errors import BackendNotConfiguredError, InvalidInputError, StorageFailedError
from ..events import now
from ..media.provenance import read_mark
from ..models.weights_table import weights_for
from ..version import __version__
from ..workflows.fields import held_media
from .provenance import mark_of, ran_emulated

if TYPE_CHECKING:
    from . import Generation, Output

EXTRA = "pip install 'ryla-gen[provenance]'"
NOTE = "ryla_gen.generation"
"""Label of the assertion that names workflow, models and seed."""
PURPOSES = tuple(
    f"1.3.6.1.{end}" for end in ("5.5.7.3.4", "5.5.7.3.36", "5.5.7.3.8", "5.5.7.3.9", "4.1.311.76.59.1.9", "4.1.62558.2.1")
)
"""What a certificate must be made for, in the order of c2pa's own list (``valid_eku_oids.cfg``): e-mail, documents, time stamps,
OCSP, Microsoft's and C2PA's own. With settings of one's own the library forgets all but three of them."""
OFFLINE: dict[str, dict[str, Any]] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    "builder": {"thumbnail": {"enabled": False}},
    "trust": {"trust_config": "\n".join(PURPOSES)},
}
"""c2pa's settings: nothing is fetched, and no small copy of a picture goes into a manifest."""
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""Curve of a key → C2PA's name of the algorithm (specification, section 13.2)."""


def c2pa_library() -> Any:
    """Return the module ``c2pa``.

    Raises:
        BackendNotConfiguredError: the extra is not installed.

    """
    try:
        import c2pa
    except ImportError:
        raise BackendNotConfiguredError("Signed manifests (C2PA) need c2pa-python.", EXTRA) from None
    return c2pa


@dataclass(frozen=True, slots=True)
class Claim:
    """What a manifest says of every file of one result."""

    source_type: str
    """Address of the term, for files that carry no mark of their own."""
    note: Mapping[str, Any]
    """Workflow, models, seed; the prompt only where it was asked for."""
    pictures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """What the workflow was given, by field."""


def claim_of(generation: Generation, *, include_prompt: bool) -> Claim:
    """Return what the manifests of a result say."""
    workflow = generation.workflow
    emulated = ran_emulated(generation)
    note: dict[str, Any] = {"workflow": workflow.name, "seed": str(generation.seed), "job": generation.job}
    if emulated:
        note["emulated"] = True
    else:
        note["models"] = [f"{row.repo}/{row.file}" for row in weights_for(generation.graph)]
    if include_prompt and isinstance(prompt := getattr(workflow, "prompt", None), str):
        note["prompt"] = prompt
    given = (item for name in workflow.media_fields() for item in held_media(name, getattr(workflow, name)))
    pictures = {place: data for place, data in given if isinstance(data, bytes) and data}
    return Claim(mark_of(generation.graph, emulated=emulated).source_type, note, pictures)


class Signer:
    """Signs files with one certificate.

    Args:
        certificate: PEM of the signing certificate and those above it, in this order.
        key: PEM of its private key, not encrypted.
        timestamp_url: address of a time-stamping authority, asked once a file; None is offline.

    Raises:
        BackendNotConfiguredError: the extra is not installed.
        InvalidInputError: certificate and key cannot be read, or do not belong together.

    """

    def __init__(self, certificate: bytes, key: bytes, timestamp_url: str | None = None) -> None:
        self._c2pa = c2pa_library()
        algorithm, plain = _private_key(certificate, key)
        address = timestamp_url.encode() if timestamp_url else None
        try:
            self._signer = self._c2pa.Signer.from_info(self._c2pa.C2paSignerInfo(algorithm, certificate, plain, address))
            self._context = self._c2pa.Context.from_dict(OFFLINE)
            self._types = frozenset(self._c2pa.Builder.get_supported_mime_types())
        except self._c2pa.C2paError as error:
            raise InvalidInputError(f"The certificate cannot sign: {error}.", CERTIFICATE_HINT) from None
        self._lock = threading.Lock()
        self._tried = False

    def signs(self, media_type: str) -> bool:
        """Whether files of this kind can hold a manifest."""
        return media_type in self._types

    def sign(self, item: Output, claim: Claim) -> bytes:
        """Return the file with a signed manifest; one that it had before is replaced.

        Raises:
            InvalidInputError: the file, or the certificate, is not accepted.

        """
        try:
            with self._lock:
                return self._sign(item, claim)
        except self._c2pa.C2paError as error:
            raise InvalidInputError(f"{item.name} could not be signed: {error}.", CERTIFICATE_HINT) from None

    def _sign(self, item: Output, claim: Claim) -> bytes:
        builder = self._c2pa.Builder(_manifest(item, claim), self._context)
        for place, data in claim.pictures.items():
            kind = media.sniff_media_type(data) or ""
            if self.signs(kind):
                builder.add_ingredient(_ingredient(place, data), kind, io.BytesIO(data))
        signed = io.BytesIO()
        builder.sign(self._signer, item.media_type, io.BytesIO(item.data), signed)
        if not self._tried:  # the library signs with a certificate that its own reader refuses: see that once
            self._try(item.media_type, signed.getvalue())
        return signed.getvalue()

    def _try(self, media_type: str, signed: bytes) -> None:
        reader = self._c2pa.Reader(media_type, io.BytesIO(signed), context=self._context)
        if reader.get_validation_state() == "Invalid":
            results = (reader.get_validation_results() or {}).get("activeManifest", {}).get("failure", [])
            codes = ", ".join(str(entry.get("code")) for entry in results)
            raise InvalidInputError(f"Signatures by this certificate are not valid ({codes}).", CERTIFICATE_HINT)
        self._tried = True


CERTIFICATE_HINT = "Use a certificate that C2PA accepts (docs/provenance.md), or make a local one: ryla-gen provenance init"


def read_signer(certificate: Path, key: Path, timestamp_url: str | None) -> Signer:
    """Make a signer from two files.

    Raises:
        StorageFailedError: one of them cannot be read.
        BackendNotConfiguredError, InvalidInputError: as for :class:`Signer`.

    """
    try:
        held = certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        text = f"Cannot read {error.filename}: {error.strerror}."
        raise StorageFailedError(text, "Make a certificate and its key: ryla-gen provenance init") from None
    return Signer(*held, timestamp_url)


def _private_key(certificate: bytes, key: bytes) -> tuple[str, bytes]:
    """Return the algorithm of a key, and the key in the form that c2pa reads (PKCS #8)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as pem

    try:
        private: Any = pem.load_pem_private_key(key, None)
        public = x509.load_pem_x509_certificate(certificate).public_key()
        fits = private.public_key() == public
    except (ValueError, TypeError):  # the library's own words could quote what it read: they are left out
        raise InvalidInputError(
            "The certificate or its key is not readable PEM, or the key is encrypted.", CERTIFICATE_HINT
        ) from None
    if not fits:
        raise InvalidInputError("The key does not belong to the certificate.", CERTIFICATE_HINT)
    plain = private.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    return _algorithm(private), plain


def _algorithm(private: Any) -> str:
    kind = type(private).__name__.lower()
    if "ed25519" in kind:
        return "ed25519"
    if "rsa" in kind:
        return "ps256"
    found = CURVES.get(getattr(getattr(private, "curve", None), "name", ""))
    if found is None:
        raise InvalidInputError("C2PA does not sign with a key of this kind.", CERTIFICATE_HINT)
    return found


def _manifest(item: Output, claim: Claim) -> dict[str, Any]:
    agent = {"name": "ryla_gen", "version": __version__}
    source_type = read_mark(item.data, item.media_type)[0] or claim.source_type
    models = "the emulator" if claim.note.get("emulated") else ", ".join(claim.note["models"]) or "models that are not listed"
    action: dict[str, Any] = {
        "action": "c2pa.created",
        "when": now(),
        "digitalSourceType": source_type,
        "softwareAgent": agent,
        "description": f"{claim.note['workflow']}, by {models}"[:1000],
    }
    if claim.pictures:
        action["parameters"] = {"ingredientIds": list(claim.pictures)}
    return {
        "claim_generator_info": [agent],
        "title": item.name,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": NOTE, "data": dict(claim.note)},
        ],
    }


def _ingredient(place: str, data: bytes) -> dict[str, Any]:
    """Describe a picture that was given: its hash, never a copy."""
    return {"title": place, "label": place, "relationship": "inputTo", "description": f"sha256 {sha256(data).hexdigest()}"}
