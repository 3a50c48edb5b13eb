"""The audit log: who changed what, chained by SHA-256 for each tenant, signed row by row."""

from ignition_ext.audit.log import record

__all__ = ["record"]
