"""What publishers say of models: commit, hash, size, licence, gate; what they do not have; and that no token is told."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ryla_gen.errors import BackendUnreachableError, HashMismatchError, NotAuthorizedError
from ryla_gen.locks.graph_lock import PENDING, LockedModel
from ryla_gen.locks.lock_checks import is_https
from ryla_gen.locks.model_rows import hub_address, row_of
from ryla_gen.models.downloads import Web, sync
from ryla_gen.models.licences import commercial_use
from ryla_gen.models.pickles import WARNING, is_pickle_name
from ryla_gen.tools.locking.model_facts import ModelFacts, look_up, with_warning
from tests.models.downloads.https_host import CivitaiHost, HttpsHost, Page
from tests.models.downloads.hub import COMMIT, Hub

DATA = b"weights" * 1001
SHA = hashlib.sha256(DATA).hexdigest()
REPO = "maker/model"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        server.put(REPO, "split/a.safetensors", DATA)
        yield server


def named(file: str = "a.safetensors", url: str | None = None, **other: Any) -> LockedModel:
    facts = {"revision": None, "sha256": PENDING, "bytes": None, "licence": None, "gated": None, "source": "the drawing"}
    return LockedModel(**{"file": file, "folder": "checkpoints", "url": url or at(), **facts, **other})


def at(file: str = "split/a.safetensors", repo: str = REPO, revision: str = "main") -> str:
    return hub_address(repo, revision, file)


def looked(hub: Hub, *models: LockedModel, token: str | None = None, **other: Any) -> ModelFacts:
    return look_up(models, token=token, endpoint=hub.url, **other)


# -- the Hub ---------------------------------------------------------------------------------------------------------


def test_main_becomes_the_commit_that_it_stands_for(hub: Hub) -> None:
    hub.cards[REPO] = {"license": "apache-2.0"}
    (found,) = looked(hub, named()).models
    assert (found.revision, found.sha256, found.bytes) == (COMMIT, SHA, len(DATA))
    assert (found.gated, found.licence, found.url) == (False, "apache-2.0", at(revision=COMMIT))
    assert found.source == "the drawing"


def test_files_of_one_repository_cost_one_request_and_what_is_known_none(hub: Hub) -> None:
    hub.put(REPO, "b.safetensors", DATA[::-1])
    hub.cards[REPO] = {"license": "mit"}
    first = looked(hub, named(), named("b.safetensors", at("b.safetensors")))
    assert [path for _, _, path in hub.seen.requests] == [f"/api/models/{REPO}/revision/main"]
    assert looked(hub, *first.models) == first
    assert hub.count("hub") == 1


def test_a_small_file_has_a_size_and_no_hash(hub: Hub) -> None:
    hub.put(REPO, "a.yaml", b"x: 1", large=False)
    (found,) = looked(hub, named("a.yaml", at("a.yaml"))).models
    assert (found.bytes, found.sha256) == (4, PENDING)


@pytest.mark.parametrize(
    ("card", "licence", "allowed"),
    [
        ({"license": "openrail++"}, "openrail++", True),
        ({"license": "cc-by-nc-4.0"}, "cc-by-nc-4.0 (non-commercial)", False),
        ({"license": "other", "license_name": "flux-1-dev-non-commercial-license"}, None, False),
        ({"license": "other", "license_name": "makers-own"}, "makers-own (see card)", None),
        ({"license": "other"}, "other (see card)", None),
        ({"license": ["mit", "apache-2.0"]}, "mit, apache-2.0 (see card)", None),
        ({"license": "llama3"}, "llama3 (see card)", None),
        ({"tags": ["x"]}, None, None),
    ],
)
def test_a_licence_is_named_and_what_it_allows_is_not_guessed(
    hub: Hub, card: dict[str, Any], licence: str | None, allowed: bool | None
) -> None:
    hub.cards[REPO] = card
    (found,) = looked(hub, named()).models
    assert commercial_use(found.licence) is allowed
    assert licence is None or found.licence == licence


def test_a_licence_that_our_table_read_at_its_makers_stays(hub: Hub) -> None:
    hub.cards[REPO] = {"license": "other"}
    (found,) = looked(hub, named(licence="read at its maker's")).models
    assert found.licence == "read at its maker's"


def test_a_gated_model_without_a_token_is_no_error(hub: Hub) -> None:
    hub.gated[REPO] = {"hf_good"}
    (found,) = looked(hub, named()).models
    assert (found.gated, found.sha256) == (True, SHA)
    hub.closed.add(REPO)
    result = looked(hub, named())
    assert result.questions == () and (result.models[0].gated, result.models[0].sha256) == (True, PENDING)
    (found,) = looked(hub, named(), token="hf_good").models
    assert (found.gated, found.sha256, found.revision) == (True, SHA, COMMIT)


def test_no_token_of_this_machine_is_sent_unless_it_is_given(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    looked(hub, named())
    assert hub.seen.logins["hub"] == set()


def test_what_is_not_there_is_a_question_and_stops_nothing_else(hub: Hub) -> None:
    lost = named("lost.safetensors", at(repo="maker/lost"))
    moved = named("moved file.safetensors", at("moved.safetensors"))
    gone = named("gone.safetensors", at(revision="f" * 40))
    result = looked(hub, named(), lost, moved, gone, token="hf_good", command="ryla-gen graph lock 'my graph.json' --name mine")
    assert [item.subject for item in result.questions] == [item.label for item in (lost, moved, gone)]
    assert "maker/lost" in result.questions[0].question and "no file" in result.questions[1].question
    assert "no revision" in result.questions[2].question
    command = "ryla-gen graph lock 'my graph.json' --name mine --model"
    assert result.questions[1].command == f"{command} 'checkpoints/moved file.safetensors=hf://OWNER/REPOSITORY/FILE'"
    assert result.models[0].sha256 == SHA and result.models[1:] == (lost, moved, gone)


def test_another_hash_than_the_drawings_is_a_mismatch(hub: Hub) -> None:
    assert looked(hub, named(sha256=SHA)).models[0].sha256 == SHA
    with pytest.raises(HashMismatchError) as caught:
        looked(hub, named(sha256="a" * 64))
    assert caught.value.details == {"file": "checkpoints/a.safetensors", "expected": "a" * 64, "actual": SHA}
    assert "--model a.safetensors=" in caught.value.hint


def test_a_hub_that_does_not_answer_names_the_way_without_it(hub: Hub) -> None:
    hub.knobs.busy = 1
    assert looked(hub, named()).models[0].sha256 == SHA
    hub.knobs.busy = 100
    with pytest.raises(BackendUnreachableError, match="does not answer") as caught:
        looked(hub, named())
    assert "--offline" in caught.value.hint


def test_a_refused_token_is_said_and_not_told(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NotAuthorizedError) as caught:
        looked(hub, named(), token="hf_secret_wrong")
    assert "HF_TOKEN" in caught.value.hint
    assert "hf_secret_wrong" not in str(caught.value.to_data()) + caplog.text


# -- Civitai ---------------------------------------------------------------------------------------------------------


def asked(civitai: CivitaiHost, *models: LockedModel, **other: Any) -> ModelFacts:
    return look_up(models, token=None, civitai=civitai.url, private_addresses=True, **other)


@pytest.mark.parametrize(
    "url",
    [
        "https://civitai.com/api/download/models/7",
        "https://civitai.com/models/70/some-name?modelVersionId=7",
        "https://www.civitai.com/models/70?modelVersionId=7",
        "civitai:7",
    ],
)
def test_a_version_is_found_by_each_of_its_addresses(civitai: CivitaiHost, url: str) -> None:
    civitai.put(7, DATA)
    (found,) = asked(civitai, named(url=url)).models
    assert found.url == "https://civitai.com/api/download/models/7" and is_https(found.url)
    assert (found.sha256, found.bytes, found.gated) == (SHA, len(DATA), False)
    assert found.licence == "Civitai: commercial use: Image, Rent, RentCivit" and commercial_use(found.licence)


@pytest.mark.parametrize(
    ("switches", "licence", "allowed"),
    [
        ({"allowCommercialUse": ["None"]}, "Civitai: non-commercial", False),
        ({"allowCommercialUse": []}, "Civitai: non-commercial", False),
        ({"allowCommercialUse": "{Image,Rent}"}, "Civitai: commercial use: Image, Rent", True),
        ({"allowCommercialUse": ["Image"]}, "Civitai: commercial use: Image (see card)", None),
        (
            {"allowCommercialUse": ["Sell"], "allowNoCredit": False, "allowDerivatives": False, "allowDifferentLicense": False},
            "Civitai: commercial use: Sell; credit required; no merges; merges under the same terms (see card)",
            None,
        ),
        ({"allowCommercialUse": None}, "Civitai: terms unknown (see card)", None),
    ],
)
def test_a_makers_switches_become_words(civitai: CivitaiHost, switches: dict[str, Any], licence: str, allowed: bool | None) -> None:
    civitai.put(7, DATA, **switches)
    (found,) = asked(civitai, named(url="civitai:7")).models
    assert (found.licence, commercial_use(found.licence)) == (licence, allowed)


def test_one_of_several_files_is_taken_by_its_address_its_name_or_as_the_main_one(civitai: CivitaiHost) -> None:
    civitai.put(7, DATA)
    main = civitai.versions[7]["files"][0]
    query = "?type=Model&format=SafeTensor&size=full&fp=fp32"
    other = {**main, "name": "b.safetensors", "primary": False, "hashes": {"SHA256": "B" * 64}}
    other["downloadUrl"] += query
    civitai.versions[7]["files"] = [other, main]
    base = "https://civitai.com/api/download/models/7"
    found = asked(
        civitai,
        named("c.safetensors", "civitai:7"),
        named("sub/b.safetensors", "civitai:7"),
        named("c.safetensors", base + query),
    ).models
    assert [item.url for item in found] == [base, base + query, base + query]
    assert [item.sha256 for item in found] == [SHA, "b" * 64, "b" * 64]
    main["primary"] = False
    (question,) = asked(civitai, named("c.safetensors", "civitai:7")).questions
    assert "several files" in question.question and question.command.endswith("=civitai:VERSION")


def test_what_cannot_be_had_at_civitai_is_a_question(civitai: CivitaiHost) -> None:
    civitai.put(8, DATA)
    civitai.versions[8]["usageControl"] = "Generation"
    urls = ("civitai:999", "https://civitai.com/models/70", "civitai:8")
    result = asked(civitai, *(named(url=url) for url in urls))
    words = ("knows no model version 999", "names no version", "at Civitai only")
    assert [word in item.question for word, item in zip(words, result.questions, strict=True)] == [True] * 3


def test_a_file_behind_an_account_is_gated_and_its_token_goes_to_civitai_alone(
    civitai: CivitaiHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    civitai.put(7, DATA, login=True)
    for token in (None, "civitai-good"):
        (found,) = asked(civitai, named(url="civitai:7"), civitai_token=token).models
        assert (found.gated, found.sha256) == (True, SHA) and "civitai-good" not in str(found.to_data())
    assert civitai.seen.logins == {"Bearer civitai-good"} and civitai.store.seen.logins == set()
    assert "civitai-good" not in caplog.text


def test_a_civitai_that_does_not_answer_names_the_way_without_it(civitai: CivitaiHost) -> None:
    civitai.put(7, DATA)
    civitai.busy = 1
    assert asked(civitai, named(url="civitai:7")).models[0].sha256 == SHA
    civitai.busy = 100
    with pytest.raises(BackendUnreachableError, match="Civitai does not answer") as caught:
        asked(civitai, named(url="civitai:7"))
    assert "--offline" in caught.value.hint
    civitai.busy = 0
    with pytest.raises(BackendUnreachableError, match="HTTP 401") as caught:
        asked(civitai, named(url="civitai:7"), civitai_token="civitai-stranger")
    assert "civitai-stranger" not in str(caught.value.to_data())


def test_a_rounded_size_is_not_believed(civitai: CivitaiHost) -> None:
    civitai.put(7, DATA, login=True)
    civitai.versions[7]["files"][0]["sizeKB"] = 6775430.25
    assert asked(civitai, named(url="civitai:7")).models[0].bytes is None


def test_what_civitai_says_is_downloaded_and_held_to(civitai: CivitaiHost, tmp_path: Path) -> None:
    civitai.put(7, DATA)
    (found,) = asked(civitai, named(url="civitai:7")).models
    civitai.store.pages["/signed/7"].sent = DATA[::-1]
    report = sync([row_of(found)], tmp_path, web=Web(private_addresses=True, civitai=civitai.url))
    assert isinstance(report.failures[0].error, HashMismatchError)


# -- elsewhere -------------------------------------------------------------------------------------------------------


def test_a_plain_address_tells_the_size_and_leaves_the_hash_pending(hub: Hub, store: HttpsHost) -> None:
    store.pages["/a.pth"] = Page(DATA)
    (found,) = looked(hub, named("a.pth", f"{store.url}/a.pth"), private_addresses=True).models
    assert (found.bytes, found.sha256, found.gated, found.revision) == (len(DATA), PENDING, False, None)


def test_a_release_tells_the_size(hub: Hub) -> None:
    hub.put("maker/tool@v1", "a.onnx", DATA)
    hub.files["maker/tool", "v1/a.onnx"] = hub.files.pop(("maker/tool@v1", "a.onnx"))
    model = named("a.onnx", "https://github.com/maker/tool/releases/download/v1/a.onnx")
    assert looked(hub, model, github=hub.url).models[0].bytes == len(DATA)


def test_a_page_a_closed_door_and_a_private_address_are_questions(hub: Hub, store: HttpsHost) -> None:
    store.pages |= {"/page": Page(b"<html>", type="text/html"), "/closed": Page(status=403)}
    paths = ("page", "closed", "none")
    result = looked(hub, *(named(url=f"{store.url}/{path}") for path in paths), private_addresses=True)
    assert [word in item.question for word, item in zip(("web page", "403", "no file"), result.questions, strict=True)] == [
        True
    ] * 3
    seen = len(store.seen.requests)
    (question,) = looked(hub, named(url=f"{store.url}/page")).questions
    assert "private network" in question.question and len(store.seen.requests) == seen


def test_a_host_that_is_down_names_the_way_without_it(hub: Hub) -> None:
    with pytest.raises(BackendUnreachableError) as caught:
        looked(hub, named(url="https://127.0.0.1:9/a"), private_addresses=True)
    assert "--offline" in caught.value.hint


# -- pickles ---------------------------------------------------------------------------------------------------------


def test_a_pickle_is_flagged_once_also_when_nothing_is_known_of_it(hub: Hub) -> None:
    assert [
        name for name in ("a.PTH", "x/b.ckpt", "c.safetensors", "d.gguf", "e.onnx", "f.sft", "g.bin") if is_pickle_name(name)
    ] == [
        "a.PTH",
        "x/b.ckpt",
        "g.bin",
    ]
    hub.put(REPO, "a.pth", DATA)
    lost = named("lost.pt", at("lost.pt"))
    result = looked(hub, named("a.pth", at("a.pth")), lost, named())
    assert [item.source for item in result.models] == [f"the drawing. {WARNING}"] * 2 + ["the drawing"]
    assert with_warning(result.models[0]) == result.models[0]
    assert with_warning(replace(lost, source="")).source == WARNING


def test_it_can_be_asked_from_many_threads_and_leaves_none_behind(hub: Hub) -> None:
    before = threading.active_count()
    hub_threads = {thread.name for thread in threading.enumerate()}
    looked(hub, *(named(f"{number}.safetensors") for number in range(20)))
    assert not [thread.name for thread in threading.enumerate() if thread.name not in hub_threads and "ryla" in thread.name]
    assert before and len([path for _, _, path in hub.seen.requests if path.startswith("/api/")]) == 1
