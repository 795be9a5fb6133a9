"""Change a request whose presets (speed, model, aspect ratio) decide other fields: the new one fills in what the old one did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

PRESETS = frozenset({"speed", "model", "aspect_ratio"})
"""Fields that fill in others, such as the steps, where those are not given."""


def merged(cls: type[BaseModel], held: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request with others in their place.

    Where a preset is among them, what the request's own presets had filled in is left out: whoever asks for ``speed="lightning"``
    of a request with the usual fifty steps wants the four of lightning. A value of the user's own stays.

    Args:
        cls: the workflow.
        held: the fields of the request as it is.
        fields: what is changed.

    """
    if not PRESETS & fields.keys():
        return {**held, **fields}
    known = cls.model_fields
    given = {**fields, **held}
    basis = {
        name: given[name]
        for name, field in known.items()
        if (name in held and name in PRESETS) or (name in given and field.is_required())
    }
    try:
        usual = cls.model_validate(basis, context={"trusted": True})
    except ValidationError:
        return {**held, **fields}
    own = {name: value for name, value in held.items() if name in basis or getattr(usual, name, None) != value}
    return {**own, **fields}
