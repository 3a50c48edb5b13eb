"""The flow runs that drain a run side by side: how many, by which deployment, under which tag."""

from __future__ import annotations

from uuid import UUID

from ignition_ext.values import Channel

FLOW = "sender"
WORTH_A_SENDER = 100
"""Messages that are worth starting a process for: it costs seconds."""


def sender_deployment(channel: Channel) -> str:
    """``sender/email``: its runs land on the channel's work pool, in a queue of their own."""
    return f"{FLOW}/{channel.value}"


def run_tag(run_id: UUID) -> str:
    """What all senders of a run have in common."""
    return f"run:{run_id}"


def senders_wanted(allowed: int, messages: int) -> int:
    """How many senders to have, the run's own flow among them, for so many messages."""
    return max(1, min(allowed, -(-messages // WORTH_A_SENDER)))
