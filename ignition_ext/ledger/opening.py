"""Chooses the ledger for a database."""

from __future__ import annotations

from typing import assert_never

from ignition_ext.database import Database
from ignition_ext.ledger.contract import Ledger
from ignition_ext.ledger.postgres import PostgresLedger
from ignition_ext.ledger.sqlite import SqliteLedger


def open_ledger(database: Database) -> Ledger:
    """The ledger in this database; it holds no connection between calls."""
    match database.dialect:
        case "sqlite":
            return SqliteLedger(database)
        case "postgresql":
            return PostgresLedger(database)
        case other:
            assert_never(other)
