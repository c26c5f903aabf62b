"""Faults on the wire: google.rpc.Status with AIP-193 details, both ways."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from trunkline_hop import errors
from trunkline_hop.errors import Fault

Metadata = tuple[tuple[str, str | bytes], ...]

DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
_NO_RETRY = (PUSHBACK_KEY, "-1")

MESSAGE_BYTES = 768
"""Longest message of a status, in UTF-8; percent-encoded it takes up to three times that on the wire."""
DETAILS_BYTES = 3072
"""Longest google.rpc.Status made here. gRPC takes 8 KiB of trailers, and answers RESOURCE_EXHAUSTED instead of
the error when there are more; message and details together stay well below, whatever a caller sent."""
_TEXT_BYTES = 256
_METADATA_BYTES = 768
_VIOLATIONS_BYTES = 1024

_M = TypeVar("_M", bound=Message)


def to_status(fault: Fault, request_id: str = "") -> tuple[grpc.StatusCode, str, Metadata]:
    """The status code, message and trailers of a fault.

    Args:
        fault: what was raised. One that came from another hop keeps that hop's details, byte for byte.
        request_id: for Internal, the id under which the log holds the cause.
    """
    code = grpc.StatusCode[fault.status]
    message = _cut(fault.message, MESSAGE_BYTES)
    details = fault.details
    if details is None:
        status = status_pb2.Status(code=code.value[0], message=message)
        room = DETAILS_BYTES - len(message.encode())
        for detail in _details_of(fault, message, request_id):
            packed = any_pb2.Any()
            packed.Pack(detail)
            room -= packed.ByteSize()
            if room >= 0:
                status.details.append(packed)
        details = status.SerializeToString()
    trailers: Metadata = ((DETAILS_KEY, details),)
    if fault.final:
        trailers += (_NO_RETRY,)
    return code, message, trailers


def _cut(text: str, limit_bytes: int) -> str:
    """Text that UTF-8 can carry in so many bytes, with an ellipsis where it was longer."""
    data = text.encode(errors="replace")
    if len(data) > limit_bytes:
        return data[: limit_bytes - 3].decode(errors="ignore") + "…"
    return data.decode()


def _info(fault: Fault) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo(reason=fault.reason, domain=errors.DOMAIN)
    room = _METADATA_BYTES
    for key, value in fault.metadata.items():
        name, text = _cut(key, _TEXT_BYTES), _cut(value, _TEXT_BYTES)
        room -= len(name.encode()) + len(text.encode())
        if room >= 0:
            info.metadata[name] = text
    return info


def _violations(fault: errors.BadRequest) -> Iterable[error_details_pb2.BadRequest.FieldViolation]:
    room = _VIOLATIONS_BYTES
    for violation in fault.violations:
        one = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, _TEXT_BYTES), description=_cut(violation.description, _TEXT_BYTES)
        )
        room -= one.ByteSize() + 3
        if room < 0:
            return
        yield one


def _details_of(fault: Fault, message: str, request_id: str) -> Iterable[Message]:
    yield _info(fault)
    match fault:
        case errors.BadRequest() if fault.violations:
            yield error_details_pb2.BadRequest(field_violations=_violations(fault))
        case errors.NotFound() | errors.AlreadyExists() | errors.Conflict():
            yield error_details_pb2.ResourceInfo(
                resource_type=_cut(fault.resource_type, _TEXT_BYTES),
                resource_name=_cut(fault.resource_name, _TEXT_BYTES),
                description=_cut(message, _TEXT_BYTES),
            )
        case errors.NotAllowed():
            yield error_details_pb2.PreconditionFailure(
                violations=[
                    error_details_pb2.PreconditionFailure.Violation(
                        type=fault.reason,
                        subject=_cut(fault.subject, _TEXT_BYTES),
                        description=_cut(message, _TEXT_BYTES),
                    )
                ]
            )
        case errors.Unavailable() | errors.Overloaded():
            if fault.reason == "QUOTA":
                yield error_details_pb2.QuotaFailure(
                    violations=[
                        error_details_pb2.QuotaFailure.Violation(
                            subject=_cut(fault.metadata.get("subject", ""), _TEXT_BYTES),
                            description=_cut(message, _TEXT_BYTES),
                        )
                    ]
                )
            if fault.retry_after is not None:
                retry = error_details_pb2.RetryInfo()
                retry.retry_delay.FromTimedelta(fault.retry_after)
                yield retry
        case errors.Internal() if request_id:
            yield error_details_pb2.RequestInfo(request_id=request_id)


def from_rpc(
    code: grpc.StatusCode, message: str | None, trailers: Sequence[tuple[str, str | bytes]] | None
) -> Fault:
    """The fault that a peer's status stands for. Details it sent are kept untouched in `details`."""
    raw: bytes | None = None
    final = False
    for key, value in trailers or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            raw = value
        elif key == PUSHBACK_KEY:
            final = _negative(value)
    details = _unpack(raw)
    info = _find(details, error_details_pb2.ErrorInfo)
    reason = info.reason if info and info.domain == errors.DOMAIN else ""
    fault = _rebuild(code, message or "", reason, details, dict(info.metadata) if info else {})
    fault.details = raw
    fault.final = final
    return fault


