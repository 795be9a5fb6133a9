"""Write and read the packet of XMP that says where a file comes from: its digital source type, and the program that made it.

Pure work on text. Foreign packets are kept as they are but for these two properties. Knows no file format.
Sources: XMP specification part 1 (packet, RDF), IPTC Photo Metadata Standard 2025.1 (``Iptc4xmpExt:DigitalSourceType``).
"""

from __future__ import annotations

import re
from html import unescape
from xml.sax.saxutils import escape

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC's vocabulary of digital source types; a term is this and its name."""
LIMIT_PACKET = 1024 * 1024
"""Largest packet that is read or added to: usual ones have a few kilobytes."""
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
_NAMES = 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
_END = "</rdf:RDF>"
_EMPTY = f'{_HEAD}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {_RDF}>{_END}</x:xmpmeta><?xpacket end="w"?>'
_TYPE, _TOOL = "Iptc4xmpExt:DigitalSourceType", "xmp:CreatorTool"


def packet(source_type: str, tool: str, old: bytes | None = None) -> bytes | None:
    """Return a packet with a digital source type; None where the old one is none that can be added to.

    Args:
        source_type: address of the term.
        tool: the program that made the file; the name in an old packet stays.
        old: the packet that the file has.
    """
    text = _decoded(_EMPTY.encode() if old is None else old)
    if text is None:
        return None
    if _value(text, _TYPE) == source_type:
        return old or text.encode()
    text = _without(text, _TYPE)
    named = "" if _value(text, _TOOL) is not None else f"<{_TOOL}>{escape(tool)}</{_TOOL}>"
    ours = f'<rdf:Description rdf:about="" {_NAMES}><{_TYPE}>{escape(source_type)}</{_TYPE}>{named}</rdf:Description>'
    before, _, after = text.rpartition(_END)
    return f"{before}{ours}{_END}{after}".encode()


def _decoded(data: bytes) -> str | None:
    """Return a packet's text; None for one that is too large, in another coding, or without RDF under its usual name."""
    try:
        text = data.decode() if len(data) <= LIMIT_PACKET else ""
    except UnicodeDecodeError:
        return None
    # No tag has another one in it, and its length is bounded: a packet of beginnings alone would take minutes.
    return re.sub(r"<rdf:RDF([^<>]{0,9999})/>", rf"<rdf:RDF\1>{_END}", text) if "rdf:RDF" in text else None


def _patterns(name: str) -> tuple[str, str, str]:
    """Return a property's three forms in RDF: an attribute, an element with text, an element that names a resource."""
    # Lengths are bounded, so that no foreign packet takes long.
    return (
        rf'(?<=\s){name}\s{{0,9}}=\s{{0,9}}(?:"([^"]{{0,500}})"|\'([^\']{{0,500}})\')',
        rf"<{name}(?:\s[^<>]{{0,500}})?(?<!/)>([^<]{{0,1000}})</{name}\s{{0,9}}>",
        rf'<{name}\s[^<>]{{0,500}}rdf:resource\s{{0,9}}=\s{{0,9}}"([^"<>]{{0,500}})"[^<>]{{0,500}}(?:/>|>\s{{0,99}}</{name}\s{{0,9}}>)',
    )


def _value(text: str, name: str) -> str | None:
    for pattern in reversed(_patterns(name)):
        if found := re.search(pattern, text):
            return unescape(next((group for group in found.groups() if group is not None), "")).strip()
    return None


def _without(text: str, name: str) -> str:
    for pattern in reversed(_patterns(name)):
        text = re.sub(pattern, "", text)
    return text


def read_packet(data: bytes | None) -> tuple[str | None, str | None]:
    """Return the digital source type that a packet names, and the program; None for what it does not say."""
    text = _decoded(data) if data else None
    return (None, None) if text is None else (_value(text, _TYPE), _value(text, _TOOL))
