"""Make a gallery: the pictures and videos of a folder, and what made them, as one page that opens from disk.

Reads files and the journal, writes one HTML file. Starts no server, sends nothing, copies no picture.
"""

from __future__ import annotations

from .base import Collection, GalleryItem
from .page import page_of, save_page
from .reading import collect

__all__ = ["Collection", "GalleryItem", "collect", "page_of", "save_page"]
