"""Sentences that training never met, with their translations: for tests and benchmarks. Standard library only."""

from dataclasses import dataclass
from random import Random

from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrase_translator.turns import draw_filled
from trunkline_phrases import FORMALITIES, Formality, Language
from trunkline_phrases.languages import Part
from trunkline_phrases.lexicon import pick


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A sentence of a template that was held out."""

    template: str
    source_language: Language
    target_language: Language
    formality: Formality | None
    """How its translation addresses people; None where that makes no difference in any language."""
    source: str
    target: str
    before: Turn | None
    """What was said before and its translation, where the translation depends on it."""

    @property
    def family(self) -> str:
        return self.template.partition(".")[0]

    @property
    def direction(self) -> Direction:
        return Direction(self.source_language, self.target_language, self.formality)


def held_out(
    source: Language,
    target: Language,
    count: int,
    seed: int = 0,
    *,
    answers: bool = True,
    asked: bool = True,
    part: Part = "test",
) -> list[HeldOut]:
    """The same sentences for the same seed and, in other languages, for any pair of languages.

    Without `answers` none that needs what was said before. `asked` sentences are translated as if their
    formality was asked for; others as if none was: as the source shows, or formally where it does not.
    """
    rng = Random(f"{seed} {part} {answers}")
    found: list[HeldOut] = []
    while len(found) < count:
        filled = draw_filled(rng, part)
        addressed = pick(rng, FORMALITIES)
        if filled.template.before is not None and not answers:
            continue
        # French tells the two apart wherever another language does.
        differs = filled.texts("fr", "formal") != filled.texts("fr", "informal")
        wanted = addressed if differs and asked else None
        *before, turn = filled.turns(Direction(source, target, wanted), addressed)
        found.append(
            HeldOut(
                filled.template.id,
                source,
                target,
                wanted,
                turn.source,
                turn.target,
                before[0] if before else None,
            )
        )
    return found
