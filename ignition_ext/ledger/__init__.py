"""The ledger: every message accounted for; the only code that changes a message's state."""

from ignition_ext.ledger.opening import open_ledger

__all__ = ["open_ledger"]
