"""A bucket on moto's server, which answers as S3 does, with the credentials in this process's environment."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

BUCKET = "pictures"


@dataclass(frozen=True)
class Storage:
    """S3 on this machine, with one bucket."""

    url: str
    store: S3Store
    environment: dict[str, str]
    """What the owner of the bucket has in the environment."""

    def read(self, key: str) -> bytes:
        """What lies under a key."""
        return bytes(obstore.get(self.store, key).bytes())

    def media_type(self, key: str) -> str | None:
        """What the bucket calls the kind of a file."""
        return obstore.get(self.store, key).attributes.get("Content-Type")

    def keys(self) -> list[str]:
        """Every key."""
        found: list[Any] = [item for page in obstore.list(self.store) for item in page]
        return sorted(item["path"] for item in found)

    def signed(self, key: str, seconds: float = 600) -> str:
        """An address that takes one file, signed as a web server of the user's would sign it."""
        return str(obstore.sign(self.store, "PUT", key, timedelta(seconds=seconds)))


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The server's address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def bucket_on(moto: str) -> Storage:
    """Empty the server, and make the bucket."""
    for address, method in ((f"{moto}/moto-api/reset", "POST"), (f"{moto}/{BUCKET}", "PUT")):
        urllib.request.urlopen(urllib.request.Request(address, method=method)).close()
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-bucket"}
    environment = {"AWS_ENDPOINT_URL": moto, "AWS_REGION": "us-east-1", **keys}
    store = S3Store(
        BUCKET,
        endpoint=moto,
        region="us-east-1",
        access_key_id=keys["AWS_ACCESS_KEY_ID"],
        secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )
    return Storage(moto, store, environment)


@pytest.fixture
def storage(moto: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty bucket; its credentials are in the environment of this process."""
    made = bucket_on(moto)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made
