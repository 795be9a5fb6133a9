"""Name the inputs that ComfyUI's page writes into a graph although no ``/object_info`` lists them: players, buttons, options.

Servers accept them silently, and so does everything here.
"""

from __future__ import annotations

import re

AUDIO_PLAYER, VIDEO_PLAYER = "audioUI", "video-preview"
"""The players under nodes that load or save sound, and under those that load a video."""
AUDIO_CLASSES = frozenset({"LoadAudio", "SaveAudio", "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced", "PreviewAudio"})
"""Classes to which the page adds a player."""
MODEL_CLASSES = frozenset({"SaveGLB", "Preview3D"})
"""Classes to which the page adds a 3D view, named ``image``."""
MODEL_BUTTONS = {"upload 3d model": "upload3dmodel", "upload extra resources": "uploadExtraResources", "clear": "clear"}
"""Buttons above a 3D scene that is loaded from a file: name and value."""
CHOICES = "CustomCombo"
"""The class whose options are typed in on the page: ``index`` of the choice, and ``option1``, ``option2``, …"""
_OPTION = re.compile(r"index|option\d+")


def is_page_input(class_type: str, name: str) -> bool:
    """Whether the page writes this input for its own use, or for a class that takes inputs it does not list."""
    if class_type == CHOICES:
        return _OPTION.fullmatch(name) is not None
    if name == AUDIO_PLAYER:
        return class_type in AUDIO_CLASSES
    return name == VIDEO_PLAYER or name in MODEL_BUTTONS or (name == "image" and class_type in MODEL_CLASSES)
