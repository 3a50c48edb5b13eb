"""The tables that are read and written here without models: many rows at a time."""

from __future__ import annotations

from sqlalchemy import Table
from sqlmodel import SQLModel

from ignition_ext.models.audit import AuditHead, AuditLog
from ignition_ext.models.campaign import Campaign, CampaignRun
from ignition_ext.models.outcome import (
    OutboxEvent,
    OutcomeCursor,
    WebhookDelivery,
    WebhookEndpoint,
)
from ignition_ext.models.tenant import Tenant


def _table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


OUTBOX = _table(OutboxEvent)
CURSORS = _table(OutcomeCursor)
ENDPOINTS = _table(WebhookEndpoint)
DELIVERIES = _table(WebhookDelivery)
RUNS = _table(CampaignRun)
CAMPAIGNS = _table(Campaign)
TENANTS = _table(Tenant)
AUDIT = _table(AuditLog)
HEADS = _table(AuditHead)
