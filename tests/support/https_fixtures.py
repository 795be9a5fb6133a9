"""A certificate authority of the test that this process trusts, a host of files with TLS, and a Civitai in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.downloads.https_host import Authority, CivitaiHost, HttpsHost


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority; processes that this one starts trust it too."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


@pytest.fixture
def store(authority: Authority) -> Iterator[HttpsHost]:
    """A host of files."""
    with HttpsHost(authority) as one:
        yield one


@pytest.fixture
def civitai(authority: Authority, store: HttpsHost) -> Iterator[CivitaiHost]:
    """A Civitai whose downloads lead to that host."""
    with CivitaiHost(authority, store) as one:
        assert isinstance(one, CivitaiHost)
        yield one
