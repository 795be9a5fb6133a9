"""Name the values of a drawn node: which widget each entry of ``widgets_values`` belongs to. Must not follow a link.

The page shows a widget for every input of a plain type, in the order of the node's schema, and some of its own between
them: what happens to a seed after a run, the button of an upload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .page_inputs import AUDIO_CLASSES, AUDIO_PLAYER, CHOICES, MODEL_BUTTONS, MODEL_CLASSES, VIDEO_PLAYER
from .ui import Drawn

WIDGET_TYPES = frozenset({
    "INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "MARKDOWN", "TEXTAREA", "AUDIO_UI", "AUDIO_RECORD", "LOAD_3D",
    "LOAD_3D_ADVANCED", "PREVIEW_3D", "IMAGECOMPARE", "CURVE", "RANGE", "BOUNDING_BOX", "CHART", "GALLERIA", "PAINTER",
    "WEBCAM", "COLORS", "BOUNDING_BOXES",
})  # fmt: skip
"""Types for which the page has a widget; every other type is a socket."""
AFTER_RUN = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
"""Values of the widget that the page puts behind a seed."""
SEEDS = ("seed", "noise_seed")
"""Whole numbers that get that widget without asking for it."""
UPLOADS = ("image_upload", "animated_image_upload", "video_upload", "audio_upload")
BUTTONS = ("image", "video", "audio", "upload")
"""Values of an upload's button."""
SHOWN_ONLY = ("AUDIO_UI", "IMAGECOMPARE")
"""Types whose widgets the page does not save in the drawing, but writes into the graph."""
BUTTON = "BUTTON"
"""Our word for a button that the page saves and writes like a value."""
EMPTY: dict[str, Any] = {
    "STRING": "", "INT": 0, "FLOAT": 0.0, "BOOLEAN": False, "AUDIO_UI": "", "AUDIO_RECORD": "", "LOAD_3D": "", "PREVIEW_3D": "",
    "LOAD_3D_ADVANCED": "", "WEBCAM": "", "IMAGECOMPARE": ["", ""], "COLORS": [], "BOUNDING_BOXES": [],
}  # fmt: skip
"""Type → what its widget holds where neither file nor schema says anything."""
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
"""An enum whose choice brings inputs of its own, named ``enum.input``."""
Entry = tuple[str, Any, Mapping[str, Any]]
"""An input of a schema: name, type, configuration."""
_COMMENT = re.compile(r"/\*[\s\S]*?\*/|//.*")


def entries(schema: Mapping[str, Any]) -> list[Entry]:
    """List every input of a node class, in the page's order."""
    sections, order = schema.get("input") or {}, schema.get("input_order") or {}
    found: list[Entry] = []
    for section in ("required", "optional"):
        given = sections.get(section) or {}
        listed = [name for name in order.get(section) or () if name in given]
        found += [(name, *_parts(given[name])) for name in (*listed, *(name for name in given if name not in listed))]
    return found


def _parts(entry: Any) -> tuple[Any, Mapping[str, Any]]:
    """Type and configuration; custom nodes also write an input as ``[]``, which is a socket of any type."""
    if not isinstance(entry, Sequence) or not entry or not isinstance(entry[0], str | list):
        return "*", {}
    return entry[0], entry[1] if len(entry) > 1 and isinstance(entry[1], Mapping) else {}


def has_widget(kind: Any, config: Mapping[str, Any]) -> bool:
    """Whether the page shows a widget for an input."""
    if config.get("forceInput") or config.get("defaultInput"):
        return False
    if config.get("widgetType") or config.get("socketless"):
        return True
    return isinstance(kind, list) or kind in WIDGET_TYPES or kind == DYNAMIC


def options(kind: Any, config: Mapping[str, Any]) -> Sequence[Any] | None:
    """Return the choices of an enum, None for anything else."""
    if isinstance(kind, list):
        return kind
    if kind == DYNAMIC:
        return [item.get("key") for item in config.get("options") or () if isinstance(item, Mapping)]
    return list(config.get("options") or ()) if kind == "COMBO" else None


