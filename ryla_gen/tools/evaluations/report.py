"""Write an evaluation as one page of HTML: pictures, plots and style inside it, so that it loads nothing and can be sent on.

Without matplotlib (the extra ``plots``) the page has its tables and says which extra draws. Every text that is not ours (prompts,
errors) is escaped, and the page's own policy forbids it scripts and requests.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from ...errors import BackendNotConfiguredError
from ...support.counting import count_text
from ...support.numbers import format_number, format_seconds
from ...version import __version__
from .measures import Evaluation
from .plots import run_plot, share_plot, similarity_plot, time_plot
from .statistics import Spread
from .trials import Trial

STYLE = Path(__file__).with_name("style.css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Pictures from inside the page, its own style, and nothing else."""
MOST_PICTURES = 60
"""Pictures in the report: about a megabyte."""
TITLES = {"success-rate": "Success rate", "consistency": "Face consistency", "performance": "Performance"}
KINDS = {"warm": "warm", "cold": "cold", "bad": "failed"}
"""Colours of runs, and what they mean."""
COLUMNS = ("of", "runs", "mean", "p50", "p90", "p95", "p99", "max")
MOST_SHOWN = 40
"""Characters of a field's value."""


def report(found: Evaluation) -> str:
    """Return the page."""
    title = f"{TITLES[found.kind]} of {found.workflow.replace('_', '-')}"
    body = "\n".join(part for part in _parts(found, title) if part)
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
    style = STYLE.read_text(encoding="utf-8")
    top = f"<head>{head}<title>{escape(title)}</title>\n<style>\n{style}</style></head>"
    return f'<!doctype html>\n<html lang="en">{top}\n<body><main>\n{body}\n</main></body></html>\n'


def _parts(found: Evaluation, title: str) -> Iterator[str]:
    begun = found.began[:16].replace("T", " ")
    yield f"<h1>{escape(title)}</h1>"
    runs = f"{len(found.trials)} of {count_text(found.wanted, 'run')}"
    yield f'<p class="soft">on {escape(found.places)} · {runs} · begun {escape(begun)} UTC · ryla-gen {__version__}</p>'
    yield f'<div class="facts">{"".join(_facts(found))}</div>'
    yield from (f'<p class="remark">{escape(text)}</p>' for text in found.remarks())
    yield _plots(found)
    yield _times(found)
    yield _failures(found)
    yield _pictures(found)
    yield _settings(found)
    yield "<footer>Intervals are Wilson score intervals at 95 %. Times are as the caller saw them unless the GPU is named.</footer>"


def _facts(found: Evaluation) -> Iterator[str]:
    verdict = {True: "met", False: "missed", None: ""}[found.passed]
    share, like = found.share, found.similarity
    if found.kind == "consistency":
        wanted = f"mean similarity{f', target {found.target:g}' if found.target is not None else ''}"
        yield _fact(format_number(like.mean), wanted, verdict)
        yield _fact(f"{format_number(like.low)} – {format_number(like.high)}", "lowest – highest")
    if found.kind != "consistency":
        wanted = f"succeeded, target &gt; {found.target:.0%}" if found.target is not None else "succeeded"
        yield _fact(f"{share.rate:.1%}" if share.rate is not None else "–", wanted, verdict)
    if found.kind == "success-rate":
        yield _fact(f"{share.low:.1%} – {share.high:.1%}", "95 % interval")
    warm, cold = found.times(cold=False)["seconds"], found.times(cold=True)["seconds"]
    yield _fact(format_seconds(warm.p50), "warm, median")
    if found.kind == "performance":
        yield _fact(format_seconds(warm.p95), "warm, p95")
        yield _fact(format_seconds(cold.mean), "cold, mean")
        yield _fact(f"{found.per_minute:.1f}" if found.per_minute else "–", "files a minute")
    each = found.usd_per_file
    yield _fact(f"${each:.4f}" if each is not None else "–", f"per file, ${found.cost_usd:.4f} in all")


def _fact(value: str, what: str, verdict: str = "") -> str:
    return f'<div class="fact {verdict}"><b>{value}</b><span>{what}</span></div>'


def _plots(found: Evaluation) -> str:
    if not found.trials:
        return ""
    try:
        return f'<h2>Plots</h2><div class="plots">{"".join(_figures(found))}</div>'
    except BackendNotConfiguredError as error:
        return f'<p class="soft">{error.message} This page has none; for the next one: <code>{error.hint}</code></p>'


