"""Requests that may come twice (AIP-155): the second gets the first one's answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import TypeAdapter

from trunkline_hop.errors import Conflict

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request that its caller may send again."""

    method: str
    """The method that it asks for; ids are unique within one."""
    request_id: str
    fingerprint: bytes
    """SHA-256 of the request: the same id with another request is a mistake."""


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """What the first request with an id was, and what it got."""

    fingerprint: bytes
    answer: bytes


class Answers(Protocol):
    """The answers given so far, within a transaction."""

    async def claim(self, key: RequestKey) -> FirstRequest | None:
        """None when this is the first request with the id: others with it then wait for this transaction."""
        ...

    async def remember(self, key: RequestKey, answer: bytes) -> None:
        """Keeps the answer of a claimed request."""
        ...


async def once(
    answers: Answers,
    key: RequestKey | None,
    kind: TypeAdapter[AnswerT],
    act: Callable[[], Awaitable[AnswerT]],
) -> AnswerT:
    """What `act` returns, or what it returned to the first request with this id.

    A request that failed leaves nothing behind, because its transaction did not happen: it can be repeated.

    Raises:
        Conflict: REQUEST_ID_REUSED, the id came with another request before.
    """
    if key is None:
        return await act()
    first = await answers.claim(key)
    if first is None:
        answer = await act()
        await answers.remember(key, kind.dump_json(answer))
        return answer
    if first.fingerprint != key.fingerprint:
        raise Conflict(
            "REQUEST_ID_REUSED",
            "The request_id belongs to another request: use a new one for each.",
            resource_type="request_id",
            resource_name=key.request_id,
        )
    return kind.validate_json(first.answer)
