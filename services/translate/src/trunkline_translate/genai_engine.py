"""OpenVINO GenAI as an engine: the models of the registry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from trunkline_hop.errors import BadRequest, Fault
from trunkline_modelstore import ModelStore
from trunkline_modelstore.version import model_of
from trunkline_translate.engine import Ask, Done, EngineFailed, Identity, Piece
from trunkline_translate.genai_model import GenaiModel
from trunkline_translate.language import Direction

NAME: Final = "openvino"
_SILENT_S: Final = 5.0
"""Whoever is asked waits no longer than half as long for a token."""


class OpenVinoEngine:
    """The models of a store. See `Engine`.

    Args:
        store: holds the versions.
        names: the models, as `models/{model}`, the preferred one first.
    """

    name: Final = NAME

    def __init__(self, store: ModelStore[GenaiModel], names: Sequence[str]) -> None:
        self._store = store
        self._names = tuple(names)

    @property
    def directions(self) -> Collection[Direction]:
        """See `Engine.directions`: those of the versions in force."""
        return frozenset(direction for model in self._loaded() for direction in model.directions)

    @property
    def takes_context(self) -> bool:
        """See `Engine.takes_context`."""
        return any(model.context_pairs for model in self._loaded())

    @property
    def error(self) -> str:
        """See `Engine.error`."""
        if not self._names:
            return "no model is set"
        for name in self._names:
            if why := self._why_not(name):
                return why
        return ""

    @property
    def live(self) -> int:
        """Sentences that are being translated."""
        return sum(model.driver.live for model in self._loaded())

    @property
    def waiting(self) -> int:
        """Sentences that wait for a place."""
        return sum(model.driver.waiting for model in self._loaded())

    def identity(self, model: str = "") -> Identity:
        """See `Engine.identity`."""
        name = model or (self._names[0] if self._names else "")
        resident = self._store.find(name)
        if resident is None:
            return Identity(NAME, name)
        return _identity(resident.model)

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[Piece, None]:
        """See `Engine.translate`. The version stays in memory until the generator is closed."""
        name = model or self._name_for(ask.direction)
        lease = self._store.lease(name)
        try:
            await lease.__aenter__()
        except Fault as fault:
            if model:
                raise
            raise EngineFailed(fault.message) from fault
        try:
            if ask.direction not in lease.model.directions:
                raise _unsupported(lease.model, ask.direction)
            async with aclosing(lease.model.translate(ask)) as pieces:
                async for piece in pieces:
                    yield replace(piece, made_by=_identity(lease.model)) if isinstance(piece, Done) else piece
        finally:
            await lease.__aexit__(None, None, None)

    async def probe(self) -> None:
        """See `Engine.probe`. A model without a device gets another try at opening one."""
        for status in self._store.status():
            # Those that are asked for by name as well, and each before any of them is complained about.
            if (resident := self._store.find(status.version)) is not None:
                resident.model.driver.check()
        for model in self._loaded():
            if (silent_s := model.driver.silent_s) > _SILENT_S:
                raise EngineFailed(f"{model.name} has said nothing for {silent_s:.0f} s")
        if why := self.error:
            raise EngineFailed(why)

    def _loaded(self) -> Iterator[GenaiModel]:
        for name in self._names:
            if (resident := self._store.find(name)) is not None:
                yield resident.model

    def _name_for(self, direction: Direction) -> str:
        """The first model that translates in this direction."""
        for name in self._names:
            resident = self._store.find(name)
            if resident is not None and direction in resident.model.directions:
                return name
        raise EngineFailed(self.error or f"it does not translate {direction}", counts=bool(self.error))

    def _why_not(self, name: str) -> str:
        resident = self._store.find(name)
        if resident is not None:
            return resident.model.driver.error
        for status in self._store.status():
            if model_of(status.version) == name and status.error:
                return status.error
        return f"{name} is not in memory yet: see that the registry has a version of it in production"


def _identity(model: GenaiModel) -> Identity:
    return Identity(NAME, model.name, model.digest, model.driver.device)


def _unsupported(model: GenaiModel, direction: Direction) -> BadRequest:
    pairs = ", ".join(sorted(map(str, model.directions)))
    return BadRequest(f"{model.name} translates {pairs}, not {direction}", reason="LANGUAGE_UNSUPPORTED")
