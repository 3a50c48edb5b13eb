"""Where webhooks may be sent: tenants choose the address, so it must not lead into our network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx

from ignition_ext.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
GLOBAL_UNICAST = IPv6Network("2000::/3")
"""What has been given out for the public internet (RFC 4291 section 2.4)."""
NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address as nodes without IPv4 see it (RFC 6052): judged as that address."""
TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
"""6to4 and Teredo hold an IPv4 address that somebody else would send to."""
URL_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Guard:
    """Says which addresses may be connected to.

    Attributes:
        allowed: networks that are allowed although they are not public.
    """

    allowed: Sequence[Network] = ()

    @classmethod
    def of(cls, written: str) -> Guard:
        """Reads the setting: networks separated by commas.

        Raises:
            ConfigurationError: one is no network.
        """
        try:
            return cls(tuple(ip_network(one.strip()) for one in written.split(",") if one.strip()))
        except ValueError as error:
            raise ConfigurationError(
                f"IGNITION_WEBHOOK_ALLOW_PRIVATE holds no list of networks: {error}.",
                mend="Write them as 10.20.0.0/16, fd00:1::/64 or a single address.",
            ) from error

    def is_private_allowed(self, address: Address) -> bool:
        """Whether the operator allowed this address by name."""
        return any(
            address in network for network in self.allowed if network.version == address.version
        )

    def permits(self, written: str) -> bool:
        """Whether this address, as the resolver wrote it, may be connected to."""
        try:
            address = plain(ip_address(written))
        except ValueError:
            return False
        return self.is_private_allowed(address) or is_public(address)

    def permits_plain_http(self, written: str) -> bool:
        """Whether it may be without TLS: only where the operator vouches for the network."""
        try:
            return self.is_private_allowed(plain(ip_address(written)))
        except ValueError:
            return False


def plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (``::ffff:127.0.0.1``), else itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether it is a single host of the public internet."""
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if isinstance(address, IPv6Address):
        return address in GLOBAL_UNICAST and not any(address in tunnel for tunnel in TUNNELS)
    return True


def checked_url(written: str, guard: Guard) -> str:
    """The URL as it is stored.

    Raises:
        ConfigurationError: it cannot be a webhook's; says why.
    """
    mend = "Give an address such as https://hooks.example.com/ignition"
    try:
        url = httpx.URL(written)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigurationError(f"{written!r} is no URL: {error}.", mend=mend) from error
    if len(str(url)) > URL_LENGTH:
        raise ConfigurationError(f"the URL is longer than {URL_LENGTH} characters.", mend=mend)
    if url.port is not None and not 0 < url.port < 65536:
        raise ConfigurationError(f"{written!r} has no port of TCP.", mend=mend)
    if url.scheme not in ("https", "http") or not url.host:
        raise ConfigurationError(f"{written!r} does not begin with https://.", mend=mend)
    if url.userinfo or url.fragment:
        raise ConfigurationError(
            "the URL holds a user or a fragment.",
            mend="Webhooks are known by their signature; leave both out.",
        )
    if url.scheme == "http" and not guard.allowed:
        raise ConfigurationError(
            f"{written!r} would be sent without TLS.",
            mend="Use https://, or allow the network in IGNITION_WEBHOOK_ALLOW_PRIVATE.",
        )
    if _is_literal(url.host) and not guard.permits(url.host):
        raise refused(url.host)
    return str(url)


def refused(address: str) -> ConfigurationError:
    """Why nothing is sent there."""
    return ConfigurationError(
        f"{address} is not an address of the public internet.",
        mend="Give a public address, or allow the network in IGNITION_WEBHOOK_ALLOW_PRIVATE.",
    )


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