def _negative(pushback: str | bytes) -> bool:
    """gRFC A6: a negative or unreadable pushback means that the call must not be retried."""
    try:
        return int(pushback) < 0
    except ValueError:
        return True


def _unpack(raw: bytes | None) -> status_pb2.Status:
    status = status_pb2.Status()
    if raw:
        with contextlib.suppress(DecodeError):  # a peer's broken details say nothing; its code still counts
            status.ParseFromString(raw)
    return status


def _find(status: status_pb2.Status, kind: type[_M]) -> _M | None:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            with contextlib.suppress(DecodeError):
                packed.Unpack(found)
                return found
    return None


def _rebuild(
    code: grpc.StatusCode,
    message: str,
    reason: str,
    details: status_pb2.Status,
    metadata: dict[str, str],
) -> Fault:
    fault: Fault
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            bad = _find(details, error_details_pb2.BadRequest)
            fault = errors.BadRequest(
                message,
                [errors.FieldViolation(v.field, v.description) for v in bad.field_violations] if bad else (),
                reason=reason or "FIELD_INVALID",
                metadata=metadata,
            )
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.ALREADY_EXISTS | grpc.StatusCode.ABORTED:
            kind, default = {
                grpc.StatusCode.NOT_FOUND: (errors.NotFound, "NOT_FOUND"),
                grpc.StatusCode.ALREADY_EXISTS: (errors.AlreadyExists, "RESOURCE_EXISTS"),
                grpc.StatusCode.ABORTED: (errors.Conflict, "ABORTED"),
            }[code]
            about = _find(details, error_details_pb2.ResourceInfo)
            fault = kind(
                reason or default,
                message,
                resource_type=about.resource_type if about else "resource",
                resource_name=about.resource_name if about else "",
                metadata=metadata,
            )
        case grpc.StatusCode.FAILED_PRECONDITION:
            failure = _find(details, error_details_pb2.PreconditionFailure)
            subject = failure.violations[0].subject if failure and failure.violations else ""
            fault = errors.NotAllowed(
                reason or "FAILED_PRECONDITION", message, subject=subject, metadata=metadata
            )
        case grpc.StatusCode.UNAVAILABLE:
            fault = errors.Unavailable(
                reason or "UNREACHABLE", message, retry_after=_retry_after(details), metadata=metadata
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            # Only a transport refuses without a reason: the message was larger than 16 MiB.
            fault = errors.Overloaded(
                reason or "TOO_LARGE", message, retry_after=_retry_after(details), metadata=metadata
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            fault = errors.TooLate(reason or "DEADLINE_EXCEEDED", message, metadata=metadata)
        case grpc.StatusCode.CANCELLED:
            fault = errors.Cancelled(reason or "CANCELLED", message, metadata=metadata)
        case grpc.StatusCode.UNIMPLEMENTED:
            fault = errors.Unimplemented(reason or "METHOD_UNKNOWN", message, metadata=metadata)
        case grpc.StatusCode.INTERNAL:
            fault = errors.Internal(reason or "INTERNAL", message, metadata=metadata)
        case _:
            fault = errors.Remote(code.name, reason or code.name, message, metadata=metadata)
    return fault


def _retry_after(details: status_pb2.Status) -> timedelta | None:
    retry = _find(details, error_details_pb2.RetryInfo)
    if retry is None:
        return None
    try:
        delay: timedelta = retry.retry_delay.ToTimedelta()
    except (OverflowError, ValueError):  # a peer's nonsense: no time is known
        return None
    return delay
