"""What became of a sentence at each engine, and what that means where none translated it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from trunkline_hop.errors import BadRequest, Fault, FieldViolation, Overloaded, Unavailable
from trunkline_translate.attempt import Left, Why
from trunkline_translate.chain import Link
from trunkline_translate.meters import Meters

_SOON: Final = timedelta(seconds=0.5)


class Tried:
    """The engines that left a sentence, in the order in which they did.

    Args:
        meters: where it shows who went on with it.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._left: dict[str, Left] = {}
        self._at = ""

    def begins(self, link: Link) -> None:
        """An engine has it now."""
        if self._at and self._at != link.name:
            self._meters.fell_back(self._at, link.name, self._left[self._at].why.value)

    def ended(self, link: Link, left: Left) -> None:
        """An engine left it."""
        self._at = link.name
        self._left[link.name] = left

    def fault(self, model: str, retry_in_s: float) -> Fault:
        """What to tell whoever wanted it.

        Args:
            model: what was asked for by name; empty when nothing was.
            retry_in_s: seconds until an engine may be back.
        """
        kinds = {left.why for left in self._left.values()}
        why = {name: left.detail for name, left in self._left.items()}
        said = "; ".join(f"{name}: {detail}" for name, detail in why.items())
        if Why.REJECTED in kinds:
            return rejected(why)
        if kinds == {Why.TOO_LONG}:
            wanted = f"expected a sentence that fits into a model; {said}"
            return BadRequest(
                f"text: {wanted}", [FieldViolation("text", wanted)], reason="TEXT_TOO_LONG", metadata=why
            )
        if Why.BUSY in kinds:
            return Overloaded("SHED", f"too much to translate: {said}", retry_after=_SOON, metadata=why)
        after = timedelta(seconds=round(max(retry_in_s, 0.1), 1))
        if model:
            return Unavailable("ENGINE_FAILED", f"{model}: {said}", retry_after=after, metadata=why)
        return Unavailable(
            "NO_ENGINE", f"no engine can translate this now: {said}", retry_after=after, metadata=why
        )


def rejected(why: dict[str, str]) -> Unavailable:
    """What the engines answered was no translation.

    Args:
        why: the check that said so, by engine.
    """
    said = "; ".join(f"{name}: {detail}" for name, detail in why.items())
    fault = Unavailable("TRANSLATION_REJECTED", f"no answer was a translation: {said}", metadata=why)
    # They would answer the same again.
    fault.final = True
    return fault


def broken_off(link: Link, left: Left) -> Unavailable:
    """An engine failed midway, and another one must not begin anew."""
    return Unavailable(
        "ENGINE_FAILED",
        f"{link.name}, midway: {left.detail}",
        retry_after=_SOON,
        metadata={link.name: left.detail},
    )
