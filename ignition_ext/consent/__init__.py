"""Who may be written to: suppressions, preferences, frequency caps, and being forgotten."""

from ignition_ext.consent.preferences import (
    Choices,
    Preferences,
    read_preferences,
    set_preferences,
)
from ignition_ext.consent.suppressions import SuppressionReason, lift, suppress

__all__ = [
    "Choices",
    "Preferences",
    "SuppressionReason",
    "lift",
    "read_preferences",
    "set_preferences",
    "suppress",
]
