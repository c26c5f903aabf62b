"""What every hop between Trunkline's services does the same way. See the package's README."""

from trunkline_hop.call import Call
from trunkline_hop.channel import Channel, connect
from trunkline_hop.client_settings import ClientSettings
from trunkline_hop.clock import Clock, SystemClock
from trunkline_hop.context import Principal, Priority
from trunkline_hop.handlers import Proxy, Servicer
from trunkline_hop.serve import serve
from trunkline_hop.server import Server, running
from trunkline_hop.settings import ServiceSettings
from trunkline_hop.telemetry import Tracing, span

__all__ = [
    "Call",
    "Channel",
    "ClientSettings",
    "Clock",
    "Principal",
    "Priority",
    "Proxy",
    "Server",
    "ServiceSettings",
    "Servicer",
    "SystemClock",
    "Tracing",
    "connect",
    "running",
    "serve",
    "span",
]
