"""Draws a graph as SVG that is readable on light and on dark ground. Escapes everything it is given; loads no font."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from .layout import Place, arrange
from .picture import Box, Edge, Picture, picture_of
from .reading import api_of

LETTER = 6.7
"""Pixels of an average letter at 12 pixels: of the widest common system font, so that no text leaves its box."""
LINE, HEAD, PADDING = 17.0, 26.0, 10.0
"""Pixels: a line of text, the head of a box, the room around."""
NARROWEST = 150.0
BOLD = 1.12
"""How much wider bold letters are."""
LONGEST_TIP = 2000
"""Characters of a value that show when the pointer rests on it."""
MARGIN = 16.0
CURVE = 28.0
"""Pixels that a line runs straight before it bends."""
STYLE = """
  .ground{fill:#ffffff}.box{fill:#f6f7f9;stroke:#c9ced6}.head{fill:#e7eaef}.class{fill:#1d232b;font-weight:600}
  .id,.title,.name{fill:#66707c}.value{fill:#1d232b}.port{fill:#3d4650}.edge{fill:none;stroke-width:2}
  text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
  @media (prefers-color-scheme:dark){.ground{fill:#14181d}.box{fill:#1f252c;stroke:#3c4650}.head{fill:#2b333c}
  .class,.value{fill:#eef1f4}.id,.title,.name{fill:#98a3af}.port{fill:#c7cfd8}}
"""
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML has no way to write."""


def draw_svg(graph: Any, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Draw a graph as SVG.

    Args:
        graph: a graph in either format, a workflow or its name, or the path of a file that holds one.
        schemas: node schemas, which tell what flows where; the packaged ones when absent.

    Raises:
        InvalidInputError: there is no graph in it.

    """
    return "\n".join(_Canvas(picture_of(api_of(graph, schemas), schemas)).lines()) + "\n"


class _Canvas:
    """One picture, its boxes placed."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.into: dict[str, list[Edge]] = {name: [] for name in picture.boxes}
        """Links that come into a box, one for each input."""
        self.out: dict[str, list[Edge]] = {name: [] for name in picture.boxes}
        """One of the links that leave a box by each slot."""
        for edge in sorted(picture.edges, key=lambda edge: edge.slot):
            if edge.slot not in [other.slot for other in self.out[edge.source]]:
                self.out[edge.source].append(edge)
        for edge in picture.edges:
            self.into[edge.target].append(edge)
        self.row = {(edge.target, edge.input): row for edges in self.into.values() for row, edge in enumerate(edges)}
        sizes = {box.id: self._size(box) for box in picture.boxes.values()}
        self.layout = arrange(sizes, [(edge.source, edge.target) for edge in picture.edges])

        self.right: dict[int, float] = {}
        """Column → where its widest box ends."""
        for place in self.layout.places.values():
            self.right[place.column] = max(self.right.get(place.column, 0.0), place.x + place.width)

    def lines(self) -> Iterator[str]:
        width, height = round(self.layout.width + 2 * MARGIN), round(self.layout.height + 2 * MARGIN)
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        yield f"<title>A graph of {len(self.picture.boxes)} nodes</title>"
        yield f"<style>{STYLE}</style>"
        yield f'<rect class="ground" width="{width}" height="{height}" rx="8"/>'
        yield f'<g transform="translate({MARGIN:g} {MARGIN:g})">'
        for edge in self.picture.edges:
            yield self._edge(edge)
        for box in self.picture.boxes.values():
            yield from self._box(box)
        yield "</g></svg>"

    def _ports(self, box: Box) -> int:
        return max(len(self.into[box.id]), len(self.out[box.id]))

    def _size(self, box: Box) -> tuple[float, float]:
        into, out = self.into[box.id], self.out[box.id]
        rows = self._ports(box) + len(box.values) + bool(box.hidden)
        lengths = [len(box.class_type) * BOLD + len(box.id) + 3, len(box.title)]
        lengths += [len(value.name) + len(value.text) + 4 for value in box.values]
        for row in range(self._ports(box)):
            left, right = into[row].input if row < len(into) else "", _word(out[row]) if row < len(out) else ""
            lengths.append(len(left) + len(right) + 3)
        return max(NARROWEST, max(lengths) * LETTER + 2 * PADDING), _head(box) + rows * LINE + (PADDING if rows else 0)

    def _y(self, box: Box, row: int) -> float:
        return self.layout.places[box.id].y + _head(box) + PADDING / 2 + (row + 0.5) * LINE

    def _edge(self, edge: Edge) -> str:
        """A line from port to port that passes columns where the layout left room for it."""
        boxes, places = self.picture.boxes, self.layout.places
        slot = [other.slot for other in self.out[edge.source]].index(edge.slot)
        row = self.row[edge.target, edge.input]
        at = (places[edge.source].x + places[edge.source].width, self._y(boxes[edge.source], slot))
        path = [f"M{at[0]:.1f} {at[1]:.1f}"]
        if (edge_of_column := self.right[places[edge.source].column]) > at[0]:  # bend beyond the wider boxes above and below
            at = (edge_of_column, at[1])
            path.append(f"H{at[0]:.1f}")
        for way in self.layout.ways.get((edge.source, edge.target), ()):
            y = way.y + way.height / 2 + (row % 4 - 1) * 4  # several links of one pair side by side
            path += [_bend(at, (way.x, y)), f"L{way.x + way.width:.1f} {y:.1f}"]
            at = (way.x + way.width, y)
        path.append(_bend(at, (places[edge.target].x, self._y(boxes[edge.target], row))))
        title = f"<title>{_text(f'{edge.type}: {edge.input}')}</title>"
        return f'<path class="edge" stroke="{edge.colour}" d="{" ".join(path)}">{title}</path>'

    def _box(self, box: Box) -> Iterator[str]:
        place = self.layout.places[box.id]
        left, right = place.x + PADDING, place.x + place.width - PADDING
        yield f"<g><title>{_text(f'{box.id} · {box.class_type}')}</title>"
        yield _frame(place, _head(box))
        yield _line("class", left, place.y + 17, box.class_type) + _line("id", right, place.y + 17, box.id, end=True)
        if box.title:
            yield _line("title", left, place.y + 34, box.title)
        for row, edge in enumerate(self.into[box.id]):
            yield _dot(edge, place.x, self._y(box, row)) + _line("port", left, self._y(box, row) + 4, edge.input)
        for row, edge in enumerate(self.out[box.id]):
            y = self._y(box, row)
            yield _dot(edge, place.x + place.width, y) + _line("port", right, y + 4, _word(edge), end=True)
        for row, value in enumerate(box.values, self._ports(box)):
            y = self._y(box, row) + 4
            text = _line("name", left, y, value.name) + _line("value", right, y, value.text, end=True)
            yield f"<g><title>{_text(f'{value.name}: {value.whole}'[:LONGEST_TIP])}</title>{text}</g>"
        if box.hidden:
            yield _line("name", left, self._y(box, self._ports(box) + len(box.values)) + 4, f"… {box.hidden} more")
        yield "</g>"


def _word(edge: Edge) -> str:
    return edge.type.lower() if edge.type != "*" else f"output {edge.slot}"


def _head(box: Box) -> float:
    return HEAD + (LINE if box.title else 0)


def _frame(place: Place, head: float) -> str:
    box = f'<rect class="box" x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="6"/>'
    corner = f"v{6 - head:g}a5.5 5.5 0 0 1 5.5-5.5h{place.width - 12:.1f}a5.5 5.5 0 0 1 5.5 5.5v{head - 6:g}z"
    return f'{box}<path class="head" d="M{place.x + 0.5:.1f} {place.y + head:.1f}{corner}"/>'


def _dot(edge: Edge, x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{edge.colour}"/>'


def _line(kind: str, x: float, y: float, text: str, *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{anchor}>{_text(text)}</text>'


def _text(text: str) -> str:
    return escape(_UNPRINTABLE.sub("\ufffd", text))


def _bend(at: tuple[float, float], to: tuple[float, float]) -> str:
    pull = max(CURVE, abs(to[0] - at[0]) / 2)
    return f"C{at[0] + pull:.1f} {at[1]:.1f} {to[0] - pull:.1f} {to[1]:.1f} {to[0]:.1f} {to[1]:.1f}"
