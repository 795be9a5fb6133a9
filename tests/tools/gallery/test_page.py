"""The page as a person uses it, in a real browser, from disk."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from ryla_gen import Client
from ryla_gen.history import History
from ryla_gen.tools.gallery import collect, save_page

from .conftest import JOB, SECONDS, emulate, noted

NASTY = (
    "</script><script>window.pwned = 1</script><!--<script>",
    '<img src=x onerror="window.pwned = 2"> \' " & &lt; \u2028 \\u003c',
    "javascript:window.pwned=3 @@data@@ @@script@@ $& ${1}",
    "x" * 10_240 + " \ud7ff end",
)
ODD = (
    'quo\'te "double".png',
    "#1 100% what?&a=b.png",
    "ünï 狐 ; $(id).png",
    "javascript:alert(1).png",
    "<b>&lt;.png",
    "\udcff.png",
)
COLOURS = ("#aa2222", "#22aa22", "#2222aa", "#aaaa22", "#22aaaa")


def made(folder: Path, files: dict[str, bytes], jobs: dict[int, dict[str, Any]] | None = None) -> Path:
    """A folder of files and its page."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with closing(History(folder.parent / "history.sqlite3")) as history:
        for number, values in (jobs or {}).items():
            history.record(JOB.format(number), backend="modal", workflow="flux", inputs={})
            history.update(JOB.format(number), state="succeeded", **values)
        return save_page(folder, collect(folder, history))


