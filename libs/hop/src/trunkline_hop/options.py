"""Method options of the contracts (trunkline.options.v1), read once from the descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.descriptor_pool import Default, DescriptorPool

from trunkline.options.v1 import options_pb2
from trunkline_hop.context import Priority

DEFAULT_TIMEOUT_S = 5.0
MAXIMUM_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Method:
    """What a hop has to know about one method."""

    path: str
    """`/package.Service/Method`, as it is on the wire."""
    client_streaming: bool = False
    server_streaming: bool = False
    idempotent: bool = False
    """It may be sent again after a failure whose outcome is unknown."""
    request_id: bool = False
    """Its request has a `request_id`: a request that sets it is idempotent as well."""
    default_timeout_s: float = DEFAULT_TIMEOUT_S
    maximum_timeout_s: float = MAXIMUM_TIMEOUT_S
    priority: Priority = Priority.DEFAULT
    model_field: str = ""
    """Path of the request field that names the model; empty: none does."""
    session_field: str = ""
    """Path of the request field that names the session; empty: none does."""
    hedge: bool = False
    idle_timeout_s: float | None = None
    """Set on long sessions: they end after this silence instead of at a deadline."""

    @property
    def service(self) -> str:
        """Full name of the service, such as `trunkline.features.v1.FeatureService`."""
        return self.path[1:].rpartition("/")[0]

    @property
    def name(self) -> str:
        """The method's own name."""
        return self.path.rpartition("/")[2]

    @property
    def session(self) -> bool:
        """True for a long session."""
        return self.idle_timeout_s is not None


def method_of(descriptor: MethodDescriptor) -> Method:
    """The options of a method as its contract declares them."""
    options = descriptor.GetOptions()
    policy = options.Extensions[options_pb2.policy]
    path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
    return Method(
        path=path,
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
        idempotent=options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN,
        request_id="request_id" in descriptor.input_type.fields_by_name,
        default_timeout_s=policy.default_timeout.ToTimedelta().total_seconds() or DEFAULT_TIMEOUT_S,
        maximum_timeout_s=policy.maximum_timeout.ToTimedelta().total_seconds() or MAXIMUM_TIMEOUT_S,
        priority=Priority(policy.priority or Priority.DEFAULT),
        model_field=policy.model_field,
        session_field=policy.session_field,
        hedge=policy.hedge,
        idle_timeout_s=policy.idle_timeout.ToTimedelta().total_seconds()
        if policy.HasField("idle_timeout")
        else None,
    )


@lru_cache(maxsize=4096)
def method_at(path: str, pool: DescriptorPool | None = None) -> Method:
    """The options of the method at a wire path.

    A path that no linked contract declares gets the defaults: a client may call services, such as
    health, whose contracts say nothing about hops.
    """
    service, _, name = path.removeprefix("/").rpartition("/")
    try:
        descriptor = (pool or Default()).FindServiceByName(service).methods_by_name[name]
    except KeyError:
        return Method(path)
    return method_of(descriptor)
