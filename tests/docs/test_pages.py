"""The pages are fresh, their links lead somewhere, and the site builds without a warning and without the network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs_tools.__main__ import DOCS, pages, stale, write
from docs_tools.markdown import anchors, dead_links, links
from docs_tools.regions import with_parts
from ryla_gen.workflows.registry import built_in_classes

ROOT = DOCS.parent


@pytest.mark.timeout(600)
def test_everything_that_is_generated_is_fresh() -> None:
    assert stale() == [], "write them anew: python -m docs_tools"


def test_a_page_that_was_changed_by_hand_is_stale_and_written_anew(tmp_path: Path) -> None:
    fresh = dict(pages())
    assert "docs/models.md" in write(tmp_path, fresh)
    docs = tmp_path / "docs"
    (docs / "workflows" / "gone.md").write_text("made by an earlier version", encoding="utf-8")
    (docs / "models.md").write_text(fresh["docs/models.md"] + "\nby hand\n", encoding="utf-8")
    (docs / "by_people.md").write_text("not generated", encoding="utf-8")
    assert write(tmp_path, fresh) == ["docs/models.md", "docs/workflows/gone.md"]
    assert (docs / "models.md").read_text(encoding="utf-8") == fresh["docs/models.md"]
    assert (docs / "by_people.md").exists()
    assert not (docs / "workflows" / "gone.md").exists()


def test_a_part_of_a_file_is_written_anew_and_the_rest_of_it_is_left_alone() -> None:
    text = "by hand\n  # begin generated: rows (so)\n  old\n  # end generated: rows\n"
    text += "<!-- begin generated: b -->\n<!-- end generated: b -->\n"
    made = with_parts(text, {"rows": "  new\n", "b": "| x |"})
    assert made.splitlines()[2] == "  new"
    assert made.splitlines()[5] == "| x |"
    assert with_parts(made, {"rows": "  old", "b": ""}) == text
    with pytest.raises(LookupError, match="'c'"):
        with_parts(text, {"c": ""})


def test_no_generated_page_speaks_of_this_machine() -> None:
    told = [str(ROOT), str(Path.home()), sys.prefix]
    pages = [path for path in DOCS.rglob("*") if path.suffix in (".md", ".svg")]
    assert [path.name for path in pages for text in told if len(text) > 5 and text in path.read_text(encoding="utf-8")] == []


def test_no_link_is_dead() -> None:
    assert dead_links(ROOT) == []


@pytest.mark.parametrize("field", ["fit", "aspect_ratio", "mask", "padding"])
def test_the_page_about_pictures_names_the_workflows_that_have_a_field(field: str) -> None:
    (row,) = re.findall(rf"^\| `{field}`[^|]*\|[^|]*\|(.*)\|$", (DOCS / "pictures.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == {cls.name for cls in built_in_classes() if field in cls.model_fields}


def test_dead_links_and_anchors_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        "# A b\n[x](docs/y.md) `[no](link.md)` [z](docs/z.md#there) [w](#a-b) [v](#not)", encoding="utf-8"
    )
    (tmp_path / "CONTRIBUTING.md").write_text("```\n[no](link.md)\n```\n![p](p.png)", encoding="utf-8")
    (tmp_path / "docs" / "z.md").write_text("## Here", encoding="utf-8")
    found = dead_links(tmp_path)
    assert [text.partition(": ")[2].split()[0] for text in found] == ["docs/y.md", "docs/z.md#there", "#not", "p.png"]


def test_anchors_are_those_of_a_code_host() -> None:
    text = "# A `b` and C!\n## invalid_input\n## Twice\n## Twice\n```\n# not me\n```\n## Wan2.1 – 14B"
    assert anchors(text) == {"a-b-and-c", "invalid_input", "twice", "twice-1", "wan21--14b"}
    assert list(links("[a](b.md#c) ![d](e.svg)")) == [(1, "b.md#c"), (1, "e.svg")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.timeout(900)  # whoever comes first builds it
def test_the_site_builds_strictly_and_fetches_nothing(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = re.compile(
        r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*rel=["']?(?:stylesheet|preconnect|preload)[^>]*href=["']?https?://"""
    )
    assert [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.timeout(900)
def test_every_link_of_the_site_leads_to_a_page_of_it(site: Path) -> None:
    dead = []
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for target in re.findall(r"""<(?:a|img)\s[^>]*(?:href|src)=["']?([^"'\s>]+)""", page.read_text(encoding="utf-8")):
            path = target.partition("#")[0].partition("?")[0]
            if re.match(r"[a-z]+:", target) or not path:
                continue
            file = (page.parent / path).resolve()
            if not (file / "index.html" if file.is_dir() else file).is_file():
                dead.append(f"{page.relative_to(site)}: {target}")
    assert dead == []


@pytest.mark.timeout(900)
def test_the_reference_unfolds_what_the_code_documents(site: Path) -> None:
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    assert 'id="ryla_gen.client.sync_client.Client.run"' in text
    assert "measure_consistency" in text
