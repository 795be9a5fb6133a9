"""Find the trigger words that a LoRA's metadata names. What it finds is untrusted text: cleaned, cut, never run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .base import LISTED_NOTES, LISTED_WORDS, LONGEST_NOTE, LONGEST_WORD

PHRASES = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_words", "trigger_word", "trigger_phrase", "activation_text")
"""Metadata that says it in so many words: modelspec's field first, then what trainers and tools write."""
TAGS = "ss_tag_frequency"
"""Kohya's count of every tag, by training folder: ``{"10_ohwx woman": {"ohwx woman": 24, "smile": 7}}``."""
_REPEATS = re.compile(r"^\d+_")
"""A training folder's name begins with how often its pictures are repeated."""


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the trigger words that a LoRA's metadata names, the likeliest first; none when it does not say.

    A stated phrase counts before the tags of the training pictures: of those, the one that most pictures of a folder have.
    """
    stated = [word for name in PHRASES for word in _split(metadata.get(name, "")) if word.strip()]
    return _distinct(stated or _most_frequent(metadata.get(TAGS, "")))


def clean_words(words: Iterable[str]) -> tuple[str, ...]:
    """Clean words for showing and storing: on one line, without control characters, without repetition."""
    return _distinct(words)


def clean_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Clean sentences that quote a file's names."""
    return _distinct(notes, LONGEST_NOTE)[:LISTED_NOTES]


def _split(text: str) -> list[str]:
    """Return a phrase as it stands; a JSON list as its items."""
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else text
    except (ValueError, RecursionError):
        found = text
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else [str(found)]


def _most_frequent(text: str) -> list[str]:
    try:
        folders: Any = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return []
    return [_favourite(str(name), tags) for name, tags in folders.items()] if isinstance(folders, dict) else []


def _favourite(folder: str, tags: Any) -> str:
    """Return the most frequent tag of a folder; where there is none, the folder's name."""
    counted = {str(tag): count for tag, count in tags.items() if type(count) is int} if isinstance(tags, dict) else {}
    return max(counted, key=lambda tag: counted[tag]) if counted else _REPEATS.sub("", folder)


def _distinct(words: Iterable[str], longest: int = LONGEST_WORD) -> tuple[str, ...]:
    plain = (" ".join("".join(sign if sign.isprintable() else " " for sign in word).split())[:longest] for word in words)
    return tuple(dict.fromkeys(word for word in plain if word))[:LISTED_WORDS]