def _figures(found: Evaluation) -> Iterator[str]:
    if found.kind == "consistency":
        values = [trial.similarity for trial in found.trials]
        drawn = similarity_plot(values, found.similarity.mean, found.target)
        lines = [("mean", f"mean {format_number(found.similarity.mean)}")]
        lines += [("target", f"target {found.target:g}")] if found.target is not None else []
        yield _figure(f"Similarity with the reference · {_key(lines)}", drawn)
    elif found.kind == "success-rate" or found.codes:
        yield _figure("Success rate with its 95 % interval", share_plot(found.share, found.target))
    kinds = [(trial.seconds, "bad" if not trial.ok else "cold" if trial.cold else "warm") for trial in found.trials]
    there = {kind for _, kind in kinds}
    key = _key([(kind, words) for kind, words in KINDS.items() if kind in there])
    yield _figure(f"Seconds of each run · {key}", run_plot(kinds))
    warm = [trial.seconds for trial in found.trials if trial.ok and not trial.cold]
    if found.kind == "performance" and len(warm) > 1:
        yield _figure("Warm runs ready within so many seconds", time_plot(warm))


def _key(entries: Sequence[tuple[str, str]]) -> str:
    return " ".join(f'<span class="key"><i class="{kind}"></i>{words}</span>' for kind, words in entries)


def _figure(caption: str, drawn: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>"


def _times(found: Evaluation) -> str:
    rows = []
    for words, cold in (("warm", False), ("cold", True)):
        times = found.times(cold=cold)
        rows += [(f"{words}, in all", times["seconds"]), (f"{words}, on the GPU", times["running"])]
        rows += [("start of the server", times["cold_start"])] if times["cold_start"].count else []
        rows += found.parts().items() if cold else ()
    body = "".join(_time_row(words, spread) for words, spread in rows if spread.count)
    if not body:
        return ""
    heads = "".join(f"<th{' class=left' if not index else ''}>{name}</th>" for index, name in enumerate(COLUMNS))
    return f'<h2>Times</h2><div class="wide"><table><tr>{heads}</tr>{body}</table></div>'


def _time_row(words: str, spread: Spread) -> str:
    values = (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.high)
    cells = "".join(f"<td>{format_seconds(value)}</td>" for value in values)
    return f'<tr><td class="left">{words}</td><td>{spread.count}</td>{cells}</tr>'


def _failures(found: Evaluation) -> str:
    failed = [trial for trial in found.trials if not trial.ok]
    if not failed:
        return ""
    rows = "".join(
        f'<tr><td>{trial.index + 1}</td><td class="left bad">{escape(str(trial.code))}</td><td>{format_seconds(trial.seconds)}</td>'
        f'<td class="left words">{escape(trial.message or "")}</td></tr>'
        for trial in failed
    )
    heads = '<th>run</th><th class="left">code</th><th>after</th><th class="left">what it said</th>'
    return f'<h2>Failures</h2><div class="wide"><table class="stack"><tr>{heads}</tr>{rows}</table></div>'


def _pictures(found: Evaluation) -> str:
    shown = [trial for trial in found.trials if trial.picture is not None]
    if not shown:
        return ""
    cells = [_picture(found.reference, "the reference")] if found.reference else []
    cells += [_picture(trial.picture or b"", _caption(trial), trial.prompt) for trial in shown[:MOST_PICTURES]]
    more = f'<p class="soft">The first {MOST_PICTURES} of {len(shown)}.</p>' if len(shown) > MOST_PICTURES else ""
    return f'<h2>Pictures</h2><div class="pictures">{"".join(cells)}</div>{more}'


def _picture(data: bytes, caption: str, words: str = "") -> str:
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    told = escape(words or caption, quote=True)
    return f'<figure><img src="{source}" alt="{told}" title="{told}"><figcaption>{caption}</figcaption></figure>'


def _caption(trial: Trial) -> str:
    like = f"similarity {trial.similarity:.2f} · " if trial.similarity is not None else ""
    return f"{trial.index + 1} · {like}{trial.seconds:.1f} s<br>seed {trial.seed}"


def _settings(found: Evaluation) -> str:
    prompts: Sequence[str] = list(dict.fromkeys(trial.prompt for trial in found.trials if trial.prompt))
    rows = [("prompt", text) for text in prompts]
    rows += [(name, str(value)[:MOST_SHOWN]) for name, value in found.inputs.items() if value not in (None, "", [], ())]
    body = "".join(
        f'<tr><td class="left">{escape(name)}</td><td class="left words">{escape(value)}</td></tr>' for name, value in rows
    )
    return f'<details><summary>What was asked for</summary><div class="wide"><table>{body}</table></div></details>' if rows else ""
