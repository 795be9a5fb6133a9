"""Read ComfyUI graphs in both file formats, convert them, set their inputs, draw them as Mermaid text. Needs no server.

>>> from ryla_gen.graphs import draw_mermaid
>>> draw_mermaid({"1": {"class_type": "VAEDecode", "inputs": {}}}).splitlines()[0]
'flowchart LR'
"""

from .converting import Converted, convert
from .mermaid import draw_mermaid
from .reading import Found, read

__all__ = ["Converted", "Found", "convert", "draw_mermaid", "read"]
