"""ComfyUI graphs: both file formats, conversion, inputs that can be set, drawings as Mermaid text. Knows no workflow and no server.

>>> from ryla_gen.graphs import draw_mermaid
>>> draw_mermaid({"1": {"class_type": "VAEDecode", "inputs": {}}}).splitlines()[0]
'flowchart LR'
"""

from .converting import Converted, convert
from .mermaid import draw_mermaid
from .reading import Found, read

__all__ = ["Converted", "Found", "convert", "draw_mermaid", "read"]
