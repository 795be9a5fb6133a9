"""Graphs of one's own: the UI format converted, a graph drawn, its values listed and set, a workflow class written from it.

>>> from ryla_gen.graphs import draw_svg
>>> draw_svg("flux-dev")[:4]
'<svg'
"""

from .converting import Converted, convert
from .drawing import draw_svg
from .mermaid import draw_mermaid
from .reading import Found, read

__all__ = ["Converted", "Found", "convert", "draw_mermaid", "draw_svg", "read"]
