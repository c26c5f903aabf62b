"""Redis or Valkey, the way every service uses it."""

from trunkline_valkey.addresses import is_address
from trunkline_valkey.keeper import Keeper
from trunkline_valkey.sessions import Kept, SessionStore, moved, unknown
from trunkline_valkey.store import Script, Store, StoreDown
from trunkline_valkey.stored_sessions import StoredSessions

__all__ = [
    "Keeper",
    "Kept",
    "Script",
    "SessionStore",
    "Store",
    "StoreDown",
    "StoredSessions",
    "is_address",
    "moved",
    "unknown",
]
