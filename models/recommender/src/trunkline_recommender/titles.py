"""Invented titles and names: none is meant to be that of a real book or author."""

import numpy as np

GENRES = (
    "fantasy",
    "science fiction",
    "crime",
    "thriller",
    "romance",
    "historical fiction",
    "literary fiction",
    "horror",
    "young adult",
    "biography",
    "popular science",
    "travel",
)
TAGS = {
    "fantasy": ("dragons", "magic", "quest", "court intrigue"),
    "science fiction": ("space", "robots", "first contact", "dystopia"),
    "crime": ("detective", "small town", "cold case", "court intrigue"),
    "thriller": ("spies", "conspiracy", "chase", "cold case"),
    "romance": ("slow burn", "second chance", "small town", "wedding"),
    "historical fiction": ("war", "seafaring", "court intrigue", "family saga"),
    "literary fiction": ("family saga", "unreliable narrator", "coming of age", "grief"),
    "horror": ("haunted house", "folklore", "small town", "unreliable narrator"),
    "young adult": ("coming of age", "school", "dystopia", "magic"),
    "biography": ("war", "music", "politics", "science lives"),
    "popular science": ("space", "evolution", "mathematics", "science lives"),
    "travel": ("mountains", "seafaring", "cities", "food"),
}
LANGUAGES = ("en", "es", "fr", "de")
_QUALITIES = [
    "Silent",
    "Hidden",
    "Last",
    "Broken",
    "Golden",
    "Distant",
    "Winter",
    "Crimson",
    "Borrowed",
    "Patient",
    "Hollow",
    "Wandering",
    "Restless",
    "Unwritten",
    "Amber",
    "Northern",
    "Quiet",
    "Gilded",
    "Sunken",
    "Paper",
]
_THINGS = [
    "Lantern",
    "Orchard",
    "Harbour",
    "Compass",
    "Letter",
    "Citadel",
    "Mirror",
    "River",
    "Cartographer",
    "Engine",
    "Garden",
    "Archive",
    "Bridge",
    "Comet",
    "Ledger",
    "Tide",
    "Clockmaker",
    "Window",
    "Meridian",
    "Sparrow",
    "Foundry",
    "Signal",
    "Beacon",
    "Atlas",
]
_PLACES = [
    "Varrow",
    "Elmstead",
    "Carraway",
    "Ostrel",
    "Thornby",
    "Lisk",
    "Marrowgate",
    "Quillon",
    "Ashfen",
    "Perrin",
    "Dunmarrow",
    "Kestle",
    "Hallowmere",
    "Brindle",
    "Sorrel",
    "Tamsin",
]
_FIRST = [
    "Ada",
    "Bruno",
    "Celia",
    "Dario",
    "Edda",
    "Fabian",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Karla",
    "Leon",
    "Mira",
    "Nils",
    "Olga",
    "Pablo",
    "Renata",
    "Stefan",
    "Tilda",
    "Ulf",
    "Vera",
    "Wim",
    "Yara",
    "Zeno",
]
_SYLLABLES = (
    ("Bal", "Cor", "Dal", "Fer", "Gar", "Hol", "Kes", "Lor", "Mar", "Nor", "Pel", "Rav", "Sel", "Tor", "Vel"),
    ("an", "en", "i", "o", "a", "er", "in", "ur"),
    ("dane", "feld", "gast", "lund", "mont", "nova", "quist", "rell", "stad", "tini", "veck", "wyn"),
)


def titles(count: int, random: np.random.Generator) -> list[str]:
    """`count` different titles.

    Raises:
        ValueError: when there are not so many.
    """
    patterns = [
        *(f"The {quality} {thing}" for quality in _QUALITIES for thing in _THINGS),
        *(f"{thing} of {place}" for thing in _THINGS for place in _PLACES),
        *(f"The {thing} at {place}" for thing in _THINGS for place in _PLACES),
        *(f"{quality} {place}" for quality in _QUALITIES for place in _PLACES),
        *(f"{name} and the {thing}" for thing in _THINGS for name in _FIRST),
    ]
    return _chosen(patterns, count, random)


def authors(count: int, random: np.random.Generator) -> list[str]:
    """`count` different names.

    Raises:
        ValueError: when there are not so many.
    """
    start, middle, end = _SYLLABLES
    surnames = [first + second + third for first in start for second in middle for third in end]
    chosen = _chosen(surnames, count, random)
    return [
        f"{_FIRST[place]} {name}"
        for place, name in zip(random.integers(0, len(_FIRST), count), chosen, strict=True)
    ]


def _chosen(names: list[str], count: int, random: np.random.Generator) -> list[str]:
    if count > len(names):
        raise ValueError(f"{count} names are wanted, {len(names)} can be made")
    return [names[place] for place in random.permutation(len(names))[:count]]
