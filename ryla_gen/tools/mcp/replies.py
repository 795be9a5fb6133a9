"""Write the answers of tools: facts as text and as structure, errors with code, message and hint. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mcp.types import CallToolResult, ContentBlock, TextContent

from ...errors import RylaGenError


def reply(facts: Mapping[str, Any], shown: Sequence[ContentBlock] = ()) -> CallToolResult:
    """Return facts, as text for models and as structure for programs, and what is shown besides."""
    text, plain = _plain(facts)
    return CallToolResult(content=[TextContent(type="text", text=text), *shown], structured_content=plain)


def failure(error: RylaGenError) -> CallToolResult:
    """Return an error as the tool's own, so that the agent can react to it."""
    return failed(error.to_data())


def failed(error: Mapping[str, Any]) -> CallToolResult:
    """Return an error that the journal has."""
    text, plain = _plain({key: error[key] for key in ("code", "message", "hint", "details") if error.get(key)})
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=plain, is_error=True)


def _plain(facts: Mapping[str, Any]) -> tuple[str, Any]:
    """Return facts as JSON, and read from it: what JSON does not have is written as text, and half characters are replaced."""
    text = json.dumps(dict(facts), ensure_ascii=False, default=str).encode("utf-8", "replace").decode()
    return text, json.loads(text)
