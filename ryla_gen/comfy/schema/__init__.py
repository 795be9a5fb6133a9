"""Check a graph against a server's node schemas (``/object_info``), with the verdicts of one of ComfyUI's releases.

Pure: takes plain data, returns plain data. Knows no network, no workflow, no file system.
"""

from .base import (
    MODEL_SUFFIXES,
    NO_FILES,
    InputSpec,
    Schemas,
    UploadCheck,
    file_inputs,
    input_specs,
    is_link,
    readable_schemas,
    upload_inputs,
)
from .dynamic import choices_of, live_specs
from .judging import Verdict, validate
from .renaming import rename_classes
from .seen import converted_inputs, unknown_inputs
from .values import LONGEST_LISTED_ENUM, types_fit

__all__ = [
    "LONGEST_LISTED_ENUM",
    "MODEL_SUFFIXES",
    "NO_FILES",
    "InputSpec",
    "Schemas",
    "UploadCheck",
    "Verdict",
    "choices_of",
    "converted_inputs",
    "file_inputs",
    "input_specs",
    "is_link",
    "live_specs",
    "readable_schemas",
    "rename_classes",
    "types_fit",
    "unknown_inputs",
    "upload_inputs",
    "validate",
]
