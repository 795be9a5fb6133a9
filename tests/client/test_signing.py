"""Results are signed where they arrive; what keeps one from being signed costs no result, and no key is shown."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ryla_gen import Client, Flux, FluxDev, Generation, Output, SeedVR2, Settings
from ryla_gen.client.signing import Signatures
from ryla_gen.errors import InvalidInputError, StorageFailedError
from ryla_gen.results.signing import Signer, claim_of, read_signer
from ryla_gen.tools.provenance import make_certificate, verify
from ryla_gen.tools.provenance.verify import read_manifest

from ..conftest import encoded, portrait

SMALL: dict[str, Any] = {"prompt": "a secret fox", "width": 256, "height": 256, "steps": 2, "seed": 7}
PICTURE = Output("image", "image/png", "a.png", encoded(portrait((64, 64))), 64, 64)


def settings(**more: Any) -> Settings:
    return Settings.load(backend="emulator", provenance_sign=True, **more)


def result(*outputs: Output) -> Generation:
    return Generation(FluxDev(**SMALL), outputs, seed=7, job="j", backend="comfyui", graph=FluxDev(**SMALL).build().to_api())


async def signed(given: Generation, **more: Any) -> Generation:
    return await Signatures(settings(**more)).sign(given)


@pytest.fixture
def local(clean_environment: Path) -> Path:
    make_certificate(clean_environment / "provenance")
    return clean_environment / "provenance"


def test_nothing_is_signed_unless_the_settings_say_so(local: Path) -> None:
    with Client("emulator") as client:
        assert read_manifest(client.run(Flux(**{**SMALL, "steps": 1})).output.data, "image/png") is None


def test_a_result_names_workflow_and_program_and_its_journal_has_the_size_of_the_signed_file(local: Path, tmp_path: Path) -> None:
    with Client(settings=settings()) as client:
        made = client.run(FluxDev(**SMALL))
        (row,) = client.jobs.list()
    assert row.outputs is not None
    assert row.outputs[0]["bytes"] == len(made.output.data)
    found = verify(made.save(tmp_path / "fox.png")[0])
    assert found.manifest is not None
    assert found.manifest.note == {"workflow": "flux_dev", "seed": "7", "job": made.job, "emulated": True}
    assert found.manifest.actions[0]["source_type"] == found.source_type


async def test_a_model_s_result_names_its_files_and_the_prompt_only_where_it_was_asked_for(local: Path) -> None:
    (plain,) = (await signed(result(PICTURE))).outputs
    manifest = read_manifest(plain.data, "image/png")
    assert manifest is not None and manifest.note is not None
    assert "Comfy-Org/flux1-dev/flux1-dev-fp8.safetensors" in manifest.note["models"]
    assert b"secret fox" not in plain.data
    (told,) = (await signed(result(PICTURE), provenance_include_prompt=True)).outputs
    manifest = read_manifest(told.data, "image/png")
    assert manifest is not None and manifest.note is not None
    assert manifest.note["prompt"] == "a secret fox"


def test_a_picture_that_was_given_is_an_ingredient_by_its_hash_and_no_copy(local: Path, face: bytes) -> None:
    import c2pa

    with Client(settings=settings()) as client:
        made = client.run(SeedVR2(image=face, resolution=256, seed=7))
    active = c2pa.Reader("image/png", io.BytesIO(made.output.data)).get_active_manifest() or {}
    (given,) = active["ingredients"]
    assert (given["title"], given["relationship"], "thumbnail" in given) == ("image", "inputTo", False)
    assert given["description"].startswith("sha256 ")


async def test_no_certificate_costs_a_warning_and_no_result(clean_environment: Path) -> None:
    made = await signed(result(PICTURE))
    assert made.outputs == (PICTURE,)
    (notice,) = made.warnings
    assert notice.code == "unsigned"
    assert "ryla-gen provenance init" in notice.message


async def test_a_missing_extra_costs_a_warning_that_names_it(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as where the extra is not installed
    made = await signed(result(PICTURE))
    assert made.outputs == (PICTURE,)
    assert "pip install 'ryla-gen[provenance]'" in made.warnings[0].message


async def test_what_cannot_be_signed_is_kept_and_named_and_the_rest_is_signed(local: Path) -> None:
    broken = replace(PICTURE, name="b.png", data=b"\x89PNG\r\n\x1a\nxx")
    webm = Output("video", "video/webm", "v.webm", b"\x1aE\xdf\xa3webm")
    gone = replace(PICTURE, name="gone.png", data=b"")
    text = Output("text", "text/plain", "t.txt", text="fox")
    made = await signed(result(PICTURE, broken, webm, gone, text))
    assert made.outputs[1:] == (broken, webm, gone, text)
    assert read_manifest(made.outputs[0].data, "image/png") is not None
    assert [notice.message.split()[0] for notice in made.warnings] == ["b.png", "v.webm", "gone.png"]
    assert "video/webm" in made.warnings[1].message


def issued(
    key: Any, days: int = 1, *, purpose: str = "1.3.6.1.5.5.7.3.4", above: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    above = above or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Somebody")])
    root = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Somebody above")])
    start = datetime.now(UTC) - timedelta(days=30)
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= dict.fromkeys(("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    builder = x509.CertificateBuilder(root, name, key.public_key(), 7).not_valid_before(start)
    builder = builder.not_valid_after(start + timedelta(days=30 + days))
    builder = builder.add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    return builder.sign(above, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key: Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8, password: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made = key.private_bytes(serialization.Encoding.PEM, form, lock)
    assert isinstance(made, bytes)
    return made


KEYS = {
    "es256": ec.generate_private_key(ec.SECP256R1()),
    "es384": ec.generate_private_key(ec.SECP384R1()),
    "es512": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ps256": rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_certificate_of_one_s_own_signs_whatever_its_key(algorithm: str, tmp_path: Path, clean_environment: Path) -> None:
    (tmp_path / "c.pem").write_bytes(issued(KEYS[algorithm]))
    (tmp_path / "k.pem").write_bytes(pem(KEYS[algorithm]))
    made = await signed(result(PICTURE), provenance_certificate=tmp_path / "c.pem", provenance_key=tmp_path / "k.pem")
    assert made.warnings == ()
    manifest = read_manifest(made.output.data, "image/png")
    assert manifest is not None
    assert (manifest.seal, str(manifest.algorithm).lower(), manifest.issuer) == ("valid", algorithm, "Somebody")


@pytest.mark.parametrize("purpose", ["1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1", "1.3.6.1.4.1.311.76.59.1.9"])
def test_every_purpose_that_c2pa_allows_signs_and_is_read(purpose: str) -> None:
    signer = Signer(issued(KEYS["es256"], purpose=purpose), pem(KEYS["es256"]))
    manifest = read_manifest(signer.sign(PICTURE, claim_of(result(PICTURE), include_prompt=False)), "image/png")
    assert manifest is not None
    assert (manifest.seal, manifest.problems) == ("valid", ())


def test_a_key_in_openssl_s_older_form_is_read() -> None:
    key = KEYS["es256"]
    assert Signer(issued(key), pem(key, serialization.PrivateFormat.TraditionalOpenSSL)).signs("image/png")


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        (issued(KEYS["es256"]), pem(KEYS["es384"]), "does not belong"),
        (issued(KEYS["es256"]), pem(KEYS["es256"], password=b"x"), "encrypted"),
        (b"", pem(KEYS["es256"]), "not readable"),
        (issued(KEYS["es256"]), b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----", "not readable"),
        (issued(ec_k := ec.generate_private_key(ec.SECP256K1())), pem(ec_k), "key of this kind"),
    ],
)
def test_what_cannot_sign_is_refused_and_not_quoted(certificate: bytes, key: bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        Signer(certificate, key)
    assert "hunter2" not in str(caught.value) and "BEGIN" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("days", "purpose"), [(-1, "1.3.6.1.5.5.7.3.4"), (1, "1.3.6.1.5.5.7.3.1")])
def test_a_certificate_whose_signatures_no_reader_takes_is_refused_at_the_first_file(days: int, purpose: str) -> None:
    signer = Signer(issued(KEYS["es256"], days, purpose=purpose), pem(KEYS["es256"]))
    with pytest.raises(InvalidInputError, match="could not be signed: Signature: the certificate"):
        signer.sign(PICTURE, claim_of(result(PICTURE), include_prompt=False))


def test_files_that_are_not_there_are_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError, match="Cannot read") as caught:
        read_signer(tmp_path / "c.pem", tmp_path / "k.pem", None)
    assert "provenance init" in caught.value.hint


def test_no_key_is_in_the_journal_the_settings_or_the_file(local: Path, tmp_path: Path) -> None:
    key = (local / "key.pem").read_text().splitlines()[1]
    used = settings()
    with Client(settings=used) as client:
        made = client.run(Flux(**{**SMALL, "steps": 1}))
    assert key.encode() not in made.output.data
    assert key not in repr(used) + json.dumps([str(entry) for entry in used.entries()])
    assert key.encode() not in used.history_path.read_bytes()
