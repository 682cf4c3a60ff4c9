"""Which addresses may be asked: those of the public Internet.

A host's name is looked up once for each request, all that it stands for is checked, and the
connection goes to what was checked: a name that stands for something else a moment later leads
nowhere.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, cast

from ragkit.errors import LoadError
from ragkit_connectors.support.deadline import Deadline, call_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragkit_connectors.support.sockets import AddressInfo

_REFUSED = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.64.0.0/10",  # shared by the customers of a provider; some clouds' metadata
            "168.63.129.16/32",  # what machines in Azure ask for their settings
            "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15",  # protocols, 6to4 relays, benchmarks
            "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96",  # an IPv4 address inside of an IPv6 one
            "64:ff9b::/96", "64:ff9b:1::/48",  # NAT64
            "2001::/23", "2002::/16",  # protocols, Teredo among them, and 6to4
            "fec0::/10",  # site-local, before there were unique local ones
        ),
    )
)  # fmt: skip
"""What is not for the public, or leads to another address that may not be, besides what Python's
`is_global` knows."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet, and leads to no other one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if not found.is_global or found.is_multicast or found.is_reserved or found.is_unspecified:
        return False
    return not any(found.version == net.version and found in net for net in _REFUSED)


def addresses_of(
    host: str, port: int, deadline: Deadline, *, allow_private: bool
) -> Sequence[AddressInfo]:
    """Return what a host's name stands for, once that was checked.

    Raises:
        LoadError: `unreadable` where one of its addresses is not public.
        OSError: the name is not known, or is not found out in time.
    """
    import socket

    def look_up() -> Sequence[AddressInfo]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return cast("Sequence[AddressInfo]", found)

    addresses = call_within(deadline.check(), look_up)
    private = [str(a[4][0]) for a in addresses if not is_public(str(a[4][0]))]
    if private and not allow_private:
        raise LoadError(
            "unreadable",
            f"{host} is {private[0]}, which is not an address of the public Internet; "
            "--allow-private lets it be asked",
        )
    return addresses
