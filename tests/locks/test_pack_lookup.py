"""Node classes find their packs: by real git at local mirrors, a real HTTP registry, and a node map of the same form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ryla_gen.errors import BackendUnreachableError, InvalidInputError, PackUnknownError
from ryla_gen.tools.locking.drawn_packs import ClassHint
from ryla_gen.tools.locking.manager_nodes import NodeMap, node_map, parse_node_map
from ryla_gen.tools.locking.pack_addresses import plain_repository, read_place
from ryla_gen.tools.locking.pack_lookup import HintedPack, PackAnswers, PackSources, find_packs
from ryla_gen.tools.locking.pack_registry import RegistryClient
from tests.locks.registry import Registry
from tests.remote.replaying import git, repository

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Mirror = Callable[..., str]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """Make a repository that git finds under an address at GitHub; its commit."""
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "https:file")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/github/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    (tmp_path / "github").mkdir()

    def make(name: str, tag: str = "", files: dict[str, str] | None = None) -> str:
        folder = tmp_path / "github" / name
        folder.mkdir(parents=True)
        return repository(folder, files or {"__init__.py": ""}, tag)

    return make


def newer(tmp_path: Path, name: str) -> str:
    """Commit once more; the commit."""
    folder = tmp_path / "github" / name
    git(folder, "commit", "-q", "--allow-empty", "-m", "newer")
    return git(folder, "rev-parse", "HEAD")


def look(registry: Registry | None, hint: ClassHint, kind: str = "Sharpen It", **more: object) -> PackAnswers:
    client = RegistryClient(registry.url) if registry else None
    return find_packs({kind: hint}, PackSources(registry=client, command="ryla-gen graph lock a.json", **more))  # type: ignore[arg-type]


def map_of(**classes: list[str]) -> NodeMap:
    return parse_node_map(
        {f"https://github.com/{name.replace('__', '/')}": [kinds, {}] for name, kinds in classes.items()}, "a map 1"
    )


def test_the_registrys_version_is_its_tags_commit(registry: Registry, mirror: Mirror, tmp_path: Path) -> None:
    commit = mirror("an-owner/Sharp", "v1.2.3")
    newer(tmp_path, "an-owner/Sharp")
    registry.put("sharp", "https://github.com/an-owner/Sharp", "1.2.3", license='{"text": "MIT License"}')
    answers = look(registry, ClassHint("sharp", "1.2.3"))
    (pack,) = answers.packs
    assert (pack.name, pack.repo, pack.commit) == ("Sharp", "https://github.com/an-owner/Sharp", commit)
    assert (pack.version, pack.registry, pack.licence, pack.nodes) == ("1.2.3", "sharp@1.2.3", "MIT License", ("Sharpen It",))
    assert pack.source == "the drawing's sharp 1.2.3, by the registry; tag v1.2.3" and answers.questions == ()


def test_a_tag_with_a_message_is_followed_to_its_commit(registry: Registry, mirror: Mirror, tmp_path: Path) -> None:
    commit = mirror("o/Sharp")
    git(tmp_path / "github" / "o/Sharp", "tag", "-a", "1.0.0", "-m", "a release")
    registry.put("sharp", "https://github.com/o/Sharp.git", "1.0.0")
    assert look(registry, ClassHint("sharp", "1.0.0")).packs[0].commit == commit


def test_a_version_without_a_tag_is_a_question_with_the_command(registry: Registry, mirror: Mirror) -> None:
    commit = mirror("o/Sharp")
    registry.put("sharp", "https://github.com/o/Sharp", "1.0.0")
    answers = look(registry, ClassHint("sharp", "1.0.0"))
    (asked,) = answers.questions
    assert answers.packs == () and (asked.kind, asked.subject) == ("pack", "Sharpen It")
    assert "has no tag for it" in asked.question and commit[:12] in asked.question
    assert asked.command == f"ryla-gen graph lock a.json --pack 'Sharpen It=o/Sharp@{commit}'"
    settled = look(registry, ClassHint("sharp", "1.0.0"), chosen={"Sharpen It": f"o/Sharp@{commit}"})
    assert settled.packs[0].commit == commit and settled.questions == (), "the command that it names settles it"


def test_two_tags_of_one_version_at_two_commits_are_a_question(registry: Registry, mirror: Mirror, tmp_path: Path) -> None:
    mirror("o/Sharp", "v1.0.0")
    newer(tmp_path, "o/Sharp")
    git(tmp_path / "github" / "o/Sharp", "tag", "1.0.0")
    registry.put("sharp", "https://github.com/o/Sharp", "1.0.0")
    assert "v1.0.0 and 1.0.0 at different commits" in look(registry, ClassHint("sharp", "1.0.0")).questions[0].question


def test_a_version_that_is_a_commit_is_that_commit_and_one_that_moves_is_the_newest(registry: Registry, mirror: Mirror) -> None:
    newest = mirror("o/Sharp")
    registry.put("sharp", "https://github.com/o/Sharp", "1.0.0")
    assert look(registry, ClassHint("sharp", COMMIT)).packs[0].commit == COMMIT
    (pack,) = look(registry, ClassHint("sharp", "nightly")).packs
    assert pack.commit == newest and pack.source.endswith("its newest commit when it was locked")
    assert look(registry, ClassHint("", newest[:9], "o/Sharp")).packs[0].commit == newest, "first digits of a commit"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "names no repository"),
        ("https://gist.github.com/o/1234", "is a single file"),
        ("https://github.com/o/Sharp/tree/main", "names more, or less, than a repository"),
        ("http://github.com/o/Sharp", "is no https://"),
        ("https://github.com/o/../Sharp", "is no plain address|names more"),
        ("https://user:word@github.com/o/Sharp", "is no https://"),
        ("https://github.com/o/two words", "is no https://"),
        ("--upload-pack=touch x", "is no https://"),
        ("https://github.com/o/nothing", "is no git repository that everybody may read"),
    ],
)
def test_an_address_of_the_registry_that_is_no_repository_is_a_question(
    address: str, words: str, registry: Registry, mirror: Mirror
) -> None:
    registry.put("sharp", address, "1.0.0")
    answers = look(registry, ClassHint("sharp", "1.0.0"))
    assert answers.packs == ()
    (asked,) = answers.questions
    assert re.search(words, asked.question) and "--pack 'Sharpen It=" in asked.command


@pytest.mark.parametrize("name", ["../../x", "a/..", "o/Sharp/..", "two words", "-o/x", "o/.git"])
def test_an_aux_id_that_is_no_repository_is_a_question(name: str) -> None:
    answers = look(None, ClassHint("", COMMIT, name))
    assert answers.packs == () and len(answers.questions) == 1


def test_ids_that_are_unknown_renamed_redirected_or_withdrawn_are_questions(registry: Registry, mirror: Mirror) -> None:
    registry.packs["old"] = {"id": "new", "repository": "https://github.com/o/Sharp", "status": "NodeStatusActive"}
    registry.moved["/nodes/gone"] = "/nodes/other"
    registry.put("bad", "https://github.com/o/Sharp", "1.0.0", status="NodeStatusBanned")
    words = {
        "old": "answers with 'new'",
        "gone": "sends /nodes/gone on",
        "bad": "withdrawn",
        "a b": "is no id",
        "no": "does not",
    }
    for name, told in words.items():
        assert told in look(registry, ClassHint(name, "1.0.0")).questions[0].question


def test_a_repository_that_the_drawing_names_is_used_where_the_registry_has_none(registry: Registry, mirror: Mirror) -> None:
    commit = mirror("o/Sharp")
    (pack,) = look(registry, ClassHint("unknown", commit, "o/Sharp")).packs
    assert (pack.repo, pack.commit, pack.source) == ("https://github.com/o/Sharp", commit, "the drawing's o/Sharp")


def test_offline_an_address_and_a_whole_commit_are_enough_and_nothing_less() -> None:
    assert look(None, ClassHint("sharp", COMMIT, "o/Sharp")).packs[0].commit == COMMIT
    assert look(None, ClassHint(), chosen={"Sharpen It": f"https://example.com/x/Sharp@{COMMIT}"}).packs[0].name == "Sharp"
    assert look(None, ClassHint("sharp", COMMIT), listed=map_of(o__Sharp=["Sharpen It"])).packs[0].commit == COMMIT
    (asked,) = look(None, ClassHint("sharp", "1.0.0", "o/Sharp")).questions
    assert "needs the network" in asked.question and asked.command.endswith("--pack 'Sharpen It=o/Sharp@COMMIT'")


def test_what_the_caller_chooses_is_pinned_or_refused(mirror: Mirror, registry: Registry, tmp_path: Path) -> None:
    first = mirror("o/Sharp", "v1.0.0")
    second = newer(tmp_path, "o/Sharp")
    for text, commit in [("o/Sharp", second), ("o/Sharp@v1.0.0", first), ("o/Sharp@1.0.0", first), ("o/Sharp@main", second)]:
        assert look(registry, ClassHint(), chosen={"Sharpen It": text}).packs[0].commit == commit, text
    assert registry.seen == [], "nobody else is asked"
    with pytest.raises(PackUnknownError, match="has no tag, branch or commit v9") as caught:
        look(registry, ClassHint(), chosen={"Sharpen It": "o/Sharp@v9"})
    assert "--pack 'Sharpen It=o/Sharp@COMMIT'" in caught.value.hint
    for text in ("o/Sharp@--upload-pack=x", "o/Sharp@a..b", "../x", "o/nothing", "https://gist.github.com/a/b"):
        with pytest.raises(PackUnknownError):
            look(registry, ClassHint(), chosen={"Sharpen It": text})


def test_a_choice_for_one_class_holds_for_the_others_of_its_pack(registry: Registry) -> None:
    classes = {"A": ClassHint("sharp", "1.0.0"), "B": ClassHint("sharp", "1.0.0"), "C": ClassHint()}
    listed = map_of(o__Sharp=["C"], p__Fork=["C"])
    sources = PackSources(chosen={"A": f"o/Sharp@{COMMIT}"}, registry=RegistryClient(registry.url), listed=listed)
    answers = find_packs(classes, sources)
    assert answers.questions == () and answers.packs[0].nodes == ("A", "B", "C")


def test_the_node_map_answers_alone_and_asks_where_it_has_several(registry: Registry, mirror: Mirror) -> None:
    commit = mirror("o/Sharp")
    (pack,) = look(registry, ClassHint(), listed=map_of(o__Sharp=["Sharpen It"])).packs
    assert pack.commit == commit and pack.source == "the node map of a map 1; its newest commit when it was locked"
    (asked,) = look(registry, ClassHint(), listed=map_of(o__Sharp=["Sharpen It"], p__Fork=["Sharpen It"])).questions
    assert "has o/Sharp, p/Fork for it" in asked.question
    taken = find_packs(
        {"Only": ClassHint(), "Both": ClassHint()},
        PackSources(registry=RegistryClient(registry.url), listed=map_of(o__Sharp=["Only", "Both"], p__Fork=["Both"])),
    )
    assert taken.packs[0].nodes == ("Only", "Both"), "a pack that is there anyway gives it"


def test_patterns_of_the_map_count_where_they_fix_an_end_of_the_name(mirror: Mirror, registry: Registry) -> None:
    mirror("o/Sharp")
    data = {
        "https://github.com/o/Sharp": [[], {"nodename_pattern": "It$"}],
        "https://github.com/o/Loose": [[], {"nodename_pattern": "x"}],
    }
    listed = parse_node_map(data | {"https://gist.github.com/a/b": [["Sharpen It"], {}]}, "a map 1")
    assert look(registry, ClassHint(), listed=listed).packs[0].name == "Sharp"
    assert "has o/Loose for it" in look(registry, ClassHint(), kind="axb", listed=listed).questions[0].question


def test_a_claim_of_the_registry_is_a_question_with_its_newest_commit(mirror: Mirror, registry: Registry) -> None:
    commit = mirror("o/Sharp")
    registry.put("sharp", "https://github.com/o/Sharp", "1.0.0")
    registry.claims["Sharpen It"] = "sharp"
    (asked,) = look(registry, ClassHint()).questions
    assert "claims the class" in asked.question and asked.command.endswith(f"o/Sharp@{commit}'")


def test_a_registry_that_is_down_slow_or_no_registry_is_told_as_that(registry: Registry) -> None:
    for status, words, told in [(503, None, "HTTP 503"), (200, b"<html>", "Expecting value"), (200, b"[]", "no JSON object")]:
        registry.knobs.status, registry.knobs.words = status, words
        with pytest.raises(BackendUnreachableError, match=told) as caught:
            look(registry, ClassHint("sharp", "1.0.0"))
        assert "--offline" in caught.value.hint and "--pack" in caught.value.hint
    registry.knobs.silent = True
    with pytest.raises(BackendUnreachableError, match="timed out"):
        RegistryClient(registry.url, seconds=0.2).pack("sharp")
    with pytest.raises(BackendUnreachableError, match="refused"):
        RegistryClient("http://127.0.0.1:9").pack("sharp")
    with pytest.raises(InvalidInputError):
        RegistryClient("file:///etc/passwd")


def test_two_commits_of_one_repository_are_a_question() -> None:
    classes = {"A": ClassHint("", "a" * 40, "o/Sharp"), "B": ClassHint("", "b" * 40, "o/Sharp")}
    answers = find_packs(classes)
    assert [item.nodes for item in answers.packs] == [("A",)] and "a ComfyUI has a pack once" in answers.questions[0].question


def test_two_packs_of_one_name_get_folders_of_their_own() -> None:
    classes = {
        "A": ClassHint("", COMMIT, "o/Sharp"),
        "B": ClassHint("", COMMIT, "p/sharp"),
        "C": ClassHint("", COMMIT, "p/ComfyUI"),
    }
    assert [item.name for item in find_packs(classes).packs] == ["Sharp", "sharp-p", "ComfyUI-p"]


def test_a_class_of_a_newer_comfyui_is_no_packs() -> None:
    (asked,) = look(None, ClassHint("comfy-core", "0.45.0")).questions
    assert asked.kind == "comfyui" and "0.45.0" in asked.question


def test_an_imported_file_pins_what_the_drawing_leaves_open(registry: Registry) -> None:
    registry.put("sharp", "https://github.com/o/Sharp", "1.0.0")
    hints = (HintedPack("https://github.com/o/Sharp", COMMIT),)
    for hint in (ClassHint("sharp", "nightly"), ClassHint("", "", "o/Sharp")):
        assert look(registry, hint, hints=hints).packs[0].commit == COMMIT
    assert look(None, ClassHint(), hints=hints, listed=map_of(o__Sharp=["Sharpen It"])).packs[0].commit == COMMIT


def test_a_production_git_speaks_https_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    repository(tmp_path / "o", {"a": ""})
    (asked,) = look(registry, ClassHint("", "", "o/x")).questions
    assert "'file' not allowed" in asked.question


def test_addresses_are_read_as_people_write_them() -> None:
    assert (
        plain_repository("git@github.com:o/Sharp.git")
        == plain_repository("https://github.com/o/Sharp/")
        == "https://github.com/o/Sharp"
    )
    assert read_place("https://example.com/a/b@v1").ref == "v1"


def test_the_real_node_map_is_read_where_it_is_installed() -> None:
    found = node_map()
    if found is None:
        pytest.skip("comfyui-manager is not installed")
    assert found.packs_of("IPAdapterAdvanced") == ("https://github.com/cubiq/ComfyUI_IPAdapter_plus",)


def test_a_repository_that_moved_is_named_with_where_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    repository(folder, {"a": ""})
    git(folder, "update-server-info")

    class Moved(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

        def do_GET(self) -> None:
            if not self.path.startswith("/old/"):
                super().do_GET()
                return
            self.send_response(301)
            self.send_header("Location", self.path.replace("/old/", "/new/.git/"))
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Moved, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "http")
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.http://127.0.0.1:{server.server_address[1]}/.insteadOf")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/o/")
        (asked,) = look(registry, ClassHint("", "", "o/old")).questions
        server.shutdown()
    assert "has moved to http://127.0.0.1" in asked.question and "/new" in asked.question
