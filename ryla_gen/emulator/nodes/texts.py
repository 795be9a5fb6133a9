"""Emulate nodes that search and change texts."""

from __future__ import annotations

import json
import re
from typing import Any

from ..base import Context, NodeResult, node


@node("StringSubstring")
def string_substring(context: Context, string: str, start: int, end: int) -> NodeResult:
    """Return a part of a text."""
    return NodeResult((string[start:end],))


@node("StringContains")
def string_contains(context: Context, string: str, substring: str, case_sensitive: bool = True) -> NodeResult:
    """Return whether a text holds another."""
    found = substring in string if case_sensitive else substring.lower() in string.lower()
    return NodeResult((found,))


@node("StringCompare")
def string_compare(context: Context, string_a: str, string_b: str, mode: str, case_sensitive: bool = True) -> NodeResult:
    """Return whether a text equals another, or begins or ends with it."""
    one, other = (string_a, string_b) if case_sensitive else (string_a.lower(), string_b.lower())
    return NodeResult(({"Starts With": one.startswith(other), "Ends With": one.endswith(other)}.get(mode, one == other),))


@node("CaseConverter")
def case_converter(context: Context, string: str, mode: str) -> NodeResult:
    """Convert a text to small or capital letters."""
    changed = {"UPPERCASE": string.upper, "lowercase": string.lower, "Capitalize": string.capitalize, "Title Case": string.title}
    return NodeResult((changed.get(mode, lambda: string)(),))


@node("StringFormat")
def string_format(context: Context, f_string: str, values: dict[str, Any] | None = None, **_: Any) -> NodeResult:
    """Put values into the braces of a text; formats and attributes are left as they are written."""
    given = values or {}
    return NodeResult((re.sub(r"\{(\w+)\}", lambda found: str(given.get(found[1], found[0])), f_string),))


@node("JsonExtractString")
def json_extract_string(context: Context, json_string: str, key: str) -> NodeResult:
    """Find the value of a key in a JSON text; empty where there is none."""
    try:
        data = json.loads(json_string)
    except ValueError:
        return NodeResult(("",))
    value = data.get(key) if isinstance(data, dict) else None
    return NodeResult(("" if value is None else value if isinstance(value, str) else str(value),))


def _flags(case_insensitive: bool, multiline: bool, dotall: bool) -> re.RegexFlag:
    chosen = ((case_insensitive, re.IGNORECASE), (multiline, re.MULTILINE), (dotall, re.DOTALL))
    return re.RegexFlag(sum(flag for wanted, flag in chosen if wanted))


@node("RegexMatch")
def regex_match(
    context: Context, string: str, regex_pattern: str, case_insensitive: bool = True, multiline: bool = False, dotall: bool = False
) -> NodeResult:
    """Return whether a pattern is found."""
    try:
        return NodeResult((re.search(regex_pattern, string, _flags(case_insensitive, multiline, dotall)) is not None,))
    except re.error:
        return NodeResult((False,))


@node("RegexExtract")
def regex_extract(
    context: Context,
    string: str,
    regex_pattern: str,
    mode: str,
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
    group_index: int = 1,
) -> NodeResult:
    """Return what a pattern finds: whole matches or one of their groups, the first or all of them, a line each."""
    try:
        matches = list(re.finditer(regex_pattern, string, _flags(case_insensitive, multiline, dotall)))
    except re.error:
        return NodeResult(("",))
    if "Group" in mode:
        found = [match[group_index] or "" for match in matches if len(match.groups()) >= group_index]
    else:
        found = [match[0] for match in matches]
    return NodeResult(("\n".join(found if mode.startswith("All") else found[:1]),))


@node("RegexReplace")
def regex_replace(
    context: Context,
    string: str,
    regex_pattern: str,
    replace: str,
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
    count: int = 0,
) -> NodeResult:
    """Replace what a pattern finds in a text."""
    flags = _flags(case_insensitive, multiline, dotall)
    return NodeResult((re.sub(regex_pattern, replace, string, count=count, flags=flags),))
