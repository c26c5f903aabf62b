"""Who speaks: eSpeak NG's accents and variants, speeds and pitches, and those that only tests hear."""

from dataclasses import dataclass
from random import Random
from typing import Final

from trunkline_phrases import Language, Part

ACCENTS: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("en-us", "en-us", "en-us", "en", "en", "en-gb-x-rp", "en-us-nyc"),
    "es": ("es", "es-419"),
    "de": ("de",),
    "fr": ("fr", "fr", "fr-be", "fr-ch"),
}
"""As eSpeak names them; one that stands twice is drawn twice as often. `en` is British."""

VARIANTS: Final = [
    "m1",
    "m2",
    "m3",
    "m4",
    "m6",
    "m7",
    "m8",
    "f1",
    "f2",
    "f3",
    "f5",
    "klatt",
    "klatt2",
    "klatt4",
    "klatt6",
    "Alex",
    "Alicia",
    "Andrea",
    "Annie",
    "Denis",
    "Diogo",
    "Gene",
    "Jacky",
    "Lee",
    "Marco",
    "Mario",
    "Michael",
    "adam",
    "anika",
    "antonio",
    "aunty",
    "belinda",
    "boris",
    "caleb",
    "david",
    "ed",
    "edward",
    "grandma",
    "grandpa",
    "gustave",
    "iven",
    "iven3",
    "john",
    "kaukovalta",
    "linda",
    "max",
    "michel",
    "miguel",
    "norbert",
    "paul",
    "quincy",
    "rob",
    "sandro",
    "shelby",
    "steph",
    "steph3",
    "travis",
    "victor",
]
"""Larynxes and mouths that training hears. Whispering, croaking and robots are no part of it."""

HELD_OUT_VARIANTS: Final = [
    "m5",
    "f4",
    "klatt3",
    "Andy",
    "Hugo",
    "Mike",
    "benjamin",
    "iven2",
    "marcelo",
    "pedro",
    "pablo",
    "robert",
    "steph2",
]
"""Those that only validation and tests hear."""

SPEEDS: Final = (115, 215)
"""Words a minute, from and up to."""
HELD_OUT_SPEEDS: Final = (range(140, 150), range(175, 185))
"""Words a minute that only validation and tests hear."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice with its settings."""

    name: str
    """Accent and variant, as eSpeak names them: en-us+f2."""
    words_per_minute: int
    pitch: int
    """0 to 99; 50 is the variant's own."""
    pitch_range: int
    """0 to 99; 50 is normal intonation, 0 a monotone."""
    volume: int
    """Of 100."""

    @property
    def accent(self) -> str:
        return self.name.partition("+")[0]

    @property
    def variant(self) -> str:
        return self.name.partition("+")[2]


def draw(rng: Random, language: Language, part: Part) -> Voice:
    """A voice at random. Only `train` draws from what training hears; the other parts never do."""
    training = part == "train"
    accent = rng.choice(ACCENTS[language])
    variant = rng.choice(VARIANTS if training else HELD_OUT_VARIANTS)
    return Voice(
        f"{accent}+{variant}",
        _speed(rng) if training else rng.choice(rng.choice(HELD_OUT_SPEEDS)),
        rng.randint(25, 75),
        rng.randint(25, 80),
        rng.randint(70, 100),
    )


def is_held_out(words_per_minute: int) -> bool:
    """Whether training never hears this speed."""
    return any(words_per_minute in speeds for speeds in HELD_OUT_SPEEDS)


def _speed(rng: Random) -> int:
    while is_held_out(speed := rng.randrange(*SPEEDS)):
        pass
    return speed
