"""What every model server does the same way: watch the registry, fetch, verify, load, lease, swap, drain."""

from trunkline_modelstore.lease import Lease
from trunkline_modelstore.loader import Loader
from trunkline_modelstore.registry import Draining, Registry, ServingSet, Synced
from trunkline_modelstore.status import State, Status
from trunkline_modelstore.store import ModelStore
from trunkline_modelstore.version import File, LocalVersion, Version, digest_of, refused

__all__ = [
    "Draining",
    "File",
    "Lease",
    "Loader",
    "LocalVersion",
    "ModelStore",
    "Registry",
    "ServingSet",
    "State",
    "Status",
    "Synced",
    "Version",
    "digest_of",
    "refused",
]
