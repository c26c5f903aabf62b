"""What is known of a translation model once it was checked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from trunkline_translate.language import Direction
from trunkline_translate.prompts import Style


@dataclass(frozen=True, slots=True)
class Facts:
    """A model that was checked and ran."""

    directions: tuple[Direction, ...]
    """What it was trained to translate."""
    style: Style
    """How it wants to be asked."""
    context_pairs: int
    """Sentences with their translations that it was trained to look back on."""
    places: int
    """Tokens that it reads and writes at most, both together."""
    vocabulary: int
    """Tokens that it knows."""
    ends: tuple[int, ...]
    """Tokens that end a translation."""
    token_values: int
    """What attention keeps of a token: so many values in the KV cache."""
    files_bytes: int
    """Of the files that are loaded."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self) | {"style": self.style.value})

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """From `to_json`.

        Raises:
            ValueError, KeyError, TypeError: it is not.
        """
        fields: dict[str, Any] = json.loads(text)
        fields["directions"] = tuple(Direction(**each) for each in fields["directions"])
        fields["style"] = Style(fields["style"])
        fields["ends"] = tuple(fields["ends"])
        return cls(**fields)
