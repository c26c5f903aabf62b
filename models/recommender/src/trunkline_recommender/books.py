"""Books, and what is known of one before anybody has read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Book:
    """A book's metadata. What is not known is empty, or 0 for the year."""

    id: str
    title: str
    author: str = ""
    """Several are separated by a comma and a space."""
    genre: str = ""
    year: int = 0
    """Of the first publication."""
    language: str = ""
    tags: tuple[str, ...] = ()

    def attributes(self) -> dict[str, Any]:
        """What a vector index stores beside the embedding, to filter by; unknown values left out."""
        known = {
            "author": self.author,
            "genre": self.genre,
            "year": self.year,
            "language": self.language,
            "tags": list(self.tags),
        }
        return {name: value for name, value in known.items() if value}

    def item(self) -> dict[str, Any]:
        """The book as an entry of `items.json`."""
        return {"id": self.id, "title": self.title, "attributes": self.attributes()}

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Book":
        """The book of an entry of `items.json`.

        Raises:
            KeyError: when the entry has no id, title or attributes.
        """
        attributes = item["attributes"]
        return cls(
            id=item["id"],
            title=item["title"],
            author=attributes.get("author", ""),
            genre=attributes.get("genre", ""),
            year=int(attributes.get("year", 0)),
            language=attributes.get("language", ""),
            tags=tuple(attributes.get("tags", ())),
        )
