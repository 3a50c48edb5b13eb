"""The binds of a gateway, shared by the senders of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blocks import SmppGateway


@given(st.integers(1, 50), st.integers(1, 64))
def test_senders_open_no_more_than_their_part(binds: int, senders: int) -> None:
    """None takes all; together they can use all; one alone has all."""
    gateway = SmppGateway(host="smpp.example.com", system_id="acme", binds=binds)
    own = gateway.transport(senders=senders).options.binds
    assert 1 <= own <= binds
    assert own * senders >= binds
    assert (own - 1) * senders < binds
    assert gateway.transport().options.binds == binds
