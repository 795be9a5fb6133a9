"""Files at plain https addresses: sizes, ranges, redirects, pages, hashes, and what is never asked."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import BackendUnreachableError, HashMismatchError, InvalidInputError, ModelNotFoundError, NotAuthorizedError
from ryla_gen.models.downloads import Report, Web, sync
from ryla_gen.models.weights_table import Weights

from .conftest import DATA, SHA, failure, noise, row, until
from .https_host import Authority, CivitaiHost, HttpsHost, Page, Proxy

NAME = "models.example"


@pytest.fixture
def host(store: HttpsHost) -> HttpsHost:
    """The host of most files, which is Civitai's store too."""
    return store


def at(url: str, data: bytes | None = None, **other: Any) -> Weights:
    return row(data=data, repo=url, revision=None, **other)


def brought(models: Path, *rows: Weights, tries: int = 3, **web: Any) -> Report:
    return sync(rows, models, tries=tries, web=Web(**{"private_addresses": True, **web}))


def test_a_file_comes_with_its_size_and_its_hash_is_held_to_afterwards(host: HttpsHost, models: Path) -> None:
    host.pages["/files/a.safetensors"] = Page(DATA)
    item = at(f"{host.url}/files/a.safetensors")
    brought(models, item).raise_for_failures()
    assert (models / item.label).read_bytes() == DATA
    record = json.loads((models / ".ryla" / "weights.json").read_text())["files"][item.label]
    assert (record["sha256"], record["source"], record["bytes"]) == (SHA, "first", len(DATA))
    host.pages["/files/a.safetensors"] = Page(noise(400_000, 2), etag='"2"')
    (models / item.label).unlink()
    assert "sha256" in failure(brought(models, item)).message


def test_a_connection_that_ends_early_goes_on_where_it_stopped(host: HttpsHost, models: Path) -> None:
    host.pages["/a"] = Page(DATA)
    host.cut_after, host.cuts = 160_000, 2
    report = brought(models, at(f"{host.url}/a", DATA))
    report.raise_for_failures()
    starts = [start for start in host.seen.starts if start]
    assert len(starts) == 2 and report.downloaded == len(DATA)


def test_a_killed_download_goes_on_in_the_next_process(host: HttpsHost, models: Path, start: Any, hub: Any) -> None:
    host.pages["/a"] = Page(DATA)
    host.cut_after, host.hold = 160_000, threading.Event()
    item = at(f"{host.url}/a")
    first = start(item, private=True)
    until(lambda: sum(part.stat().st_size for part in models.glob("*/.*.part")) >= 150_000)
    first.kill()
    first.wait()
    host.hold.set()
    report = brought(models, item)
    report.raise_for_failures()
    assert report.files[0].outcome == "resumed" and report.downloaded <= len(DATA) - 150_000
    assert (models / item.label).read_bytes() == DATA


def test_a_host_without_ranges_sends_everything_again(host: HttpsHost, models: Path) -> None:
    host.pages["/a"] = Page(DATA)
    host.ignore_ranges, host.cut_after, host.cuts = True, 160_000, 1
    brought(models, at(f"{host.url}/a", DATA)).raise_for_failures()
    assert (models / "checkpoints/a.safetensors").read_bytes() == DATA


def test_without_hash_and_tag_nothing_is_continued(host: HttpsHost, models: Path) -> None:
    host.pages["/a"] = Page(DATA, etag=None)
    host.cut_after, host.cuts = 160_000, 1
    brought(models, at(f"{host.url}/a")).raise_for_failures()
    assert not any(host.seen.starts)


def test_a_busy_host_is_asked_again(host: HttpsHost, models: Path) -> None:
    host.pages["/a"] = Page(DATA)
    host.busy = 1
    brought(models, at(f"{host.url}/a")).raise_for_failures()


