"""The links that messages carry: made while composing, read when someone follows them."""

from ignition_ext.links.payload import Addressee, TrackedMessage, TrackedTarget
from ignition_ext.links.personal import LinkPlan, link_plan

__all__ = ["Addressee", "LinkPlan", "TrackedMessage", "TrackedTarget", "link_plan"]
