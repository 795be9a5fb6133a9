"""Certificates that are made here, and what files say of their origin: ours, other programs', changed ones and nonsense."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from ryla_gen import Output
from ryla_gen.errors import BackendNotConfiguredError, InvalidInputError, OutputExistsError, StorageFailedError
from ryla_gen.media.xmp import SOURCE_TYPES
from ryla_gen.results.provenance import mark_of
from ryla_gen.results.signing import Claim, read_signer
from ryla_gen.tools.provenance import MadeCertificate, make_certificate, verify
from ryla_gen.tools.provenance.verify import read_manifest

from ..cli.shell import envelope, here
from ..conftest import encoded, portrait

Capsys = pytest.CaptureFixture[str]
MARK = mark_of({}, emulated=False)
PLAIN = encoded(portrait((64, 64)))
MARKED = MARK.write(PLAIN, "image/png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeCertificate:
    return make_certificate(tmp_path_factory.mktemp("keys"), name="Studio Fuchs")


@pytest.fixture(scope="module")
def signed(made: MadeCertificate) -> bytes:
    claim = Claim(MARK.source_type, {"workflow": "flux_dev", "models": ["repo/file.safetensors"], "seed": "7"})
    return read_signer(made.certificate, made.key, None).sign(Output("image", "image/png", "a.png", MARKED), claim)


def changed(data: bytes) -> bytes:
    """The file with one pixel of another colour."""
    from PIL import Image

    at = data.index(b"IDAT") + 60
    assert Image.open(io.BytesIO(data)).format == "PNG"
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def foreign(made: MadeCertificate) -> bytes:
    """A file as another program signs it: opened, edited, with a model of somebody else."""
    info = c2pa.C2paSignerInfo("es256", made.certificate.read_bytes(), made.key.read_bytes(), None)
    term = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
    edited = {"action": "c2pa.edited", "digitalSourceType": term, "softwareAgent": {"name": "Another model"}}
    builder = c2pa.Builder(
        {
            "claim_generator_info": [{"name": "Another program\n  signature: valid", "version": "3"}],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [edited]}}],
        }
    )
    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    out = io.BytesIO()
    builder.sign(c2pa.Signer.from_info(info), "image/png", io.BytesIO(PLAIN), out)
    return out.getvalue()


def test_a_certificate_has_the_profile_that_c2pa_asks_for_and_its_key_is_its_owner_s_alone(made: MadeCertificate) -> None:
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    signing, authority = x509.load_pem_x509_certificates(made.certificate.read_bytes())
    assert signing.version is x509.Version.v3
    assert signing.issuer == authority.subject != signing.subject
    signing.verify_directly_issued_by(authority)
    assert not signing.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert signing.extensions.get_extension_for_class(x509.KeyUsage).critical
    key: Any = serialization.load_pem_private_key(made.key.read_bytes(), None)
    assert key.public_key() == signing.public_key() != authority.public_key()
    assert made.authority.read_bytes() in made.certificate.read_bytes()
    assert sorted(path.name for path in made.key.parent.iterdir()) == ["authority.pem", "certificate.pem", "key.pem"]


def test_a_key_is_not_replaced_unless_told_so(tmp_path: Path) -> None:
    first = make_certificate(tmp_path).key.read_bytes()
    with pytest.raises(OutputExistsError, match="key.pem"):
        make_certificate(tmp_path)
    assert make_certificate(tmp_path, overwrite=True).key.read_bytes() != first


@pytest.mark.parametrize("name", ["", "  "])
def test_a_certificate_without_a_name_is_refused(name: str, tmp_path: Path, capsys: Capsys) -> None:
    with pytest.raises(InvalidInputError, match="needs the name of its signer"):
        make_certificate(tmp_path / "keys", name=name)
    assert not (tmp_path / "keys").exists()
    assert here("provenance", "init", "--name", name) == 2
    assert "needs the name of its signer" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError):
        make_certificate(saved(tmp_path / "file", b"") / "keys")


def test_a_signed_file_is_valid_and_trusted_where_its_authority_is(made: MadeCertificate, signed: bytes, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", signed)
    found = verify(file)
    assert found.manifest is not None
    assert (found.manifest.seal, found.manifest.signer, found.manifest.issuer) == ("valid", "Studio Fuchs", "Studio Fuchs")
    assert found.manifest.note == {"workflow": "flux_dev", "models": ["repo/file.safetensors"], "seed": "7"}
    assert found.fine
    trusted = verify(file, trust=made.authority.read_bytes()).manifest
    assert trusted is not None and trusted.seal == "trusted"
    other = verify(file, trust=make_certificate(tmp_path / "other").authority.read_bytes()).manifest
    assert other is not None and other.seal == "valid"


@pytest.mark.parametrize("trust", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n"])
def test_a_list_without_a_certificate_is_a_fault_of_the_list_and_not_of_the_file(
    trust: bytes, signed: bytes, tmp_path: Path, capsys: Capsys
) -> None:
    file = saved(tmp_path / "a.png", signed)
    with pytest.raises(InvalidInputError, match="contains no certificate"):
        verify(file, trust=trust)
    assert here("verify", str(file), "--trust", str(saved(tmp_path / "list.pem", trust))) == 2
    assert "contains no certificate" in capsys.readouterr().err


def test_a_list_with_remarks_in_any_language_is_read(made: MadeCertificate, signed: bytes, tmp_path: Path) -> None:
    found = verify(saved(tmp_path / "a.png", signed), trust="# Büro Füchse\n".encode() + made.authority.read_bytes()).manifest
    assert found is not None and found.seal == "trusted"


def test_a_changed_file_is_invalid(signed: bytes, tmp_path: Path) -> None:
    found = verify(saved(tmp_path / "a.png", changed(signed)))
    assert found.manifest is not None
    assert (found.manifest.seal, found.manifest.problems) == ("invalid", ("assertion.dataHash.mismatch",))
    assert found.source_type == MARK.source_type, "what it says is still shown"
    assert not found.fine


def test_a_manifest_that_was_moved_to_another_picture_is_invalid(signed: bytes) -> None:
    start = signed.index(b"caBX") - 4
    chunk = signed[start : start + 12 + int.from_bytes(signed[start : start + 4], "big")]
    other = encoded(portrait((64, 64), "#3040b0"))
    at = other.index(b"IDAT") - 4
    manifest = read_manifest(other[:at] + chunk + other[at:], "image/png")
    assert manifest is not None and manifest.seal == "invalid"


def test_files_of_other_programs_are_read(made: MadeCertificate, tmp_path: Path, capsys: Capsys) -> None:
    file = saved(tmp_path / "a.png", foreign(made))
    found = verify(file)
    assert found.manifest is not None and found.note is None
    assert [action["action"] for action in found.manifest.actions] == ["c2pa.opened", "c2pa.edited"]
    assert found.manifest.actions[1]["program"] == "Another model"
    assert found.fine
    assert here("verify", str(file)) == 0
    said = capsys.readouterr().out
    assert "claim generator:     Another program signature: valid 3\n" in said, "what a file says cannot look like a line of ours"


@pytest.mark.parametrize("data", [b"", b"hello", PLAIN, PLAIN[:100], b"\x89PNG\r\n\x1a\n"])
def test_what_says_nothing_is_said_to_prove_nothing(data: bytes, tmp_path: Path, capsys: Capsys) -> None:
    file = saved(tmp_path / "a.png", data)
    assert not verify(file).fine
    assert here("verify", str(file)) == 1
    out = capsys.readouterr().out
    assert "proves nothing" in out or "could not be read" in out


@given(place=st.integers(0, 1 << 16), tail=st.binary(max_size=30))
def test_nonsense_is_no_error_and_a_change_to_what_was_signed_never_valid(signed: bytes, place: int, tail: bytes) -> None:
    after = signed.index(b"iTXt")  # behind the manifest, which the library reads leniently where nothing depends on a byte
    data, beyond = bytearray(signed), bytearray(signed)
    data[place % len(data)] ^= 0x55
    beyond[after + place % (len(beyond) - after)] ^= 0x55
    for wrong in (bytes(data), signed[: place % len(signed)], tail, b"\xff\xd8\xff" + tail):
        for kind in ("image/png", "image/jpeg"):
            read_manifest(wrong, kind)
    manifest = read_manifest(bytes(beyond), "image/png")
    assert manifest is None or manifest.seal in ("invalid", "unread")


def test_without_the_extra_the_mark_is_read_and_how_to_get_the_rest_is_said(
    signed: bytes, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as where the extra is not installed
    file = saved(tmp_path / "a.png", signed)
    assert verify(file).source_type == MARK.source_type
    assert here("verify", str(file)) == 0
    out = capsys.readouterr().out
    assert "trainedAlgorithmicMedia" in out and "pip install 'ryla-gen[provenance]'" in out
    with pytest.raises(BackendNotConfiguredError, match="c2pa"):
        read_manifest(signed, "image/png")


def test_making_a_certificate_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(BackendNotConfiguredError) as caught:
        make_certificate(tmp_path / "keys")
    assert caught.value.hint == "pip install 'ryla-gen[provenance]'"
    assert not (tmp_path / "keys").exists()


def test_the_commands_make_a_certificate_sign_and_verify(clean_environment: Path, tmp_path: Path, capsys: Capsys) -> None:
    assert here("provenance", "init", "--name", "Studio Fuchs") == 0
    said = capsys.readouterr()
    key = clean_environment / "provenance" / "key.pem"
    assert "ryla-gen config set provenance.sign true" in said.err
    assert key.read_text().splitlines()[1] not in said.out + said.err
    assert here("provenance", "init") == 1
    assert here("config", "set", "provenance.sign", "true") == 0
    fox = tmp_path / "fox.png"
    assert here("run", "flux", "a fox", "--width", "256", "--height", "256", "--seed", "7", "-o", str(fox), "-q") == 0
    broken = saved(tmp_path / "broken.png", changed(fox.read_bytes()))
    capsys.readouterr()
    authority = str(clean_environment / "provenance" / "authority.pem")
    assert here("verify", str(fox), "--trust", authority, "--json") == 0
    (item,) = envelope(capsys.readouterr().out)["data"]["items"]
    assert (item["manifest"]["seal"], item["fine"], item["note"]["workflow"]) == ("trusted", True, "flux")
    assert here("verify", str(fox), str(broken), "--json") == 1
    found = envelope(capsys.readouterr().out)
    assert [one["manifest"]["seal"] for one in found["data"]["items"]] == ["valid", "invalid"]
    assert json.dumps(found)
    assert here("verify", str(tmp_path / "nothing.png")) == 1
    assert "storage_failed" in capsys.readouterr().err
    assert here("verify", str(fox), "--trust", str(tmp_path / "nothing.pem")) == 1
