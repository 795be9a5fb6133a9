"""Draw a graph as Mermaid text, which GitHub and many wikis show as a picture. Must escape everything it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .picture import Box, picture_of
from .reading import api_of

MOST_VALUES = 4
"""Values in a box: Mermaid's boxes are narrow, and grow fast."""


def draw_mermaid(graph: Any, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Draw a graph as Mermaid text.

    Args:
        graph: a graph in either format, a workflow, or the path of a file that holds one.
        schemas: node schemas, which tell what flows where; the packaged ones when absent.

    Raises:
        InvalidInputError: there is no graph in it.

    """
    picture = picture_of(api_of(graph, schemas), schemas)
    # Names of our own: an id of the graph may be a word of Mermaid, or hold one of its signs.
    names = {node_id: f"n{number}" for number, node_id in enumerate(picture.boxes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[box.id]}["{_label(box)}"]' for box in picture.boxes.values()]
    for edge in picture.edges:
        words = f'|"{_text(edge.type)}"|' if edge.type != "*" else ""
        lines.append(f"  {names[edge.source]} -->{words} {names[edge.target]}")
    colours: dict[str, list[str]] = {}
    for number, edge in enumerate(picture.edges):
        colours.setdefault(edge.colour, []).append(str(number))
    lines += [f"  linkStyle {','.join(numbers)} stroke:{colour}" for colour, numbers in colours.items()]
    return "\n".join(lines) + "\n"


def _label(box: Box) -> str:
    parts = [f"<b>{_text(box.class_type)}</b> {_text(box.id)}"]
    if box.title:
        parts.append(f"<i>{_text(box.title)}</i>")
    parts += [_text(f"{value.name}: {value.text}") for value in box.values[:MOST_VALUES]]
    hidden = box.hidden + max(0, len(box.values) - MOST_VALUES)
    return "<br/>".join([*parts, f"… {hidden} more"] if hidden else parts)


def _text(text: str) -> str:
    """Escape all but letters, digits and plain signs as Mermaid's number codes: quotes, tags and backticks have a meaning."""
    return "".join(sign if sign.isalnum() or sign in " .,:_-+/()…" else f"#{ord(sign)};" for sign in " ".join(text.split()))
