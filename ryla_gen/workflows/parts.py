"""Define what requests and their parts have in common: numbers are given as numbers. Must not know a field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from .fields import explain

_NUMBERS = (int, float, int | None, float | None)


class StrictNumbers(BaseModel):
    """A model whose numbers are given as numbers."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_lookalikes(cls, value: Any, info: Any) -> Any:
        """Refuse what pydantic would quietly convert: True for 1, and "20" for 20."""
        field = cls.model_fields.get(info.field_name)
        if field is not None and field.annotation in _NUMBERS and isinstance(value, bool | str):
            raise PydanticCustomError("number_type", "Input should be a number, not {kind}", {"kind": type(value).__name__})
        return value


class Part(StrictNumbers):
    """Base of what a field holds that is more than one value, such as a LoRA with its strength."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True)

    if not TYPE_CHECKING:  # editors and checkers see the signature that pydantic derives from the fields

        def __init__(self, *given: Any, **data: Any) -> None:
            if len(given) > len(self._in_order):
                raise TypeError(f"{type(self).__name__} takes {len(self._in_order)} values without a name; {len(given)} were given")
            try:
                super().__init__(**dict(zip(self._in_order, given, strict=False)), **data)
            except ValidationError as error:
                raise explain(type(self), error) from None

        # Without this mark pydantic would call __init__ for a part of a request, and lose the place where it stands.
        __init__.__pydantic_base_init__ = True

    _in_order: ClassVar[tuple[str, ...]] = ()
    """Fields that may be given without their names."""
