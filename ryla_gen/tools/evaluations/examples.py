"""Provide prompts for evaluations that name none of their own: a person in several scenes, so that faces can be compared."""

from __future__ import annotations

PROMPTS = (
    "a portrait of a woman in a red coat, city street at dusk",
    "a woman reading at a café window, morning light",
    "a woman hiking on a mountain ridge, clouds below",
    "a woman in a white laboratory coat, soft studio light",
    "a woman on a beach at sunset, wind in her hair",
)
"""Taken in turn, run by run."""
