"""What is told to others: the outbox, message outcomes in batches, and webhooks."""

from ignition_ext.outcomes.outbox import JSON, Announcement, EventName, announce

__all__ = ["JSON", "Announcement", "EventName", "announce"]
