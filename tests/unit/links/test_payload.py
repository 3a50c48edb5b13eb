"""What links say survives the way into them and back, and nothing else is read out of one."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.errors import TokenError
from ignition_ext.links import Addressee, TrackedMessage, TrackedTarget
from ignition_ext.values import Channel

_UUIDS = st.uuids()
_TENANTS = st.integers(1, 2**31 - 1)
_TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=320)


@given(tenant=_TENANTS, message=_UUIDS, channel=st.sampled_from(Channel), address=_TEXTS)
def test_an_addressee_survives(tenant: int, message: UUID, channel: Channel, address: str) -> None:
    """Any tenant, channel and address, in any script."""
    about = Addressee(tenant_id=tenant, message_id=message, channel=channel, address=address)

    assert Addressee.from_bytes(about.to_bytes()) == about


@given(tenant=_TENANTS, message=_UUIDS, url=_TEXTS, is_personal=st.booleans())
def test_a_target_survives(tenant: int, message: UUID, url: str, is_personal: bool) -> None:
    """The URL as it was written, and whether it is the recipient's own."""
    about = TrackedTarget(tenant_id=tenant, message_id=message, url=url, is_personal=is_personal)

    assert TrackedTarget.from_bytes(about.to_bytes()) == about


@given(tenant=_TENANTS, message=_UUIDS)
def test_a_message_survives(tenant: int, message: UUID) -> None:
    """A pixel names tenant and message."""
    about = TrackedMessage(tenant_id=tenant, message_id=message)

    assert TrackedMessage.from_bytes(about.to_bytes()) == about


@pytest.mark.parametrize("kind", [Addressee, TrackedMessage, TrackedTarget])
@given(octets=st.binary(max_size=60))
def test_what_another_release_made_is_refused(
    kind: type[Addressee | TrackedMessage | TrackedTarget], octets: bytes
) -> None:
    """Whatever the octets are, they are read or refused."""
    try:
        kind.from_bytes(octets)
    except TokenError:
        return
    assert octets[0] == 1
