"""Read a prompt: find what of it can be painted, and which words are left for the caption. Paints nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (0.84, 0.13, 0.11), "crimson": (0.70, 0.07, 0.16), "orange": (0.95, 0.50, 0.10), "yellow": (0.97, 0.82, 0.20),
    "gold": (0.87, 0.66, 0.20), "golden": (0.90, 0.69, 0.24), "green": (0.22, 0.56, 0.24), "teal": (0.08, 0.52, 0.54),
    "turquoise": (0.20, 0.74, 0.74), "cyan": (0.15, 0.78, 0.88), "blue": (0.16, 0.36, 0.80), "navy": (0.08, 0.13, 0.36),
    "purple": (0.48, 0.22, 0.62), "violet": (0.54, 0.32, 0.78), "magenta": (0.84, 0.16, 0.58), "pink": (0.95, 0.56, 0.68),
    "brown": (0.44, 0.28, 0.17), "blonde": (0.88, 0.72, 0.42), "blond": (0.88, 0.72, 0.42), "ginger": (0.80, 0.38, 0.14),
    "auburn": (0.55, 0.23, 0.13), "beige": (0.86, 0.79, 0.66), "white": (0.95, 0.95, 0.94), "black": (0.07, 0.07, 0.09),
    "grey": (0.50, 0.52, 0.55), "gray": (0.50, 0.52, 0.55), "silver": (0.74, 0.77, 0.81),
}  # fmt: skip
"""Colour words as RGB 0..1; hair colours among them."""

_NATURAL: dict[tuple[str, str], Colour] = {
    ("red", "hair"): (0.66, 0.20, 0.07), ("black", "hair"): (0.09, 0.07, 0.08), ("white", "hair"): (0.86, 0.85, 0.83),
    ("blue", "eyes"): (0.30, 0.52, 0.76), ("green", "eyes"): (0.30, 0.55, 0.32), ("blue", "sea"): (0.06, 0.30, 0.58),
}  # fmt: skip
"""What a colour word means for some things, where it is not the pure colour."""

PEOPLE: dict[str, str] = {
    "portrait": "person", "person": "person", "face": "person", "headshot": "person", "selfie": "person",
    "woman": "woman", "girl": "woman", "lady": "woman", "man": "man", "boy": "man", "guy": "man",
}  # fmt: skip
"""Words for a person whose portrait is painted."""

FIGURES: dict[str, str] = {
    **dict.fromkeys(PEOPLE, "person"), "lighthouse": "lighthouse", "house": "house", "cottage": "house", "cabin": "house",
    "hut": "house", "boat": "boat", "sailboat": "boat", "yacht": "boat",
}  # fmt: skip
"""Words for things that can be painted, and the silhouette that stands for them."""

PLACES: dict[str, str] = {
    "sea": "sea", "ocean": "sea", "coast": "sea", "wave": "sea", "mountain": "mountains", "peak": "mountains",
    "forest": "forest", "woods": "forest", "field": "field", "meadow": "field", "hill": "field", "grass": "field",
    "landscape": "field", "countryside": "field",
    "studio": "studio", "background": "studio", "backdrop": "studio",
}  # fmt: skip
"""Words for places, and the place that is painted for them."""

HOURS: dict[str, str] = {
    "dusk": "dusk", "sunset": "dusk", "twilight": "dusk", "evening": "dusk", "dawn": "dawn", "sunrise": "dawn",
    "morning": "dawn", "night": "night", "midnight": "night", "moonlight": "night", "moonlit": "night", "moon": "night",
    "starry": "night", "star": "night", "noon": "day", "midday": "day", "day": "day", "daylight": "day", "sunny": "day",
}  # fmt: skip

WEATHERS: dict[str, str] = {
    "rain": "rain", "rainy": "rain", "raining": "rain", "storm": "storm", "stormy": "storm", "snow": "snow", "snowy": "snow",
    "winter": "snow", "fog": "fog", "foggy": "fog", "mist": "fog", "misty": "fog", "cloudy": "cloudy", "overcast": "cloudy",
    "sun": "clear", "clear": "clear",
}  # fmt: skip

PARTS: dict[str, str] = {
    "hair": "hair", "haired": "hair", "eye": "eyes", "eyed": "eyes", "dress": "clothes", "coat": "clothes", "shirt": "clothes",
    "jacket": "clothes", "sweater": "clothes", "roof": "roof", "wall": "wall", "door": "door", "sail": "sail", "leaf": "leaves",
    "leaves": "leaves", "foliage": "leaves", "sky": "sky", "cloud": "sky", "sun": "sun", "moon": "moon",
}  # fmt: skip
"""Words for parts that take a colour of their own."""

_SKY = frozenset({"sky", "sun", "moon"})
"""Parts that every place out of doors has."""

PARTS_OF: dict[str, set[str]] = {
    "person": {"hair", "eyes", "clothes"}, "lighthouse": {"roof", "wall", "door"}, "house": {"roof", "wall", "door"},
    "boat": {"sail"}, "forest": {"leaves"},
}  # fmt: skip
"""The parts of each figure and place."""

_HOME = {"lighthouse": "sea", "boat": "sea", "house": "field", "person": "studio"}
"""Where a figure is when the prompt does not say."""

_FILLERS = frozenset({
    "a", "an", "the", "of", "at", "in", "on", "by", "with", "and", "over", "its", "her", "his", "is", "this", "that", "same",
    "plain", "photo", "photograph", "picture", "image", "light",
})  # fmt: skip
"""Words that ask for nothing that the picture could lack."""

_SMALL_WORDS = _FILLERS | frozenset({
    "i", "you", "he", "she", "it", "we", "they", "me", "him", "them", "my", "your", "our", "their", "who", "which", "what", "where",
    "these", "those", "there", "here", "some", "any", "each", "all", "one", "other", "another", "or", "but", "so", "as", "than",
    "if", "while", "when", "no", "not", "without", "to", "from", "into", "onto", "for", "about", "like", "up", "down", "out", "off",
    "through", "near", "under", "above", "behind", "between", "around", "before", "after", "against", "across", "along", "beside",
    "beyond", "below", "beneath", "among", "inside", "outside", "toward", "towards", "upon", "are", "was", "were", "be", "been",
    "being", "has", "have", "having", "do", "does", "can", "will", "would", "very", "more", "most", "too", "just", "only", "s", "t",
    "wearing", "shows", "showing", "make", "turn", "change", "add", "put", "give", "set", "let", "keep", "replace", "remove",
    "second", "first",
})  # fmt: skip
"""Words that say how others belong together, or what to do with them: a list of what is missing has none of these."""


@dataclass
class Scene:
    """The parts of a prompt that are painted."""

    hour: str = "day"
    """day, dusk, dawn or night."""
    weather: str = "clear"
    """clear, cloudy, rain, storm, snow or fog."""
    place: str = ""
    """A place of :data:`PLACES`; empty when the prompt names neither a place nor anything that would be at one."""
    figures: list[str] = field(default_factory=list)
    who: str = "person"
    """person, woman or man, for a portrait."""
    colours: dict[str, Colour] = field(default_factory=dict)
    """Colours by the figure, place or part they belong to."""
    accents: list[Colour] = field(default_factory=list)
    """Colours that belong to nothing that can be painted."""
    caption: str = ""
    """The phrases of the prompt that name anything else, in its own words."""
    asked: set[str] = field(default_factory=set)
    """Everything that the prompt names: places, figures, hours, weathers and parts of those, and its other words."""

    @property
    def is_outdoors(self) -> bool:
        """Whether there is a sky."""
        return self.place not in ("", "studio")

    def shows(self) -> set[str]:
        """Name everything that the painting shows."""
        shown = {self.hour, self.place, *self.figures}
        for name in (self.place, *self.figures):
            shown |= PARTS_OF.get(name, set())
        if "person" in self.figures:
            shown.add(self.who)
        if self.is_outdoors:
            shown |= {self.weather, "sky", "moon" if self.hour == "night" else "sun"}
        elif not self.place:
            shown.add("accent")
        return shown


def read(text: str) -> Scene:
    """Read a prompt phrase by phrase: note what can be painted, and keep the phrases that ask for more as the caption."""
    scene = Scene()
    phrases = [(phrase, _read_phrase(scene, phrase)) for phrase in _phrases(text)]
    _settle(scene)
    scene.asked = set().union(*(asked for _, asked in phrases))
    shown = scene.shows()
    scene.caption = ", ".join(phrase for phrase, asked in phrases if not asked <= shown)
    return scene


def _phrases(text: str) -> list[str]:
    """Split a text between commas and the like; a full stop ends a part only before a space, so not in "f/1.8"."""
    parts = re.split(r"[,;\r\n]+|[.!](?=\s|$)", text)
    return [" ".join(part.split()) for part in parts if part.strip()]


def _read_phrase(scene: Scene, phrase: str) -> set[str]:
    """Add what a phrase names to the scene, and return everything it asks for, in its own words where the painter knows none."""
    return set[str]().union(*(asked for _, asked in _read_words(scene, phrase)))


def _read_words(scene: Scene, phrase: str) -> Iterator[tuple[str, set[str]]]:
    """Add what each word of a phrase names to the scene; yield the word with what it asks for."""
    words = re.findall(r"depth of field|\w+", phrase.lower())
    for index, word in enumerate(words):
        if index and words[index - 1] in ("no", "without"):
            yield f"no {word}", {f"no {word}"}
        elif word in COLOURS:
            yield word, {_note_colour(scene, word, words[index + 1 : index + 4])}
        elif word not in _FILLERS:
            yield word, _note(scene, word)


def list_unpainted(text: str, *, edit: bool = False) -> list[str]:
    """List the words of a prompt that its painting does not show, each once, in lower case.

    Args:
        text: the prompt.
        edit: whether it changes a given picture: what the painter knows is then in the picture, or is painted into it.

    """
    scene = Scene()
    words = [found for phrase in _phrases(_NAMED.sub(" ", text)) for found in _read_words(scene, phrase)]
    _settle(scene)
    shown = scene.shows()
    missing = [word for word, asked in words if not (_is_known(word) if edit else asked <= shown)]
    return [word for word in dict.fromkeys(missing) if word not in _SMALL_WORDS and not word.isdecimal()]


_NAMED = re.compile(r"\bembedding:[^\s,:()<>]+|<[^<>]*>")
"""What a prompt says of files: an embedding, a LoRA in angle brackets."""


def _is_known(word: str) -> bool:
    """Whether the painter knows a word at all."""
    return word in COLOURS or any(singular(word) in table for table in (FIGURES, PLACES, PARTS, HOURS, WEATHERS))


def _note_colour(scene: Scene, word: str, after: list[str]) -> str:
    """Assign a colour to the next thing after it; return that thing, or ``accent`` where the painter knows none."""
    for raw in after:
        if raw in ("and", "with", "in", "on", "at", "of"):
            break
        following = singular(raw)
        owner = next((table[following] for table in (PARTS, FIGURES, PLACES) if following in table), None)
        if owner is not None:
            scene.colours.setdefault(owner, _NATURAL.get((word, owner), COLOURS[word]))
            return owner
    scene.accents.append(COLOURS[word])
    return "accent"


def singular(word: str) -> str:
    """Return the form of a word that the tables here have."""
    alone = word.removesuffix("s")
    return alone if any(alone in table for table in (FIGURES, PLACES, PARTS, HOURS, WEATHERS)) else word


def _note(scene: Scene, raw: str) -> set[str]:
    """Add what one word names to the scene."""
    word = singular(raw)
    asked: set[str] = set()
    if word in FIGURES:
        asked.add(FIGURES[word])
        if word != raw:
            asked.add("several")  # only one is painted: the caption says that more were asked for
        if FIGURES[word] not in scene.figures:
            scene.figures.append(FIGURES[word])
        if PEOPLE.get(word, "person") != "person":
            scene.who = PEOPLE[word]
            asked.add(scene.who)
    if word in PLACES:
        asked.add(PLACES[word])
        if scene.place in ("", "field"):  # any other word for a place overrides a field
            scene.place = PLACES[word]
    if word in HOURS:
        asked.add(HOURS[word])
        if scene.hour == "day" or HOURS[word] == "night":
            scene.hour = HOURS[word]
    if word in WEATHERS:
        asked.add(WEATHERS[word])
        scene.weather = WEATHERS[word] if scene.weather == "clear" else scene.weather
    if word in PARTS:
        asked.add(PARTS[word])
        if PARTS[word] in _SKY and not scene.place:
            scene.place = "field"
    return asked or {raw}


def _settle(scene: Scene) -> None:
    """Fill in what the prompt left open."""
    if not scene.figures and {"hair", "eyes"} & set(scene.colours):
        scene.figures.append("person")
    if "person" in scene.figures:  # a head in front of everything else would hide it
        scene.figures = ["person"]
    del scene.figures[2:]  # more figures would cover each other
    if scene.figures and (not scene.place or scene.figures[0] == "boat"):
        scene.place = _HOME[scene.figures[0]]
    if not scene.place and (scene.hour != "day" or scene.weather != "clear"):
        scene.place = "field"
