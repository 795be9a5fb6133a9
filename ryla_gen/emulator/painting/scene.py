"""What a prompt asks for: place, hour, weather, subjects, colours, style. Words only; paints nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (0.84, 0.13, 0.11), "crimson": (0.70, 0.07, 0.16), "scarlet": (0.90, 0.15, 0.08), "orange": (0.95, 0.50, 0.10),
    "yellow": (0.97, 0.82, 0.20), "gold": (0.87, 0.66, 0.20), "golden": (0.90, 0.69, 0.24), "green": (0.22, 0.56, 0.24),
    "emerald": (0.06, 0.58, 0.38), "teal": (0.08, 0.52, 0.54), "turquoise": (0.20, 0.74, 0.74), "cyan": (0.15, 0.78, 0.88),
    "blue": (0.16, 0.36, 0.80), "navy": (0.08, 0.13, 0.36), "indigo": (0.25, 0.18, 0.56), "purple": (0.48, 0.22, 0.62),
    "violet": (0.54, 0.32, 0.78), "magenta": (0.84, 0.16, 0.58), "pink": (0.95, 0.56, 0.68), "brown": (0.44, 0.28, 0.17),
    "blonde": (0.88, 0.72, 0.42), "blond": (0.88, 0.72, 0.42), "ginger": (0.80, 0.38, 0.14), "auburn": (0.55, 0.23, 0.13),
    "beige": (0.86, 0.79, 0.66), "cream": (0.96, 0.92, 0.80), "white": (0.95, 0.95, 0.94), "black": (0.07, 0.07, 0.09),
    "grey": (0.50, 0.52, 0.55), "gray": (0.50, 0.52, 0.55), "silver": (0.74, 0.77, 0.81),
}  # fmt: skip
"""Colour words; hair colours among them."""

NATURAL: dict[tuple[str, str], Colour] = {
    ("red", "hair"): (0.66, 0.20, 0.07), ("red", "fox"): (0.83, 0.30, 0.07), ("black", "hair"): (0.09, 0.07, 0.08),
    ("white", "hair"): (0.86, 0.85, 0.83), ("grey", "hair"): (0.62, 0.62, 0.63), ("blue", "eyes"): (0.30, 0.52, 0.76),
    ("green", "eyes"): (0.30, 0.55, 0.32), ("brown", "eyes"): (0.38, 0.24, 0.13), ("green", "forest"): (0.16, 0.42, 0.18),
    ("green", "field"): (0.36, 0.60, 0.24), ("blue", "sea"): (0.06, 0.30, 0.58), ("blue", "lake"): (0.08, 0.34, 0.58),
    ("blue", "clouds"): (0.28, 0.54, 0.90), ("green", "leaves"): (0.24, 0.50, 0.20), ("black", "cat"): (0.11, 0.11, 0.13),
    ("orange", "cat"): (0.90, 0.54, 0.22), ("ginger", "cat"): (0.88, 0.50, 0.20), ("brown", "bear"): (0.45, 0.29, 0.18),
}  # fmt: skip
"""What a colour word means for some things, where it is not the pure colour."""

SUBJECTS: dict[str, str] = {
    "lighthouse": "lighthouse", "house": "house", "cottage": "house", "cabin": "house", "hut": "house", "barn": "house",
    "farmhouse": "house", "home": "house", "castle": "castle", "palace": "castle", "fortress": "castle", "tower": "castle",
    "temple": "castle", "church": "castle", "boat": "boat", "ship": "boat", "sailboat": "boat", "sailing": "boat",
    "yacht": "boat", "tree": "tree", "oak": "tree", "willow": "tree", "portrait": "person", "woman": "woman", "girl": "woman",
    "lady": "woman", "queen": "woman", "princess": "woman", "man": "man", "boy": "man", "guy": "man", "king": "man",
    "knight": "man", "wizard": "man", "astronaut": "astronaut", "cosmonaut": "astronaut", "face": "person", "person": "person",
    "selfie": "person", "headshot": "person", "model": "person", "character": "person", "child": "person", "elf": "woman",
    "fox": "fox", "cat": "cat", "kitten": "cat", "tiger": "tiger", "lion": "lion", "dog": "dog", "puppy": "dog",
    "corgi": "dog", "shiba": "fox", "wolf": "wolf", "husky": "wolf", "bear": "bear", "panda": "panda", "rabbit": "rabbit",
    "bunny": "rabbit", "hare": "rabbit", "mouse": "mouse", "squirrel": "fox", "owl": "owl", "raccoon": "wolf", "deer": "deer",
    "bird": "bird", "robin": "bird", "parrot": "bird", "eagle": "bird", "penguin": "penguin", "fish": "fish",
    "goldfish": "fish", "whale": "fish", "shark": "fish", "bowl": "bowl", "orange": "bowl", "apple": "bowl", "fruit": "bowl",
    "lemon": "bowl", "peach": "bowl", "cup": "cup", "mug": "cup", "coffee": "cup", "tea": "cup", "latte": "cup",
    "vase": "vase", "bouquet": "vase", "flower": "flower", "rose": "flower", "tulip": "flower", "sunflower": "flower",
    "daisy": "flower", "poppy": "flower", "lotus": "flower", "balloon": "balloon", "rocket": "rocket", "spaceship": "rocket",
    "car": "car", "taxi": "car", "truck": "car", "robot": "robot", "android": "robot", "snowman": "snowman",
    "campfire": "fire", "fire": "fire", "bonfire": "fire", "candle": "candle", "horse": "horse", "pony": "horse",
    "stallion": "horse", "mare": "horse", "unicorn": "horse", "sofa": "sofa", "couch": "sofa", "loveseat": "sofa",
    "chair": "chair", "armchair": "chair", "throne": "chair", "stool": "chair", "table": "table", "bed": "bed", "cube": "cube",
    "box": "cube", "sphere": "sphere", "ball": "sphere", "orb": "sphere", "pyramid": "pyramid",
    "train": "train", "locomotive": "train", "bridge": "bridge", "viaduct": "bridge", "people": "person", "bus": "car",
}  # fmt: skip
"""Words for things the painter can paint, and which figure stands for them."""

PLACES: dict[str, str] = {
    "sea": "sea", "ocean": "sea", "beach": "beach", "coast": "sea", "coastal": "sea", "shore": "beach", "island": "sea",
    "cliff": "sea", "harbor": "sea", "harbour": "sea", "wave": "sea", "mountain": "mountains", "alps": "mountains",
    "peak": "mountains", "valley": "mountains", "canyon": "desert", "landscape": "field", "forest": "forest",
    "wood": "forest", "jungle": "forest", "pine": "forest", "grove": "forest", "city": "city", "street": "city",
    "skyline": "city", "town": "city", "tokyo": "city", "york": "city", "skyscraper": "city", "alley": "city",
    "cyberpunk": "city", "desert": "desert", "dune": "desert", "sahara": "desert", "mars": "mars", "field": "field",
    "martian": "mars",     "lunar": "moon", "moonscape": "moon", "giza": "desert", "egypt": "desert",
    "meadow": "field", "hill": "field", "garden": "field", "farm": "field", "countryside": "field", "prairie": "field",
    "grass": "field", "lake": "lake", "river": "lake", "pond": "lake", "reflection": "lake", "space": "space",
    "galaxy": "space", "nebula": "space", "cosmos": "space", "planet": "space", "cosmic": "space", "universe": "space",
    "underwater": "underwater", "reef": "underwater", "coral": "underwater", "aquarium": "underwater", "table": "interior",
    "kitchen": "interior", "room": "interior", "interior": "interior", "still": "interior", "indoor": "interior",
    "desk": "interior", "bedroom": "room", "livingroom": "room",
    "studio": "studio", "aurora": "aurora", "cloud": "clouds", "clouds": "clouds", "sky": "clouds",
}  # fmt: skip

HOURS: dict[str, str] = {
    "dusk": "dusk", "sunset": "dusk", "twilight": "dusk", "evening": "dusk", "dawn": "dawn", "sunrise": "dawn",
    "morning": "dawn", "night": "night", "midnight": "night", "moonlight": "night", "moonlit": "night", "moon": "night",
    "starry": "night", "stars": "night", "neon": "night", "aurora": "night", "nocturnal": "night", "noon": "day",
    "midday": "day", "day": "day", "daylight": "day", "sunny": "day",
}  # fmt: skip

WEATHERS: dict[str, str] = {
    "rain": "rain", "rainy": "rain", "raining": "rain", "wet": "rain", "storm": "storm", "stormy": "storm", "thunder": "storm",
    "lightning": "storm", "snow": "snow", "snowy": "snow", "snowing": "snow", "winter": "snow", "frozen": "snow", "ice": "snow",
    "blizzard": "snow", "fog": "fog", "foggy": "fog", "mist": "fog", "misty": "fog", "haze": "fog", "hazy": "fog",
    "cloudy": "cloudy", "overcast": "cloudy",
}  # fmt: skip

SEASONS = {"autumn": "autumn", "fall": "autumn", "spring": "spring", "blossom": "spring", "cherry": "spring", "summer": "summer"}

STYLES: dict[str, str] = {
    "cinematic": "cinematic", "film": "cinematic", "watercolor": "watercolour", "watercolour": "watercolour",
    "sketch": "pencil", "pencil": "pencil", "drawing": "pencil", "monochrome": "grey", "noir": "grey", "sepia": "sepia",
    "vintage": "sepia", "retro": "sepia", "neon": "neon", "cyberpunk": "neon", "synthwave": "neon", "vaporwave": "neon",
    "pixel": "pixel", "oil": "oil", "impressionist": "oil", "painting": "oil", "anime": "vivid", "vibrant": "vivid",
    "colorful": "vivid", "colourful": "vivid", "pastel": "pastel", "soft": "pastel", "dreamy": "pastel", "dark": "dark",
    "moody": "dark", "gloomy": "dark", "bright": "bright",
}  # fmt: skip

TARGETS: dict[str, str] = {
    "hair": "hair", "haired": "hair", "roof": "roof", "eye": "eyes", "eyed": "eyes", "dress": "clothes", "coat": "clothes",
    "shirt": "clothes", "jacket": "clothes", "sweater": "clothes", "suit": "clothes", "hoodie": "clothes", "scarf": "clothes",
    "clothes": "clothes", "wall": "wall", "door": "door", "sail": "sail", "hat": "hat", "light": "light", "sun": "sun",
    "moon": "moon", "leaf": "leaves", "leaves": "leaves", "foliage": "leaves", "background": "background", "backdrop": "background",
    "petal": "flower", "water": "sea", "crown": "hat", "cap": "hat",
}  # fmt: skip
"""What a colour word may belong to, besides subjects and places."""

HOME = {
    "lighthouse": "sea", "boat": "sea", "house": "field", "castle": "mountains", "tree": "field", "fox": "forest",
    "wolf": "forest", "bear": "forest", "deer": "forest", "owl": "forest", "rabbit": "field", "penguin": "field",
    "fish": "underwater", "bowl": "interior", "cup": "interior", "vase": "interior", "candle": "interior", "flower": "field",
    "balloon": "mountains", "rocket": "space", "astronaut": "space", "car": "city", "robot": "studio", "snowman": "field",
    "fire": "forest", "person": "studio", "woman": "studio", "man": "studio", "cat": "interior", "dog": "field",
    "horse": "field", "sofa": "room", "chair": "room", "table": "room", "bed": "room",
    "cube": "studio", "sphere": "studio",
    "pyramid": "desert", "train": "field", "bridge": "lake",
    "bird": "forest", "lion": "desert", "tiger": "forest", "panda": "forest", "mouse": "field",
}  # fmt: skip
"""Where a subject is when the prompt does not say."""

_SNOW_SUBJECTS = {"snowman", "penguin"}
PEOPLE = {"person", "woman", "man", "astronaut"}
"""Figures that are painted as portraits."""
_COUNT_ENDS = {
    ",",
    ".",
    ";",
    "story",
    "storey",
    "with",
    "on",
    "over",
    "in",
    "at",
    "and",
    "under",
    "near",
    "above",
    "a",
    "an",
    "the",
}
"""Words that a number does not reach across."""
_FURNITURE = {"sofa", "chair", "table", "bed"}
_NUMBERS = {
    "two": 2, "pair": 2, "couple": 2, "twin": 2, "three": 3, "trio": 3, "four": 4, "five": 5, "six": 6, "seven": 6, "eight": 6,
    "dozen": 6, "several": 4, "some": 3, "few": 3, "many": 6, "group": 4, "herd": 5, "flock": 5, "pack": 4, "fleet": 4,
    "crowd": 6, "row": 4,
}  # fmt: skip
"""How many figures are painted; six are as many as can be told apart."""
_MOST = 6
_HERDS = {
    "fox", "cat", "dog", "wolf", "tiger", "lion", "bear", "panda", "rabbit", "mouse", "deer", "owl", "bird", "penguin", "fish",
    "boat", "balloon", "car", "horse", "chair", "cube", "sphere", "pyramid", "robot", "rocket", "person", "woman", "man", "cup",
}  # fmt: skip
"""Figures of which a plain plural means some."""
_IRREGULAR = {"men": "man", "women": "woman", "children": "child", "mice": "mouse", "boxes": "box"}
_FRUITS = ("orange", "apple", "lemon", "peach")


@dataclass
class Scene:
    """A prompt, understood as far as the painter can."""

    hour: str = "day"
    weather: str = "clear"
    season: str = "summer"
    place: str = ""
    subjects: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """How many of a subject, where it is more than one."""
    places: list[str] = field(default_factory=list)
    """Every place named, for a lake that lies in mountains and a forest."""
    words: list[str] = field(default_factory=list)
    """The words behind the subjects, for details such as sunflower or lemon."""
    colours: dict[str, Colour] = field(default_factory=dict)
    """Colours by what they belong to."""
    accents: list[Colour] = field(default_factory=list)
    """Colours that belong to nothing in particular."""
    styles: list[str] = field(default_factory=list)
    said: frozenset[str] = frozenset()
    """Every word of the prompt, for details such as a beard."""

    @property
    def is_plain(self) -> bool:
        """Whether a thing stands before one even colour, which the prompt names."""
        return self.place == "studio" and "background" in self.colours and not PEOPLE & set(self.subjects[:1])

    @property
    def is_abstract(self) -> bool:
        """Whether nothing paintable was found."""
        return not self.place and not self.subjects


def tokens_of(text: str) -> list[str]:
    """Words and commas of a text, lower case, simple plurals made singular."""
    return [_singular(token) for token in _raw(text)]


def _raw(text: str) -> list[str]:
    """Words, commas and small numbers; not those in "f/1.8", "85mm" or "4k"."""
    return re.findall(r"[a-z]+|(?<![\w./])[2-9](?![\w./])|[,.;]", text.lower().replace("living room", "livingroom"))


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    known = (SUBJECTS, PLACES, TARGETS, COLOURS, HOURS, WEATHERS)
    for ending, instead in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")):
        if word.endswith(ending) and any(word[: -len(ending)] + instead in table for table in known):
            if any(word in table for table in known):
                return word
            return word[: -len(ending)] + instead
    return word


def read(text: str) -> Scene:
    """Understand a prompt."""
    scene = Scene()
    tokens = tokens_of(text)
    scene.said = frozenset(tokens)
    scene.counts = _counts(_raw(text), tokens)
    owners = _owned_colours(tokens, scene)
    for index, token in enumerate(tokens):
        if index > 0 and tokens[index - 1] in ("no", "without"):
            continue
        if token in ("bed", "train") and index > 0 and tokens[index - 1] in ("flower", "river", "sea"):
            continue
        _note(scene, token, index in owners)
    _find_worlds(tokens, scene)
    _settle(scene)
    return scene


def _counts(raw: list[str], tokens: list[str]) -> dict[str, int]:
    """How many of which figure: a number word counts the next thing, a plain plural of animals or boats means three."""
    found: dict[str, int] = {}
    number = 0
    for word, token in zip(raw, tokens, strict=True):
        if token in _COUNT_ENDS:
            number = 0
        elif token in _NUMBERS or word.isdigit():
            number = min(_MOST, int(word)) if word.isdigit() else _NUMBERS[token]
        elif token in SUBJECTS and token not in COLOURS:
            figure = SUBJECTS[token]
            plural = 3 if figure in _HERDS and (token != word or word == "people") else 1
            if max(number, plural) > 1:
                found.setdefault(figure, number or plural)
            number = 0
    return found


def _find_worlds(tokens: list[str], scene: Scene) -> None:
    """The moon as a place: "on the moon", "moon surface"; elsewhere it is a light in the sky."""
    text = " ".join(tokens)
    if re.search(r"\b(on|over|across) the (surface of the )?moon\b(?! light)|\bmoon (surface|landing|base|crater|landscape)", text):
        scene.place = "moon"


def _note(scene: Scene, token: str, is_colour: bool) -> None:
    if token in SUBJECTS and not is_colour and SUBJECTS[token] not in scene.subjects:
        scene.subjects.append(SUBJECTS[token])
    if token in SUBJECTS and not is_colour:
        scene.words.append(token)
    if token in PLACES:
        scene.places.append(PLACES[token])
    if token in PLACES and _is_better(scene.place, PLACES[token]):
        scene.place = PLACES[token]
    if token in HOURS and (scene.hour == "day" or HOURS[token] == "night"):
        scene.hour = HOURS[token]
    scene.weather = WEATHERS.get(token, scene.weather)
    scene.season = SEASONS.get(token, scene.season)
    if token in STYLES and STYLES[token] not in scene.styles:
        scene.styles.append(STYLES[token])


def _is_better(place: str, other: str) -> bool:
    """Whether a second place word says more than the first: a mountain lake is a lake, a forest meadow a forest."""
    if not place:
        return True
    if other == "lake":
        return place in ("mountains", "forest", "field", "clouds")
    if other in ("moon", "mars"):
        return place in ("field", "clouds", "desert", "space", "mountains")
    return place in ("field", "clouds", "interior") and other != "clouds"


def _owned_colours(tokens: list[str], scene: Scene) -> set[int]:
    """Give each colour word to the next thing after it; returns where colour words stand."""
    places: set[int] = set()
    for index, token in enumerate(tokens):
        if token not in COLOURS:
            continue
        after = tokens[index + 1 : index + 4]
        owner = _owner(after)
        if token in SUBJECTS and owner is None:
            continue  # "a bowl of oranges": the fruit, not the colour
        places.add(index)
        if owner is None:
            scene.accents.append(COLOURS[token])
        else:
            scene.colours.setdefault(owner, NATURAL.get((token, owner), COLOURS[token]))
    return places


def _owner(after: list[str]) -> str | None:
    for word in after:
        if word in (",", ".", ";", "and", "with", "in", "on", "at", "of"):
            return None
        for table in (TARGETS, SUBJECTS, PLACES):
            if word in table and word not in COLOURS:
                return table[word]
    return None


def _settle(scene: Scene) -> None:
    """Fill in what the prompt left open."""
    if len(scene.subjects) > 1:  # "portrait of a cat", "portrait of a woman": one figure
        is_form = not set(scene.words) & {"person", "child", "people"}
        scene.subjects = [s for s in scene.subjects if s != "person" or not (is_form or {"woman", "man"} & set(scene.subjects))]
    if len(scene.subjects) > 1 and "bowl" in scene.subjects and not {"bowl", "fruit"} & set(scene.words):
        scene.subjects.remove("bowl")
    if "vase" in scene.subjects and "flower" in scene.subjects:
        scene.subjects.remove("flower")
    _settle_place(scene)
    if _SNOW_SUBJECTS & set(scene.subjects):
        scene.weather = "snow"
    if scene.place == "space":
        scene.hour = "night"
    if scene.place == "moon":
        scene.hour, scene.weather = "day", "clear"


def _settle_place(scene: Scene) -> None:
    if "table" in scene.subjects and set(scene.subjects) - _FURNITURE:
        scene.subjects.remove("table")  # indoors there is one already
    if not scene.place and scene.subjects and ("background" in scene.colours or "backdrop" in scene.said):
        scene.place = "studio"
    if scene.place in ("", "interior") and _FURNITURE & set(scene.subjects):
        scene.place = "room"
    if not scene.place and scene.subjects:
        scene.place = HOME.get("bridge" if "bridge" in scene.subjects else scene.subjects[0], "field")
    if not scene.place and (scene.hour != "day" or scene.weather != "clear" or scene.season != "summer"):
        scene.place = "field"


def fruits(scene: Scene) -> list[str]:
    """Which fruit lies in a bowl."""
    return [word for word in scene.words if word in _FRUITS] or ["orange", "apple", "lemon"]
