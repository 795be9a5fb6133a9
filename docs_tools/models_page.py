"""The page about model files, from the table of weights: size, licence, who needs it. What nobody looked up is "not known"."""

from __future__ import annotations

from typing import Any

from ryla_gen.workflows.registry import BUILT_IN

from .asking import data
from .example_calls import hyphenate
from .workflow_pages import MARK, cell, commercial, size, use

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
```

Each file is taken from one repository, most at one commit, checked by size and SHA-256, written under a temporary name and renamed
last. Where no hash was published, the one of the first download is recorded and held to afterwards.

## What is free for commercial use

Of the default models, as their makers state it. Read the licence before you rely on it.

"""

COMMERCIAL = (
    "FLUX.1 dev is non-commercial, and so is everything made on top of it here. The InsightFace models that the face workflows",
    "need are for research only. FLUX.1 schnell, Wan2.1 and SeedVR2 are Apache-2.0.",
)


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
        lines.append(f"| [{hyphenate(name)}](workflows/{hyphenate(name)}.md) | {commercial(item['commercial_use'])} | {said} |")
    lines += ["", *COMMERCIAL, ""]
    lines += ["## Files", "", "A star: only with some option; the workflow's page says which.", ""]
    lines += ["| file | size | commercial use | licence | account needed | from | used by |", "|---|---|---|---|---|---|---|"]
    for key, row in sorted(rows.items()):
        lines.append(
            f"| `{key}` | {size(row)} | {use(row)} | {cell(row['licence'] or 'not known')} | {'yes' if row['gated'] else 'no'} "
            f"| {cell(row['repo'])} | {', '.join(users[key])} |"
        )
    lines += ["", '"Not verified": the licence was read in a list of others, not at its maker\'s.', "", *_packs()]
    return HEAD + "\n".join(lines) + "\n"


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
