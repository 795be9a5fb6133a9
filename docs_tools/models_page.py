"""The page about model files, from the table of weights: size, licence, who needs it. What nobody looked up is "not known"."""

from __future__ import annotations

from typing import Any

from ryla_gen.workflows.registry import BUILT_IN

from .asking import data
from .example_calls import hyphenate
from .workflow_pages import MARK, cell, commercial, size, use, ways

BFL = "https://github.com/black-forest-labs/flux/blob/main/model_licenses"
STABILITY = "https://github.com/Stability-AI/generative-models/blob/main/model_licenses"
HEAD = f"""{MARK}
# Models

The weights that the workflows need, with their licences. They lie on the Modal volume `ryla-models`, or in the `models` folder of
a ComfyUI of your own; never in an image, never in this package.

```sh
ryla-gen weights list flux-dev
```

<!-- not run: it copies gigabytes onto a Modal volume -->
```sh
ryla-gen weights sync flux-dev
ryla-gen weights verify flux-dev
ryla-gen weights prune --dry-run
```

`prune` shows and removes what [no lock and no workflow needs](deployment.md#free-what-nothing-needs).

Each file is taken from one repository, most at one commit, checked by size and SHA-256, written under a temporary name and renamed
last. Where no hash or no commit is known, it is *pending*: the first sync takes the hub's newest commit, records it and the hash on
the volume, says so, and every later sync and `verify` holds to them. `ryla-gen workflows list` says what is pending of all files.

## What is free for commercial use

Of the default models, as their makers state it. Read the licence before you rely on it: this is no legal advice.

A licence is about running the model, in a service or a product too; what it says of the pictures stands beside that.
FLUX.1 dev's, for one, claims no rights in them and lets you use them "for any purpose (including for commercial purposes)",
and allows running the model "for Non-Commercial Purposes" alone ([2b and 2d]({BFL}/LICENSE-FLUX1-dev)). The table is about
running it. SDXL Turbo's maker has [a research licence]({STABILITY}/LICENSE-SDXL-Turbo) of 2023 for it, without commercial
use, and its card refers to stability.ai/license, where the [Community License](https://stability.ai/news/license-update) is:
ask which one holds before you sell with it.

"""

VERDICTS = {
    "yes": "Free for commercial use with their defaults",
    "on conditions": "Free on the conditions below",
    "not verified": "Not verified for some default file",
    "no": "Not for commercial use",
}
"""Word for whether commercial use is allowed → how the list of these workflows begins."""


def models_page() -> str:
    """Return the page."""
    shown = {name: data("workflows", "show", hyphenate(name)) for name in BUILT_IN}
    users: dict[str, list[str]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, item in shown.items():
        for row in item["weights"]:
            key = f"{row['folder']}/{row['name']}"
            rows.setdefault(key, row)
            users.setdefault(key, []).append(hyphenate(name) + ("" if not row["only_with"] else "*"))
    lines = ["| workflow | commercial use | licences of the default files |", "|---|---|---|"]
    for name, item in shown.items():
        licences = sorted({row["licence"] or "not known" for row in item["weights"] if not row["only_with"]})
        said = cell("; ".join(licences)) or "those of the models that the graph names"
        lines.append(f"| [{hyphenate(name)}](workflows/{hyphenate(name)}.md) | {commercial(item)} | {said} |")
    lines += ["", *_verdicts(shown), ""]
    lines += ["## Files", "", "A star: only with some option; the workflow's page says which.", ""]
    titles = ("file", "size", "commercial use", "licence", "account needed", "pending", "from", "used by")
    lines += [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for key, row in sorted(rows.items()):
        lines.append(
            f"| `{key}` | {size(row)} | {use(row)} | {cell(row['licence'] or 'not known')} | {'yes' if row['gated'] else 'no'} "
            f"| {', '.join(row['pending']) or '–'} | {cell(row['repo'])} | {', '.join(users[key])} |"
        )
    lines += ["", '"Not verified": the licence was read in a list of others, not at its maker\'s.', "", *_packs()]
    return HEAD + "\n".join(lines) + "\n"


def _verdicts(shown: dict[str, dict[str, Any]]) -> list[str]:
    """Say in lists what the table says, and which conditions there are."""
    lines = []
    for word, text in VERDICTS.items():
        names = [f"`{hyphenate(name)}`" for name, item in shown.items() if commercial(item) == word]
        lines += [f"- {text}: {', '.join(names)}."] if names else []
    found = {row["licence"]: row["condition"] for item in shown.values() for row in item["weights"] if row["condition"]}
    lines += [f"- Condition of {licence}: {condition}." for licence, condition in sorted(found.items())]
    return [*lines, *_exceptions(shown)]


def _exceptions(shown: dict[str, dict[str, Any]]) -> list[str]:
    """Say which options need a file whose licence allows less than those of the workflow's defaults."""
    order = [*VERDICTS]
    lines = []
    for name, item in shown.items():
        found: dict[str, dict[str, Any]] = {}
        options = [(option, row) for row in item["weights"] for option in ways(item, row)]
        for option, row in options:
            if order.index(use(row)) > order.index(use(found[option]) if option in found else commercial(item)):
                found[option] = row
        lines += [f"- `{hyphenate(name)}` with {option}: {use(row)}, {row['licence']}." for option, row in found.items()]
    return ["", "With these options it is another answer:", "", *lines] if lines else []


def _packs() -> list[str]:
    from ryla_gen.locks.families import family_lock, node_packs
    from ryla_gen.names import CLASS_OF_FAMILY

    lines = ["## ComfyUI and node packs", "", "Pinned to a commit, in the lock of each family's image (`ryla-gen families`).", ""]
    lines += ["| repository | version | commit | licence | families |", "|---|---|---|---|---|"]
    locks = {family: family_lock(family) for family in CLASS_OF_FAMILY}
    for pack in dict.fromkeys([*(lock.comfyui for lock in locks.values()), *node_packs()]):
        families = ", ".join(family for family, lock in locks.items() if pack in (lock.comfyui, *lock.packs))
        name = f"[{pack.name}]({pack.repo})"
        lines.append(f"| {name} | {pack.version or '–'} | `{pack.commit[:12]}` | {pack.licence or 'not known'} | {families} |")
    return lines
