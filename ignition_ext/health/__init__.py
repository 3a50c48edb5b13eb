"""Whether this node can work and what it works on: for probes, for people, for ``doctor``."""

from ignition_ext.health.check import Check, Verdict, failed, hint, passed
from ignition_ext.health.server import Job, serve

__all__ = ["Check", "Job", "Verdict", "failed", "hint", "passed", "serve"]
