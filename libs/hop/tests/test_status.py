"""Faults on the wire and back."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from trunkline_hop import errors, status

_A = {"a": "1"}
CATALOGUE = [
    (errors.BadRequest.field("transaction.amount", "expected a finite number"), "INVALID_ARGUMENT", "FIELD_INVALID", "BadRequest"),
    (errors.BadRequest("broken", reason="MALFORMED_REQUEST"), "INVALID_ARGUMENT", "MALFORMED_REQUEST", None),
    (errors.NotFound("MODEL_UNKNOWN", "no such model", resource_type="model", resource_name="models/x"), "NOT_FOUND", "MODEL_UNKNOWN", "ResourceInfo"),
    (errors.AlreadyExists("RESOURCE_EXISTS", "taken", resource_type="model", resource_name="models/x"), "ALREADY_EXISTS", "RESOURCE_EXISTS", "ResourceInfo"),
    (errors.Conflict("ETAG_MISMATCH", "changed", resource_type="model", resource_name="models/x"), "ABORTED", "ETAG_MISMATCH", "ResourceInfo"),
    (errors.NotAllowed("STAGE_POLICY", "not yet", subject="models/x", metadata=_A), "FAILED_PRECONDITION", "STAGE_POLICY", "PreconditionFailure"),
    (errors.Unavailable("LOADING", "wait", retry_after=timedelta(seconds=1.5), metadata=_A), "UNAVAILABLE", "LOADING", "RetryInfo"),
    (errors.Unavailable("UNREACHABLE", "gone"), "UNAVAILABLE", "UNREACHABLE", None),
    (errors.Overloaded("SHED", "busy", retry_after=timedelta(milliseconds=100)), "RESOURCE_EXHAUSTED", "SHED", "RetryInfo"),
    (errors.Overloaded("QUOTA", "too many", metadata={"subject": "team"}), "RESOURCE_EXHAUSTED", "QUOTA", "QuotaFailure"),
    (errors.TooLate("DEADLINE_UNMEETABLE", "no"), "DEADLINE_EXCEEDED", "DEADLINE_UNMEETABLE", None),
    (errors.Cancelled("CANCELLED", "gone"), "CANCELLED", "CANCELLED", None),
    (errors.Unimplemented("METHOD_UNKNOWN", "no"), "UNIMPLEMENTED", "METHOD_UNKNOWN", None),
    (errors.Internal("INTERNAL", "the log has it"), "INTERNAL", "INTERNAL", "RequestInfo"),
    (errors.Remote("DATA_LOSS", "ODD", "lost"), "DATA_LOSS", "ODD", None),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "code", "reason", "detail"), CATALOGUE, ids=lambda v: str(v)[:40])
def test_a_fault_travels_under_its_code_with_its_reason_and_detail(fault, code, reason, detail):
    sent_code, message, trailers = status.to_status(fault, "request-7")
    sent = status_pb2.Status.FromString(dict(trailers)[status.DETAILS_KEY])
    info = error_details_pb2.ErrorInfo()
    assert sent.details[0].Unpack(info)
    assert sent_code.name == code and sent.code == sent_code.value[0]
    assert message == sent.message == fault.message
    assert (info.reason, info.domain, dict(info.metadata)) == (reason, "trunkline", fault.metadata)
    kinds = [packed.type_url.rpartition(".")[2] for packed in sent.details[1:]]
    assert kinds == ([detail] if detail else [])


@pytest.mark.parametrize(("fault", "code", "reason", "detail"), CATALOGUE, ids=lambda v: str(v)[:40])
def test_a_fault_comes_back_as_it_went(fault, code, reason, detail):
    back = status.from_rpc(*status.to_status(fault))
    assert type(back) is type(fault)
    assert (back.status, back.reason, back.message, back.metadata) == (
        code,
        reason,
        fault.message,
        fault.metadata,
    )
    for extra in ("violations", "resource_type", "resource_name", "subject", "retry_after"):
        assert getattr(back, extra, None) == getattr(fault, extra, None)


def test_details_of_another_hop_pass_byte_for_byte():
    raw = b"\x08\x0e" + status_pb2.Status(message="from far away").SerializeToString() + b"\xfa\x06\x01x"
    fault = status.from_rpc(grpc.StatusCode.UNAVAILABLE, "far", ((status.DETAILS_KEY, raw),))
    assert dict(status.to_status(fault)[2])[status.DETAILS_KEY] == raw


def test_a_final_fault_tells_its_caller_not_to_retry_and_stays_final():
    fault = errors.Unavailable("UNREACHABLE", "tried thrice")
    fault.final = True
    sent = status.to_status(fault)
    assert dict(sent[2])[status.PUSHBACK_KEY] == "-1"
    assert status.from_rpc(*sent).final


@pytest.mark.parametrize(("pushback", "final"), [("-1", True), ("soon", True), ("0", False), ("250", False)])
def test_a_negative_or_unreadable_pushback_is_final(pushback, final):
    fault = status.from_rpc(grpc.StatusCode.UNAVAILABLE, "", ((status.PUSHBACK_KEY, pushback),))
    assert fault.final is final


def test_a_reason_of_a_foreign_domain_is_not_taken_for_one_of_the_catalogue():
    foreign = status_pb2.Status(code=14)
    foreign.details.add().Pack(error_details_pb2.ErrorInfo(reason="LOADING", domain="example.com"))
    fault = status.from_rpc(
        grpc.StatusCode.UNAVAILABLE, "", ((status.DETAILS_KEY, foreign.SerializeToString()),)
    )
    assert fault.reason == "UNREACHABLE"


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"", b"\x1a\x03abc"])
def test_broken_details_say_nothing_and_the_code_still_counts(raw):
    fault = status.from_rpc(grpc.StatusCode.NOT_FOUND, "no", ((status.DETAILS_KEY, raw),))
    assert isinstance(fault, errors.NotFound) and fault.message == "no"


def test_a_time_to_come_back_beyond_all_bounds_is_no_time():
    far = error_details_pb2.RetryInfo()
    far.retry_delay.seconds = 2**62
    sent = status_pb2.Status(code=14)
    sent.details.add().Pack(far)
    fault = status.from_rpc(
        grpc.StatusCode.UNAVAILABLE, "", ((status.DETAILS_KEY, sent.SerializeToString()),)
    )
    assert isinstance(fault, errors.Unavailable) and fault.retry_after is None


# Lone surrogates come out of file names and decoded garbage; a status with one must not fail to be sent.
_TEXT = st.text(st.characters(exclude_categories=()), max_size=4000)
_FAULTS = st.one_of(
    st.builds(
        errors.TooLate, st.just("EXPIRED_IN_QUEUE"), _TEXT, metadata=st.dictionaries(_TEXT, _TEXT, max_size=8)
    ),
    st.builds(
        errors.BadRequest,
        _TEXT,
        st.lists(st.builds(errors.FieldViolation, _TEXT, _TEXT), max_size=20),
        metadata=st.dictionaries(_TEXT, _TEXT, max_size=3),
    ),
    st.builds(
        errors.NotFound, st.just("VIEW_UNKNOWN"), _TEXT, resource_type=st.just("view"), resource_name=_TEXT
    ),
    st.builds(errors.NotAllowed, st.just("STAGE_POLICY"), _TEXT, subject=_TEXT),
    st.builds(
        errors.Overloaded, st.just("QUOTA"), _TEXT, metadata=st.builds(lambda s: {"subject": s}, _TEXT)
    ),
)


@given(_FAULTS)
def test_whatever_a_fault_says_it_fits_into_the_trailers_and_keeps_class_and_reason(fault):
    code, message, trailers = status.to_status(fault)
    raw = dict(trailers)[status.DETAILS_KEY]
    # As on the wire: the message percent-encoded, the details in base64. gRPC's soft limit is 8 KiB.
    assert 3 * len(message.encode()) + len(raw) * 4 // 3 + 200 < 8192
    back = status.from_rpc(code, message, trailers)
    assert (type(back), back.reason) == (type(fault), fault.reason)
    assert message.startswith(back.message[:-1])


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5))
def test_an_ordinary_text_arrives_as_it_was(message, metadata):
    back = status.from_rpc(*status.to_status(errors.TooLate("IDLE", message, metadata=metadata)))
    assert (back.message, back.metadata) == (message, metadata)
