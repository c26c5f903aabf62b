"""The errors of the suite: the one catalogue, free of gRPC types.

    Fault                code                 reasons
      BadRequest         INVALID_ARGUMENT     MALFORMED_REQUEST, FIELD_INVALID, AUDIO_FORMAT_UNKNOWN,
                                              AUDIO_UNDECODABLE, AUDIO_TOO_LONG, LANGUAGE_UNSUPPORTED,
                                              LANGUAGE_UNDETECTED, TASK_UNSUPPORTED, TEXT_TOO_LONG
      NotFound           NOT_FOUND            MODEL_UNKNOWN, VERSION_UNKNOWN, ARTIFACT_UNKNOWN, VIEW_UNKNOWN,
                                              FEATURE_UNKNOWN, ENTITY_TYPE_UNKNOWN, INDEX_UNKNOWN,
                                              SNAPSHOT_UNKNOWN, SESSION_UNKNOWN
      AlreadyExists      ALREADY_EXISTS       RESOURCE_EXISTS
      Conflict           ABORTED              ETAG_MISMATCH, REQUEST_ID_REUSED, SESSION_MOVED
      NotAllowed         FAILED_PRECONDITION  STAGE_POLICY, CHECKSUM_MISMATCH, MODEL_REFUSED, MODEL_TASK,
                                              NOT_SERVING, SNAPSHOT_NOT_READY
      Unavailable        UNAVAILABLE          LOADING, DRAINING, BREAKER_OPEN, UNREACHABLE, STORE_UNREACHABLE,
                                              NOT_WRITER, DEVICE_LOST, NO_ENGINE, ENGINE_FAILED,
                                              TRANSLATION_REJECTED
      Overloaded         RESOURCE_EXHAUSTED   SHED, QUOTA, TOO_LARGE
      TooLate            DEADLINE_EXCEEDED    DEADLINE_UNMEETABLE, EXPIRED_IN_QUEUE, DEADLINE_EXCEEDED, IDLE
      Cancelled          CANCELLED            CANCELLED
      Unimplemented      UNIMPLEMENTED        METHOD_UNKNOWN
      Internal           INTERNAL             INTERNAL
      Remote             any                  what a peer outside the catalogue said

Every fault travels as a google.rpc.Status with an ErrorInfo (AIP-193: domain `trunkline`, the reason, the
metadata) and the detail that fits its class. Raise one anywhere under a handler; whatever else is raised
reaches the caller as INTERNAL with nothing but a request id, which is in the log beside the stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

DOMAIN = "trunkline"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that is wrong: where it is and what was expected there."""

    field: str
    """Path in the request, such as `transaction.amount` or `columns[3].values`."""
    description: str
    """What was expected, in one sentence."""


class Fault(Exception):
    """An error with a place in the catalogue.

    Args:
        reason: UPPER_SNAKE, one of the catalogue's.
        message: one sentence for a developer; it reaches the caller, so it holds no secrets.
        metadata: what a program needs to react, such as the name it asked for.
    """

    code: ClassVar[str] = "UNKNOWN"
    """Name of the canonical gRPC status code."""

    def __init__(self, reason: str, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.details: bytes | None = None
        """The serialised google.rpc.Status when the fault came from another hop: it passes untouched."""
        self.final = False
        """True when a caller must not retry, because this hop already did (gRFC A6 negative pushback)."""

    @property
    def status(self) -> str:
        """Name of the status code this fault travels under."""
        return self.code

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"


class BadRequest(Fault):
    """The request is wrong, whatever the state of the system. Carries a google.rpc.BadRequest."""

    code = "INVALID_ARGUMENT"

    def __init__(
        self,
        message: str,
        violations: Sequence[FieldViolation] = (),
        *,
        reason: str = "FIELD_INVALID",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, message, metadata=metadata)
        self.violations = tuple(violations)

    @classmethod
    def field(cls, field: str, expected: str) -> BadRequest:
        """One field is wrong: `expected` says what it should have been."""
        return cls(f"{field}: {expected}", [FieldViolation(field, expected)], metadata={"field": field})


class _AboutResource(Fault):
    """A fault about one named thing. Carries a google.rpc.ResourceInfo."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        resource_type: str,
        resource_name: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, message, metadata={resource_type: resource_name} | dict(metadata or {}))
        self.resource_type = resource_type
        self.resource_name = resource_name


class NotFound(_AboutResource):
    """A named thing does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(_AboutResource):
    """A name is taken."""

    code = "ALREADY_EXISTS"


class Conflict(_AboutResource):
    """Somebody else changed the thing first: read it again, then retry the change (AIP-154)."""

    code = "ABORTED"


class NotAllowed(Fault):
    """The state of the system forbids it. Carries a google.rpc.PreconditionFailure."""

    code = "FAILED_PRECONDITION"

    def __init__(
        self, reason: str, message: str, *, subject: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason, message, metadata=metadata)
        self.subject = subject


class _Passing(Fault):
    """A fault that passes. Carries a google.rpc.RetryInfo when the time is known."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, message, metadata=metadata)
        self.retry_after = retry_after


class Unavailable(_Passing):
    """Nobody can answer right now."""

    code = "UNAVAILABLE"


class Overloaded(_Passing):
    """Somebody could answer, but not this much. Carries a QuotaFailure when a quota is the reason."""

    code = "RESOURCE_EXHAUSTED"


class TooLate(Fault):
    """The deadline passed, or cannot be met."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(Fault):
    """The caller went away."""

    code = "CANCELLED"


class Unimplemented(Fault):
    """No such method."""

    code = "UNIMPLEMENTED"


class Internal(Fault):
    """A defect. What the caller sees never holds more than the request id."""

    code = "INTERNAL"


class Remote(Fault):
    """A status from another hop whose code has no class here, such as UNKNOWN or DATA_LOSS."""

    def __init__(
        self, code: str, reason: str, message: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason, message, metadata=metadata)
        self._code = code

    @property
    def status(self) -> str:
        return self._code
