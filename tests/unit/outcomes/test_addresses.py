"""Where webhooks may lead: to the public internet, and where the operator said so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.errors import ConfigurationError
from ignition_ext.outcomes.addresses import Guard, checked_url

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
INSIDE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::1",
    "::127.0.0.1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_allowed(address: str) -> None:
    """Also as nodes without IPv4 see it."""
    assert Guard().permits(address)
    assert not Guard().permits_plain_http(address)


@pytest.mark.parametrize("address", INSIDE)
def test_what_leads_inside_is_refused(address: str) -> None:
    """Private, loopback, link-local, multicast and reserved ones, however they are written."""
    assert not Guard().permits(address)


@given(st.ip_addresses(network="10.0.0.0/8").map(str))
def test_no_form_of_a_private_address_gets_through(address: str) -> None:
    """Mapped and translated forms are judged as the address they stand for."""
    assert not any(
        Guard().permits(form) for form in (address, f"::ffff:{address}", f"64:ff9b::{address}")
    )


def test_the_operator_can_allow_networks() -> None:
    """Those and no others, in either form; there http:// will do."""
    guard = Guard.of("10.20.0.0/16, fd00:1::/64,127.0.0.1")
    assert guard.permits("10.20.1.1")
    assert guard.permits("::ffff:10.20.1.1")
    assert guard.permits("fd00:1::5")
    assert guard.permits_plain_http("127.0.0.1")
    assert not guard.permits_plain_http("8.8.8.8")
    assert not guard.permits("10.21.0.1")
    assert not guard.permits("127.0.0.2")
    with pytest.raises(ConfigurationError, match="ALLOW_PRIVATE"):
        Guard.of("10.0.0.1/8")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "hooks.example.com",
        "https://",
        "https://user:word@hooks.example.com/",
        "https://hooks.example.com/#part",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]:8443/",
        "https://169.254.169.254/latest/meta-data",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com/" + "x" * 2000,
        "https://hooks.example.com/\n",
    ],
)
def test_urls_that_no_webhook_can_have(url: str) -> None:
    """They are refused when they are registered, with a mend."""
    with pytest.raises(ConfigurationError) as caught:
        checked_url(url, Guard())
    assert caught.value.mend


def test_urls_are_kept_as_they_are_sent_to() -> None:
    """Query and port stay; http:// where a network was allowed."""
    url = "https://hooks.example.com:8443/a/b?c=d"
    assert checked_url(url, Guard()) == url
    assert checked_url("http://10.20.0.5/x", Guard.of("10.20.0.0/16")) == "http://10.20.0.5/x"
