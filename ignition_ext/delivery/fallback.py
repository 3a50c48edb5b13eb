"""Keeps with an email the number that its recipient is written to if it does not get through."""

from __future__ import annotations

from dataclasses import replace

from ignition_ext.delivery.recipients import country_code
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.fallback_wave import FALLBACK_KEY


def with_number(message: NewMessage, phone: str | None) -> NewMessage:
    """The same email, with the number that it may fall back to; as it is without one."""
    if not phone:
        return message
    number = {"address": phone, "domain": country_code(phone)}
    return replace(message, data={**message.data, FALLBACK_KEY: number})
