"""Who may be written to: suppressions, preferences, frequency caps, and being forgotten."""

from ignition_ext.consent.suppressions import SuppressionReason, lift, suppress

__all__ = ["SuppressionReason", "lift", "suppress"]
