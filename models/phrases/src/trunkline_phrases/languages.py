"""The languages of the grammar, how they address people, and the parts of its split."""

from typing import Final, Literal, TypeAlias

Language: TypeAlias = Literal["en", "es", "de", "fr"]
"""ISO 639-1."""

Formality: TypeAlias = Literal["formal", "informal"]
"""usted, Sie, vous; or tú, du, tu."""

Part: TypeAlias = Literal["train", "validation", "test"]

LANGUAGES: Final[tuple[Language, ...]] = ("en", "es", "de", "fr")
FORMALITIES: Final[tuple[Formality, ...]] = ("formal", "informal")
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")