@pytest.fixture(scope="session")
def movie(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A video and an animated WebP of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RYLA_GEN_HOME", str(tmp_path_factory.mktemp("home")))
        with Client("emulator") as client:
            small = {"width": 256, "height": 256, "steps": 1, "length": 5}
            mp4, webp = (client.wan2(prompt="waves", format=kind, seed=3, **small) for kind in ("mp4", "webp"))
    return {"waves.mp4": mp4.output.data, "waves.webp": webp.output.data}


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Five pictures that differ in colour, seed, cost and time."""
    seeds, costs, times = (2**64 - 1, 9, 10, 2**53 + 1, 100), (0.5, 0.001, 2.0, None, 0.25), (3, 50, 1, 9, 120)
    files, jobs = {}, {}
    for number, colour in enumerate(COLOURS):
        workflow = "flux" if number < 2 else "flux_dev"
        inputs = {"prompt": f"picture {'abcde'[number]}", "steps": number + 1, "width": 512}
        note = noted(colour, workflow=workflow, inputs=inputs, seed=seeds[number], job=JOB.format(number))
        files[f"{'abcde'[number]}.png"] = note
        ends = {
            "started_at": "2026-01-01T00:00:00Z",
            "finished_at": f"2026-01-01T00:{times[number] // 60:02}:{times[number] % 60:02}Z",
        }
        jobs[number] = ends | ({} if costs[number] is None else {"cost_usd": costs[number]})
    return made(tmp_path / "pics", files, jobs)


def wait(browser: Chrome, what: Callable[[Chrome], Any]) -> Any:
    return WebDriverWait(browser, SECONDS, 0.02).until(what)


def opened(browser: Chrome, page: Path | str) -> None:
    browser.get(page if isinstance(page, str) else page.as_uri())
    wait(browser, lambda _: browser.find_element(By.ID, "summary").text)


def press(browser: Chrome, *keys: str) -> None:
    for key in keys:
        ActionChains(browser, duration=0).send_keys(key).perform()


def prompts(browser: Chrome) -> list[str]:
    return list(browser.execute_script("return [...document.querySelectorAll('.card .prompt')].map((item) => item.textContent)"))


def focused(browser: Chrome) -> str:
    return str(
        browser.execute_script(
            "return document.activeElement.closest('.card')?.querySelector('.prompt').textContent ?? document.activeElement.id"
        )
    )


def errors(browser: Chrome) -> list[str]:
    return [line["message"] for line in browser.get_log("browser")]


def requests(browser: Chrome) -> list[str]:
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    return [item["params"]["request"]["url"] for item in messages if item["method"] == "Network.requestWillBeSent"]


def css(browser: Chrome, selector: str, name: str) -> str:
    return str(
        browser.execute_script("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)
    )


def names(browser: Chrome) -> str:
    return "".join(text[-1] for text in prompts(browser))


def test_nothing_a_prompt_or_a_file_name_says_becomes_part_of_the_page(browser: Chrome, tmp_path: Path) -> None:
    files = {
        name: noted(colour, inputs={"prompt": text, "negative_prompt": text, "trigger": text}, workflow=text[:60])
        for name, colour, text in zip(ODD, (*COLOURS, "#000"), (*NASTY, *NASTY[:2]), strict=True)
    }
    page = made(tmp_path / "<i>odd #%41", files)
    opened(browser, page)
    seen = browser.execute_script("return [...document.querySelectorAll('.card img')].map((image) => image.src)")
    assert len(seen) == len(ODD)
    wait(
        browser,
        lambda _: browser.execute_script(
            "return [...document.images].every((image) => image.complete && image.naturalWidth === 48)"
        ),
    )
    assert browser.find_element(By.ID, "title").text == "<i>odd #%41"
    press(browser, Keys.ARROW_RIGHT, Keys.ENTER)
    shown = set()
    for _ in ODD:
        shown.add(browser.execute_script("return document.getElementById('prompt').textContent"))
        press(browser, Keys.ARROW_RIGHT)
    assert shown == set(NASTY), "every prompt stands there as it was given"
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return document.scripts.length") == 2
    assert errors(browser) == []
    assert [url for url in requests(browser) if not url.startswith((page.parent.as_uri(), "chrome:"))] == []


def test_the_pages_own_policy_stops_what_would_get_in(browser: Chrome, five: Path) -> None:
    opened(browser, five)
    browser.execute_script(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x.png onerror=\"window.pwned=1\"><img src=\"http://127.0.0.1:9/x.png\">')"
    )
    browser.execute_async_script("setTimeout(arguments[0])")
    wait(browser, lambda _: browser.execute_script("return document.images[document.images.length - 2].complete"))
    assert browser.execute_script("return window.pwned") is None
    said = " ".join(errors(browser))
    assert "127.0.0.1:9" in said and "Content Security Policy" in said


def test_filter_and_sort_show_what_is_asked_for(browser: Chrome, five: Path) -> None:
    opened(browser, five)
    assert browser.find_element(By.ID, "summary").text == "5 files · $2.75 · 3 min 3 s"
    orders = {}
    for key in ("cost", "time", "seed", "newest"):
        Select(browser.find_element(By.ID, "sort")).select_by_value(key)
        orders[key] = names(browser)
    assert (orders["cost"], orders["time"], orders["seed"]) == ("caebd", "ebdac", "bceda")
    assert sorted(orders["newest"]) == list("abcde")
    Select(browser.find_element(By.ID, "sort")).select_by_value("seed")
    Select(browser.find_element(By.ID, "workflow")).select_by_visible_text("flux")
    assert names(browser) == "ba"
    text = browser.find_element(By.ID, "text")
    text.send_keys("PICTURE 18446744073709551615")
    assert names(browser) == "a" and browser.find_element(By.ID, "summary").text.startswith("1 of 5")
    text.send_keys("0")
    assert names(browser) == "" and "Escape empties it" in browser.find_element(By.ID, "empty").text
    text.send_keys(Keys.ESCAPE)
    assert names(browser) == "ba"
    Select(browser.find_element(By.ID, "kind")).select_by_value("video")
    assert names(browser) == ""


def test_the_keyboard_alone_moves_opens_filters_and_compares(browser: Chrome, five: Path) -> None:
    opened(browser, five)
    Select(browser.find_element(By.ID, "sort")).select_by_value("seed")  # b c e d a
    browser.execute_script("document.activeElement.blur()")
    press(browser, Keys.ARROW_RIGHT)
    assert focused(browser) == "picture b"
    assert css(browser, ".card", "outlineStyle") == "solid", "the focus is visible"
    press(browser, Keys.END)
    assert focused(browser) == "picture a"
    press(browser, Keys.HOME, Keys.ARROW_LEFT, Keys.ARROW_RIGHT)
    assert focused(browser) == "picture c"
    press(browser, "c")
    assert browser.find_element(By.ID, "tray").is_displayed()
    press(browser, Keys.ENTER)
    assert browser.find_element(By.ID, "viewer").is_displayed() and browser.find_element(By.ID, "prompt").text == "picture c"
    press(browser, Keys.ARROW_RIGHT)
    assert browser.find_element(By.ID, "prompt").text == "picture e"
    press(browser, Keys.ESCAPE)
    assert not browser.find_element(By.ID, "viewer").is_displayed()
    wait(browser, lambda _: focused(browser) == "picture e")
    press(browser, "c")
    assert browser.find_element(By.ID, "comparison").is_displayed()
    both = browser.find_elements(By.CSS_SELECTOR, "#pair img")
    assert [image.get_attribute("alt") for image in both] == ["Picture by flux-dev: picture c", "Picture by flux-dev: picture e"]
    assert both[0].rect["y"] == both[1].rect["y"] and both[0].rect["x"] < both[1].rect["x"], "side by side"
    rows = {
        row.find_element(By.TAG_NAME, "th").text: [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in browser.find_elements(By.CSS_SELECTOR, "#differences tr")
    }
    assert rows["prompt"] == ["picture c", "picture e"] and rows["steps"] == ["3", "5"]
    assert "width" not in rows, "what is equal is left out"
    browser.find_element(By.ID, "all-fields").click()
    assert "width" in browser.find_element(By.ID, "differences").text
    press(browser, Keys.ESCAPE)
    assert not browser.find_element(By.ID, "comparison").is_displayed()
    press(browser, "/")
    assert focused(browser) == "text"
    press(browser, "c", Keys.ARROW_DOWN)
    assert focused(browser) == "picture b", "in the filter c is a letter, which every picture has"
    assert browser.find_element(By.ID, "text").get_attribute("value") == "c"


def test_command_and_python_are_copied_whole(browser: Chrome, tmp_path: Path) -> None:
    text = 'it\'s a "fox" & </script>\nin the snow'
    page = made(tmp_path / "pics", {"a.png": noted(inputs={"prompt": text, "steps": 9}, seed=2**63)})
    opened(browser, page)
    browser.find_element(By.CSS_SELECTOR, ".open").click()
    sheet = "Object.assign(document.createElement('textarea'), {id: 'paper'})"
    browser.execute_script(f"document.getElementById('viewer').append({sheet})")
    paper = browser.find_element(By.ID, "paper")
    copied = {}
    said = "return document.getElementById('said').textContent"  # by script: the driver gives no text of what has faded out again
    for what in ("command", "python", "prompt"):
        browser.find_element(By.ID, f"copy-{what}").click()
        wait(browser, lambda _, what=what: browser.execute_script(said) == f"{what.capitalize()} copied")
        paper.clear()
        paper.send_keys(Keys.CONTROL + "v")
        copied[what] = paper.get_attribute("value")
    assert copied["prompt"] == text
    assert copied["command"].startswith("ryla-gen run flux-dev $'it\\'s") and copied["command"].endswith(
        f"--steps 9 --seed {2**63}"
    )
    assert f"prompt={text!r}" in copied["python"] and f"seed={2**63}" in copied["python"]


def test_videos_load_when_they_come_near_and_stand_still_for_those_who_want_it(
    browser: Chrome, tmp_path: Path, movie: dict[str, bytes]
) -> None:
    files = {f"{number:03}.png": noted(inputs={"prompt": f"{number}"}) for number in range(90)}
    page = made(tmp_path / "pics", files | movie)
    emulate(browser, prefers_reduced_motion="reduce")
    opened(browser, page)
    press(browser, "/", *"waves")
    ready = "const one = document.querySelector('.card video'); return one.readyState >= 1 && one.videoWidth === 256 && one.paused"
    wait(browser, lambda _: browser.execute_script(ready))
    wait(browser, lambda _: browser.find_elements(By.CSS_SELECTOR, ".card canvas"))  # the moving picture's first frame
    assert len(browser.find_elements(By.CSS_SELECTOR, ".card .kind")) == 2
    press(browser, Keys.ESCAPE)
    wait(browser, lambda _: len(prompts(browser)) >= 60)
    Select(browser.find_element(By.ID, "kind")).select_by_value("video")
    browser.find_element(By.CSS_SELECTOR, ".card:has(video) .open").click()
    wait(browser, lambda _: browser.execute_script("return document.querySelector('#stage video')?.readyState >= 2"))
    assert browser.execute_script("return document.querySelector('#stage video').paused")
    assert errors(browser) == []


def test_two_thousand_pictures_are_made_as_they_are_looked_for(browser: Chrome, tmp_path: Path) -> None:
    picture = noted(inputs={"prompt": "one"})
    page = made(tmp_path / "pics", {"a.png": picture})
    text = page.read_text(encoding="utf-8")
    before = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert before is not None
    data = json.loads(before[1])
    data["items"] = [{**data["items"][0], "prompt": f"number {number}", "job": str(number)} for number in range(2000)]
    page.write_text(text.replace(before[1], json.dumps(data)), encoding="utf-8")
    opened(browser, page)
    assert 60 <= len(prompts(browser)) <= 240, "only what is near"
    press(browser, Keys.ARROW_RIGHT, Keys.END)
    assert focused(browser) == "number 1999" and len(prompts(browser)) == 2000
    press(browser, "/", *"1234")
    assert prompts(browser) == ["number 1234"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_by_day_and_by_night_also_on_a_phone(browser: Chrome, five: Path, scheme: str) -> None:
    emulate(browser, 360, prefers_color_scheme=scheme)
    opened(browser, five)
    ground = [int(part) for part in re.findall(r"\d+", css(browser, "body", "backgroundColor"))[:3]]
    assert (max(ground) < 60) == (scheme == "dark")
    for selector, behind in (("body", "body"), ("#summary", "body"), (".facts", ".card"), (".prompt", ".card")):
        assert contrast(css(browser, selector, "color"), css(browser, behind, "backgroundColor")) >= 4.5, selector
    fits = """return document.documentElement.scrollWidth <= 360 &&
        [...document.querySelectorAll('button, select, input')].every((item) => item.getBoundingClientRect().right <= 360)"""
    assert browser.execute_script(fits)
    for number in (0, 1):
        browser.find_elements(By.CSS_SELECTOR, ".mark")[number].click()
    assert browser.execute_script(fits)
    browser.find_element(By.ID, "tray-open").click()
    assert browser.execute_script(fits)
    one, two = (item.rect for item in browser.find_elements(By.CSS_SELECTOR, "#pair figure"))
    assert one["y"] == two["y"] and one["width"] > 150
    press(browser, Keys.ESCAPE)
    browser.find_element(By.CSS_SELECTOR, ".open").click()
    assert browser.execute_script(fits) and browser.find_element(By.ID, "copy-command").is_displayed()


def contrast(one: str, two: str) -> float:
    """Contrast of two colours (WCAG 2.2, 1.4.3)."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(two)))
    return (high + 0.05) / (low + 0.05)


def test_everything_that_can_be_used_has_a_name(browser: Chrome, five: Path) -> None:
    opened(browser, five)
    nameless = """return [...document.querySelectorAll('button, input, select, img, video, dialog')].filter((item) => !(
        item.getAttribute('aria-label') || item.alt || item.textContent.trim() || item.labels?.length ||
        item.getAttribute('aria-labelledby'))).map((item) => item.outerHTML)"""
    press(browser, Keys.ARROW_RIGHT, "c", Keys.ARROW_RIGHT, "c")
    assert browser.execute_script(nameless) == []
    press(browser, Keys.ESCAPE, Keys.ENTER)
    assert browser.execute_script(nameless) == []
    tabbable = "return [...document.querySelectorAll('#grid button')].filter((item) => item.tabIndex === 0).length"
    assert browser.execute_script(tabbable) == 2, "the tab key passes the grid in one card"


def test_a_file_that_is_gone_leaves_a_word_in_its_place(browser: Chrome, five: Path) -> None:
    (five.parent / "a.png").unlink()
    opened(browser, five)
    wait(browser, lambda _: browser.find_elements(By.CSS_SELECTOR, ".thumb.missing"))
    assert len(browser.find_elements(By.CSS_SELECTOR, ".thumb.missing")) == 1


def test_an_empty_page_says_how_to_fill_it(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, made(tmp_path / "pics", {"a.png": b"nothing"}))
    text = browser.find_element(By.ID, "empty").text
    assert "ryla-gen run flux-dev" in text and "1 file without" in text


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing of it."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def served(five: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=five.parent)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/gallery.html"
        server.shutdown()
        thread.join(SECONDS)


def test_the_page_moves_with_its_folder_and_is_served_as_well(browser: Chrome, five: Path, served: str, tmp_path: Path) -> None:
    opened(browser, served)
    every = "return [...document.images].every((image) => image.complete && image.naturalWidth === 48)"
    wait(browser, lambda _: browser.execute_script(every))
    shutil.move(five.parent, tmp_path / "elsewhere")
    opened(browser, tmp_path / "elsewhere/gallery.html")
    wait(browser, lambda _: browser.execute_script(every))
    assert str(five.parent) not in (tmp_path / "elsewhere/gallery.html").read_text(encoding="utf-8")


def test_the_policy_names_exactly_the_style_and_script_of_the_page(five: Path) -> None:
    text = five.read_text(encoding="utf-8")
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in text
    assert "http://" not in text and "https://" not in text


def test_a_picture_by_a_browser_is_a_picture(browser: Chrome, five: Path, tmp_path: Path) -> None:
    """The colours on the screen are those of the files: the page shows them, not only names them."""
    opened(browser, five)
    wait(browser, lambda _: browser.execute_script("return [...document.images].every((image) => image.complete)"))
    browser.save_screenshot(str(tmp_path / "shot.png"))
    with Image.open(tmp_path / "shot.png") as shot:
        colours = {colour for _, colour in shot.convert("RGB").getcolors(2**24) or ()}
    assert {tuple(bytes.fromhex(colour[1:])) for colour in COLOURS} <= colours