def test_redirects_are_followed_to_https_only(host: HttpsHost, models: Path) -> None:
    host.pages |= {"/a": Page(DATA), "/to": Page(status=302, location="/a")}
    host.pages["/plain"] = Page(status=302, location="http://models.example/a")
    host.pages["/round"] = Page(status=302, location="/round")
    host.pages["/odd"] = Page(status=302, location="https://user:secret@models.example/a")
    brought(models, at(f"{host.url}/to", name="b.safetensors")).raise_for_failures()
    for path, why in (("/plain", "only https"), ("/round", "redirects more than"), ("/odd", "only https")):
        error = failure(brought(models, at(f"{host.url}{path}")))
        assert isinstance(error, InvalidInputError) and why in error.message


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost", "10.0.0.7", "169.254.169.254", "[::1]", "[::ffff:192.168.0.1]"])
def test_an_address_of_a_private_network_is_not_asked(
    target: str, authority: Authority, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at once nor behind a redirect: the proxy stands for the internet, where the first host is."""
    with HttpsHost(authority, NAME) as host, Proxy(host) as proxy:
        host.pages |= {"/a": Page(DATA), "/to": Page(status=302, location=f"https://{target}:{host.port}/a")}
        direct = failure(brought(models, at(f"https://{target}:{host.port}/a"), private_addresses=False))
        assert host.seen.requests == []
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        behind = failure(brought(models, at(f"https://{NAME}/to"), private_addresses=False))
        for error in (direct, behind):
            assert isinstance(error, InvalidInputError) and "private network" in error.message
        assert host.seen.requests == ["/to"] and proxy.asked == [f"{NAME}:443"]
        brought(models, at(f"https://{NAME}/a"), private_addresses=False).raise_for_failures()


@pytest.mark.parametrize("page", [Page(b"<html>", type="text/html; charset=utf-8"), Page(b"\n<!DOCTYPE HTML><title>Sign in")])
def test_a_web_page_is_no_model(page: Page, host: HttpsHost, models: Path) -> None:
    host.pages["/a"] = page
    error = failure(brought(models, at(f"{host.url}/a?secret=1")))
    assert isinstance(error, ModelNotFoundError) and "web page" in error.message and "secret" not in str(error.to_data())
    assert not list(models.glob("checkpoints/*"))


def test_what_is_not_there_or_not_open_is_said(host: HttpsHost, models: Path) -> None:
    host.pages |= {"/closed": Page(status=403), "/endless": Page(DATA, length=False), "/empty": Page(b"")}
    assert isinstance(failure(brought(models, at(f"{host.url}/none"))), ModelNotFoundError)
    assert isinstance(failure(brought(models, at(f"{host.url}/closed"))), NotAuthorizedError)
    assert isinstance(failure(brought(models, at(f"{host.url}/empty"))), ModelNotFoundError)
    assert "how large" in failure(brought(models, at(f"{host.url}/endless"))).message
    host.ignore_ranges = True
    brought(models, at(f"{host.url}/endless", DATA)).raise_for_failures()


def test_a_host_that_is_gone_or_not_trusted_is_said(host: HttpsHost, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.pages["/a"] = Page(DATA)
    error = failure(brought(models, at("https://127.0.0.1:9/a"), tries=1))
    assert isinstance(error, BackendUnreachableError) and "127.0.0.1" in error.message
    monkeypatch.delenv("SSL_CERT_FILE")
    assert isinstance(failure(brought(models, at(f"{host.url}/a"), tries=1)), BackendUnreachableError)
    assert host.seen.requests == []


def test_another_file_than_the_lock_names_is_a_hash_mismatch(host: HttpsHost, models: Path) -> None:
    host.pages["/a"] = Page(DATA, sent=noise(400_000, 9))
    error = failure(brought(models, at(f"{host.url}/a", DATA, sha256_source="lock")))
    assert isinstance(error, HashMismatchError) and error.details["expected"] == SHA and "graph lock" in error.hint
    assert not list(models.glob("checkpoints/*"))
    host.pages["/a"] = Page(DATA)
    longer = replace(at(f"{host.url}/a", DATA, sha256_source="lock"), bytes=7)
    assert isinstance(failure(brought(models, longer)), HashMismatchError)


# -- Civitai ---------------------------------------------------------------------------------------------------------


def test_civitai_sees_the_token_and_its_store_does_not(civitai: CivitaiHost, models: Path) -> None:
    civitai.put(7, DATA, login=True)
    item = at("https://civitai.com/api/download/models/7", DATA)
    web = Web("civitai-good", private_addresses=True, civitai=civitai.url)
    assert "civitai-good" not in repr(web)
    sync([item], models, web=web).raise_for_failures()
    assert civitai.seen.logins == {"Bearer civitai-good"} and civitai.store.seen.logins == set()
    assert "civitai-good" not in (models / ".ryla" / "weights.json").read_text()


@pytest.mark.parametrize("address", ["7", "7?as=browser"])
def test_without_a_token_what_needs_an_account_says_what_to_do(civitai: CivitaiHost, models: Path, address: str) -> None:
    civitai.put(7, DATA, login=True)
    item = at(f"https://civitai.com/api/download/models/{address}", DATA)
    error = failure(brought(models, item, civitai=civitai.url))
    assert isinstance(error, NotAuthorizedError)
    assert "CIVITAI_TOKEN" in error.hint and "modal secret create civitai" in error.hint


def test_a_token_that_is_wrong_is_refused_and_not_told(civitai: CivitaiHost, models: Path) -> None:
    civitai.put(7, DATA)
    item = at("https://civitai.com/api/download/models/7", DATA)
    report = brought(models, item, civitai=civitai.url, civitai_token="civitai-stranger")
    assert isinstance(failure(report), NotAuthorizedError) and "civitai-stranger" not in str(report.to_data())


def test_a_signed_address_that_ran_out_is_asked_for_again(civitai: CivitaiHost, models: Path) -> None:
    civitai.put(7, DATA)
    item = at("https://civitai.com/api/download/models/7", DATA)
    civitai.store.cut_after, civitai.store.cuts = 160_000, 1
    brought(models, item, civitai=civitai.url).raise_for_failures()
    assert len([path for path in civitai.seen.requests if path.startswith("/api/download")]) == 3


def test_other_hosts_never_see_the_token(host: HttpsHost, models: Path) -> None:
    host.pages["/a"] = Page(DATA)
    brought(models, at(f"{host.url}/a"), civitai_token="civitai-good").raise_for_failures()
    assert host.seen.logins == set()
