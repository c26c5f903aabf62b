"""What is known of a Whisper model once it was checked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from trunkline_speech.recogniser import Task
from trunkline_speech.transcript import RATE_HZ


@dataclass(frozen=True, slots=True)
class Facts:
    """A model that was checked and ran."""

    languages: tuple[str, ...]
    """ISO 639-1, those it was trained on, the first for speech that nobody detects a language in."""
    tasks: tuple[Task, ...]
    window_s: float
    """Longest audio it hears at once."""
    multilingual: bool
    """False when it has no tokens for languages and tasks."""
    places: int
    """Tokens that its decoder reads and writes at most, hints included."""
    vocabulary: int
    """Tokens that it knows."""
    files_bytes: int
    """Of the files that are loaded."""
    word_times: bool = False
    why_no_word_times: str = ""

    @property
    def window(self) -> int:
        """The window in samples."""
        return round(self.window_s * RATE_HZ)

    def without_word_times(self, why: str) -> Facts:
        """The same model, but for the times of words."""
        return replace(self, word_times=False, why_no_word_times=why)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self) | {"tasks": [task.value for task in self.tasks]})

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """From `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        fields["languages"] = tuple(fields["languages"])
        fields["tasks"] = tuple(Task(task) for task in fields["tasks"])
        return cls(**fields)