def named_values(node: Drawn, schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Map widgets' names to their values; widgets that the file has no value for get the schema's default.

    Without a schema the node's own list of widgets has to do, where it fits. None: it does not.
    """
    if isinstance(node.values, Mapping):
        known = {name for name, _, _ in entries(schema)} if schema else set(node.values)
        given = {name: value for name, value in node.values.items() if name in known}
        return {**_WidgetWalk(page_widgets(node.type, schema or {}), []).values_by_name(), **given}
    values = list(node.values) if isinstance(node.values, list) else []
    if schema is None:
        return _by_sockets(node, values)
    found = _WidgetWalk(page_widgets(node.type, schema), _without_sockets(schema, values)).values_by_name()
    return {**found, **_options(values)} if node.type == CHOICES else found


def page_widgets(class_type: str, schema: Mapping[str, Any]) -> list[Entry]:
    """List every widget that the page shows for a class, in its order, its own among them."""
    found: list[Entry] = []
    for name, kind, config in entries(schema):
        if has_widget(kind, config):
            if kind == "LOAD_3D" and name == "image" and any(other == "model_file" for other, _, _ in found):
                found += [(button, BUTTON, {"default": value}) for button, value in MODEL_BUTTONS.items()]
            found.append((name, kind, config))
    if class_type in AUDIO_CLASSES:
        found.append((AUDIO_PLAYER, "AUDIO_UI", {}))
    if class_type in MODEL_CLASSES:
        found.append(("image", "PREVIEW_3D", {}))
    return found


def with_page_inputs(class_type: str, schema: Mapping[str, Any], inputs: dict[str, Any]) -> None:
    """Set what the page works out from a node's other values when it writes the graph."""
    if class_type == CHOICES:
        chosen = inputs.setdefault("choice", "")
        listed = [value for name, value in inputs.items() if name.startswith("option")]
        inputs["index"] = listed.index(chosen) if chosen in listed else -1
    if class_type == "LoadAudio" and isinstance(inputs.get("audio"), str):
        folder, _, file = inputs["audio"].rpartition("/")
        # The page puts a random number behind it, so that a browser asks again; ours is always the same.
        inputs[AUDIO_PLAYER] = f"/api/view?filename={quote(file)}&type=input&subfolder={quote(folder)}&rand=0"
    if any(config.get("video_upload") for _, _, config in entries(schema)):
        inputs[VIDEO_PLAYER] = ""


def _options(values: list[Any]) -> dict[str, str]:
    """Return the typed-in options behind choice and index; the page always shows an empty one to type in."""
    found: list[str] = []
    for value in values[2:]:
        found.append(value if isinstance(value, str) else "")
        if not found[-1]:
            break
    if not found or found[-1]:
        found.append("")
    return {f"option{number}": text for number, text in enumerate(found, 1)}


def _without_sockets(schema: Mapping[str, Any], values: list[Any]) -> list[Any]:
    """Leave out the values that pages before 1.16 kept for inputs that are sockets only, where the file has exactly those."""
    kept: list[bool] = []
    for name, kind, config in entries(schema):
        forced = bool(config.get("forceInput"))
        if forced or has_widget(kind, config):
            drawn_anew = config.get("control_after_generate", kind == "INT" and name in SEEDS)
            kept += [not forced, True] if drawn_anew else [not forced]
    if len(kept) != len(values) or all(kept):
        return values
    return [value for value, keep in zip(values, kept, strict=True) if keep]


def _by_sockets(node: Drawn, values: list[Any]) -> dict[str, Any] | None:
    """Match values to the widgets that newer pages list among a node's inputs; this needs no schema of its class."""
    names = [socket.widget for socket in node.inputs if socket.widget]
    kept = [value for at, value in enumerate(values) if not (_is_word(values, at) and at and isinstance(values[at - 1], int))]
    fits = next((found for found in (values, kept) if len(found) == len(names)), None)
    return None if fits is None else dict(zip(names, fits, strict=True))


def _is_word(values: list[Any], at: int) -> bool:
    return at < len(values) and isinstance(values[at], str) and values[at] in AFTER_RUN


class _WidgetWalk:
    """One walk along a node's widgets and its values."""

    def __init__(self, widgets: list[Entry], values: list[Any]) -> None:
        self.widgets = widgets
        self.values = values
        self.at = 0
        self.found: dict[str, Any] = {}

    def values_by_name(self) -> dict[str, Any]:
        buttons = sum(kind == BUTTON for _, kind, _ in self.widgets)
        spare = len(self.values) - sum(kind not in SHOWN_ONLY for _, kind, _ in self.widgets) + buttons
        pressed = spare >= buttons  # files of other years have no values for the buttons
        spare -= buttons if pressed else 0
        for index, (name, kind, config) in enumerate(self.widgets):
            if kind in SHOWN_ONLY or (kind == BUTTON and not pressed):
                self.found[name] = _default(kind, config)
                continue
            self._take(name, kind, config)
            following = self.widgets[index + 1][1:] if index + 1 < len(self.widgets) else None
            if self._is_after_run(name, kind, config, following, spare) or (spare > 0 and self._is_button(config, following)):
                self.at += 1
                spare -= 1
        return self.found

    def _take(self, name: str, kind: Any, config: Mapping[str, Any]) -> None:
        value = self.values[self.at] if self.at < len(self.values) else None
        self.at += 1
        if value is None:
            value = _default(kind, config)
        if value is not None:
            self.found[name] = value
        if kind == DYNAMIC:
            self._take_choice(name, config, value)

    def _take_choice(self, name: str, config: Mapping[str, Any], chosen: Any) -> None:
        for item in config.get("options") or ():
            if isinstance(item, Mapping) and item.get("key") == chosen:
                inner = {"input": item.get("inputs") or {}}
                for part, kind, more in entries(inner):
                    if has_widget(kind, more) and name.count(".") < 8:  # a schema that contains itself ends here
                        self._take(f"{name}.{part}", kind, more)

    def _is_after_run(self, name: str, kind: Any, config: Mapping[str, Any], following: Any, spare: int) -> bool:
        old = spare > 0 and self.at < len(self.values) and isinstance(self.values[self.at], bool)  # files of early 2023
        if not (old or _is_word(self.values, self.at)):
            return False
        asked = config.get("control_after_generate")
        if asked is not None:
            return bool(asked)
        if kind != "INT" or name not in SEEDS:
            return False
        # Old files have no such value; then the word belongs to the enum behind, which lists it.
        return spare > 0 or following is None or self.values[self.at] not in (options(*following) or ())

    def _is_button(self, config: Mapping[str, Any], following: Any) -> bool:
        if not any(config.get(flag) for flag in UPLOADS) or self.at >= len(self.values) or self.values[self.at] not in BUTTONS:
            return False
        return following is None or self.values[self.at] not in (options(*following) or ())


def _default(kind: Any, config: Mapping[str, Any]) -> Any:
    if "default" in config:
        return config["default"]
    choices = options(kind, config)
    if choices:
        return choices[0]
    return EMPTY.get(kind) if isinstance(kind, str) else None


def prompts(schema: Mapping[str, Any]) -> Iterator[str]:
    """Name the texts in which the page draws one of several words: ``{red|blue}``."""
    for name, _, config in entries(schema):
        if config.get("dynamicPrompts"):
            yield name


def choose_wildcards(text: str) -> str:
    """Choose the first of the words in braces, where the page would draw one at random, and leave comments out."""
    text = _COMMENT.sub("", text)
    out: list[str] = []
    depth, skipping = 0, 0  # braces that are open, and how deep the one lies whose first word is over
    at = 0
    while at < len(text):
        sign = text[at]
        if sign == "\\" and text[at + 1 : at + 2] in ("{", "}", "|"):
            at += 1
            sign = text[at]
        elif sign == "{":
            depth += 1
            at += 1
            continue
        elif sign == "}" and depth:
            skipping = 0 if skipping == depth else skipping
            depth -= 1
            at += 1
            continue
        elif sign == "|" and depth:
            skipping = skipping or depth
            at += 1
            continue
        if not skipping:
            out.append(sign)
        at += 1
    return "".join(out)
