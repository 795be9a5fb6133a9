"""Draws the house and a request's way as SVG, readable on light and dark ground. The floors come from ``tests/test_house.py``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent / "tests" / "test_house.py"
FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
STYLE = f"""
  .ground{{fill:#ffffff}}.floor{{fill:#f6f7f9}}.odd{{fill:#eef1f5}}.box{{fill:#ffffff;stroke:#c9ced6}}.lane{{fill:#f6f7f9;stroke:#dfe3e8}}
  .name,.big{{fill:#1d232b}}.small,.number{{fill:#5f6975}}
  .way{{fill:none;stroke:#4a6ee0;stroke-width:2}}.back{{fill:none;stroke:#2f9e6f;stroke-width:2}}
  .side{{fill:none;stroke:#8b93a0;stroke-width:1.5;stroke-dasharray:5 4}}.dot{{fill:#4a6ee0}}.digit{{fill:#ffffff;font-weight:600}}
  .tip{{fill:#4a6ee0}}.tipback{{fill:#2f9e6f}}.tipside{{fill:#8b93a0}}
  text{{font:13px {FONT}}}.small,.number{{font-size:12px}}.big{{font-weight:600;font-size:14px}}
  @media (prefers-color-scheme:dark){{.ground{{fill:#14181d}}.floor{{fill:#1a1f25}}.odd{{fill:#20262d}}
  .box{{fill:#262d35;stroke:#434d58}}
  .lane{{fill:#1a1f25;stroke:#323b45}}.name,.big{{fill:#eef1f4}}.small,.number{{fill:#9aa5b1}}}}
"""

WORDS = {
    10: "the command line",
    9: "work made of several jobs",
    8: "what a caller holds",
    7: "one job, and what is decided before it starts",
    6.5: "what it will cost",
    6: "where engines live; the Modal side",
    5.5: "events told to others; faces",
    5: "one workflow on one server; the journal",
    4.5: "graphs, LoRAs, running work",
    4: "ComfyUI's protocol; results; downloads",
    3: "requests and their graphs",
    2: "pictures, settings, budgets",
    1.5: "sync over async",
    1: "words that everybody uses",
}
"""What a floor is for; a floor without words shows its modules alone."""

ROW, LEFT, WIDTH, TOP = 36, 300, 860, 20
LETTER = 7.8
"""Pixels of a wide letter at 13 pixels."""


def floors() -> dict[float, list[str]]:
    """Return floor → modules as the test of the house holds them, the highest first, with the command line on top."""
    tree = ast.parse(HOUSE.read_text(encoding="utf-8"))
    value = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FLOORS"
    )
    found: dict[float, list[str]] = {10: ["ryla_gen_cli"]}
    for name, floor in ast.literal_eval(value).items():
        found.setdefault(floor, []).append(name)
    return {floor: sorted(found[floor]) for floor in sorted(found, reverse=True)}


def _svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    ground = f'<rect class="ground" width="{width}" height="{height}" rx="8"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", ground, *body, "</svg>"]) + "\n"


def house_picture() -> str:
    """Draw the floors, one row each; imports only run downwards."""
    rows = floors()
    body: list[str] = []
    y = TOP
    for number, (floor, names) in enumerate(rows.items()):
        lines = list(_lines(names))
        height = ROW * len(lines)
        body.append(f'<rect class="{"odd" if number % 2 else "floor"}" x="20" y="{y}" width="{WIDTH - 40}" height="{height}"/>')
        body.append(f'<text class="number" x="34" y="{y + 23}">{floor:g}</text>')
        body.append(f'<text class="small" x="66" y="{y + 23}">{escape(WORDS.get(floor, ""))}</text>')
        for line, found in enumerate(lines):
            x: float = LEFT + 60
            for name in found:
                wide = len(name) * LETTER + 18
                top = y + line * ROW
                body.append(f'<rect class="box" x="{x:.0f}" y="{top + 6}" width="{wide:.0f}" height="24" rx="4"/>')
                body.append(f'<text class="name" x="{x + 9:.0f}" y="{top + 23}">{escape(name)}</text>')
                x += wide + 8
        y += height
    return _svg(WIDTH, y + 20, "The house: a module imports only from floors below its own", body)


def _lines(names: Sequence[str]) -> Iterator[list[str]]:
    line: list[str] = []
    used = 0.0
    for name in names:
        wide = len(name) * LETTER + 26
        if line and used + wide > WIDTH - LEFT - 90:
            yield line
            line, used = [], 0.0
        line.append(name)
        used += wide
    yield line


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the way: a heading, and lines below it."""

    x: int
    y: int
    width: int
    title: str
    lines: tuple[str, ...] = ()
    step: str = ""

    @property
    def height(self) -> int:
        """Pixels, by the number of lines."""
        return 34 + 18 * len(self.lines)

    def drawn(self) -> Iterator[str]:
        """Yield its elements."""
        yield f'<rect class="box" x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6"/>'
        indent = 34 if self.step else 12
        if self.step:
            yield f'<circle class="dot" cx="{self.x + 18}" cy="{self.y + 18}" r="10"/>'
            yield f'<text class="digit" x="{self.x + 18}" y="{self.y + 23}" text-anchor="middle">{self.step}</text>'
        yield f'<text class="big" x="{self.x + indent}" y="{self.y + 23}">{escape(self.title)}</text>'
        for number, line in enumerate(self.lines):
            yield f'<text class="small" x="{self.x + 12}" y="{self.y + 42 + 18 * number}">{escape(line)}</text>'


CALLER = (
    Box(36, 62, 228, "the request", ("FluxDev(prompt=…): checked by", "pydantic; a missing seed is drawn"), "1"),
    Box(36, 158, 228, "the journal", ("the job is written down before", "anything is spent"), "2"),
    Box(36, 254, 228, "the backend", ("hands the job over; reads events", "while somebody watches"), "3"),
    Box(36, 350, 228, "the generation", ("outputs, seed, timings, cost,", "graph, warnings; journal updated"), "6"),
)
MIDDLE = (
    Box(316, 158, 228, "dict ryla-claims", ("job → call: a job runs once,", "however often it arrives")),
    Box(316, 254, 228, "the call, found by name", ("spawn, then get: the reply alone", "decides")),
    Box(316, 350, 228, "queue ryla-events", ("progress, previews, the end:", "losing one loses nothing")),
)
CONTAINER = (
    Box(596, 158, 228, "the worker", ("claims the job, hands the", "workflow to the engine"), "4"),
    Box(596, 254, 228, "the engine", ("uploads, builds and checks the", "graph, follows it, collects files"), "5"),
    Box(596, 350, 228, "ComfyUI", ("HTTP and one websocket;", "never polled")),
)
LANES = ((20, "your process"), (300, "Modal, by RPC"), (580, "GPU container"))


def way_picture() -> str:
    """Draw the way of a request to a GPU on Modal and back."""
    body = []
    for x, name in LANES:
        body.append(f'<rect class="lane" x="{x}" y="20" width="260" height="416" rx="8"/>')
        body.append(f'<text class="small" x="{x + 130}" y="44" text-anchor="middle">{escape(name)}</text>')
    for box in (*CALLER, *MIDDLE, *CONTAINER):
        body.extend(box.drawn())
    body += [
        _arrow("way", (150, 132), (150, 156)),
        _arrow("way", (150, 228), (150, 252)),
        _arrow("way", (264, 280), (314, 280)),
        _arrow("way", (544, 272), (570, 272), (570, 193), (594, 193)),
        _arrow("side", (596, 213), (546, 213)),
        _arrow("way", (710, 228), (710, 252)),
        _arrow("way", (690, 324), (690, 348)),
        _arrow("back", (730, 350), (730, 326)),
        _arrow("back", (596, 300), (546, 300)),
        _arrow("back", (316, 304), (290, 304), (290, 376), (266, 376)),
        _arrow("side", (596, 318), (570, 318), (570, 376), (546, 376)),
        _arrow("side", (316, 396), (302, 396), (302, 318), (266, 318)),
    ]
    notes = (
        ("way", "the request"),
        ("back", "the reply: plain data"),
        ("side", "claims and events"),
    )
    for number, (kind, text) in enumerate(notes):
        x = 40 + number * 220
        body.append(f'<path class="{kind}" d="M{x} 462H{x + 34}"/>')
        body.append(f'<text class="small" x="{x + 44}" y="466">{escape(text)}</text>')
    body.append(
        '<text class="small" x="40" y="494">With the emulator, or a ComfyUI server of your own, steps 4 and 5 run in your process: '
        "the same engine, the same code.</text>"
    )
    return _svg(860, 514, "A request's way: from the caller through Modal to ComfyUI and back", body)


def _arrow(kind: str, *points: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = points[-2:]
    tip = {"way": "tip", "back": "tipback", "side": "tipside"}[kind]
    if x0 == x1:
        up = -1 if y1 < y0 else 1
        corners = f"{x1 - 5},{y1 - 8 * up} {x1 + 5},{y1 - 8 * up} {x1},{y1}"
    else:
        left = -1 if x1 < x0 else 1
        corners = f"{x1 - 8 * left},{y1 - 5} {x1 - 8 * left},{y1 + 5} {x1},{y1}"
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    return f'<path class="{kind}" d="{path}"/><polygon class="{tip}" points="{corners}"/>'
