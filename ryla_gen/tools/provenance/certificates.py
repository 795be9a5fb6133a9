"""Make a private key and the chain of certificates that C2PA asks for, on this machine. Shows no key.

Source: C2PA Technical Specification 2.2, section 14.5 (X.509 certificates): version 3, a purpose from its list, no certificate
that signs itself; so a certificate authority is made beside the signing one, and its key is thrown away.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import BackendNotConfiguredError, InvalidInputError, OutputExistsError, StorageFailedError
from ...results.signing import EXTRA

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.x509 import CertificateBuilder

DEFAULT_NAME = "ryla_gen local signer"
DEFAULT_DAYS = 3650
"""Days: without a time stamp, readers refuse a signature as soon as its certificate has expired."""
CLOCKS_APART = timedelta(minutes=10)
"""A reader whose clock is behind must not find the certificate too young."""

USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
"""What a key may be for (RFC 5280, 4.2.1.3)."""


@dataclass(frozen=True, slots=True)
class MadeCertificate:
    """The files that were written."""

    certificate: Path
    """The signing certificate and the authority's, PEM."""
    key: Path
    """The private key, PEM; only its owner can read it."""
    authority: Path
    """The authority's certificate alone: who has it can tell your signatures from others'."""


def make_certificate(
    folder: Path, *, name: str = DEFAULT_NAME, days: int = DEFAULT_DAYS, overwrite: bool = False
) -> MadeCertificate:
    """Make a P-256 key (ES256) and its certificates, and write them into a folder.

    Args:
        folder: where to; made if need be.
        name: who signs, as readers show it: an organisation.
        days: how long the certificate is valid.
        overwrite: whether files of an earlier call may be replaced; what was signed with them stays valid.

    Raises:
        BackendNotConfiguredError: the extra is not installed.
        InvalidInputError: the name is empty.
        OutputExistsError: there is a key already.
        StorageFailedError: the files cannot be written.

    """
    if not name.strip():
        raise InvalidInputError("A certificate needs the name of its signer.", f'Give one, such as "{DEFAULT_NAME}".')
    made = MadeCertificate(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")
    there = next((path for path in (made.key, made.certificate) if path.exists()), None)
    if there is not None and not overwrite:
        raise OutputExistsError(f"{there} exists already.", "Keep it, or make another one: --overwrite", {"file": str(there)})
    key, certificate, authority = _issue(name, days)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(made.key, key, 0o600)
        _write(made.certificate, certificate + authority, 0o644)
        _write(made.authority, authority, 0o644)
    except OSError as error:
        raise StorageFailedError(f"{error.filename} could not be written: {error.strerror}.") from None
    return made


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that nobody else could read at any moment, if the mode says so."""
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _issue(name: str, days: int) -> tuple[bytes, bytes, bytes]:
    """Return the PEM of a key, of its certificate, and of the authority's certificate."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives import serialization as pem
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise BackendNotConfiguredError("Making certificates needs cryptography.", EXTRA) from None
    above, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _begin(f"{name} authority", f"{name} authority", name, above.public_key(), days, above)
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    authority = authority.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    signing = _begin(name, f"{name} authority", name, key.public_key(), days, above)
    signing = signing.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    signing = signing.add_extension(_usage("digital_signature"), critical=True)
    purpose = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.4")])  # emailProtection: all readers take it
    signing = signing.add_extension(purpose, critical=False)
    held = [made.sign(above, hashes.SHA256()).public_bytes(pem.Encoding.PEM) for made in (signing, authority)]
    return key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()), held[0], held[1]


def _begin(
    subject: str, issuer: str, organisation: str, public: EllipticCurvePublicKey, days: int, above: EllipticCurvePrivateKey
) -> CertificateBuilder:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def named(common: str) -> x509.Name:
        pairs = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, organisation))
        return x509.Name([x509.NameAttribute(kind, text[:64]) for kind, text in pairs])

    start = datetime.now(UTC) - CLOCKS_APART
    builder = x509.CertificateBuilder(named(issuer), named(subject), public, x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=days))
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)


def _usage(*allowed: str) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(**{kind: kind in allowed for kind in USAGES})
