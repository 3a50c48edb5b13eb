"""The audit log: who changed what, chained by SHA-256 for each tenant, signed row by row."""

from ignition_ext.audit.checkpoint import Checkpoint, make_checkpoint, read_checkpoint
from ignition_ext.audit.keys import public_pem, signing_key, trusted_keys
from ignition_ext.audit.log import record
from ignition_ext.audit.newest import AuditEntry, tail
from ignition_ext.audit.report import ChainReport, Finding, FindingKind
from ignition_ext.audit.resign import sign_head
from ignition_ext.audit.verification import verify

__all__ = [
    "AuditEntry",
    "ChainReport",
    "Checkpoint",
    "Finding",
    "FindingKind",
    "make_checkpoint",
    "public_pem",
    "read_checkpoint",
    "record",
    "sign_head",
    "signing_key",
    "tail",
    "trusted_keys",
    "verify",
]
