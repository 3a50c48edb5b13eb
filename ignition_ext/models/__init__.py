"""SQLModel tables, grouped by subject. Importing this module loads all of them."""

from sqlmodel import SQLModel

from ignition_ext.models.audience import Audience, RecipientRow, Suppression
from ignition_ext.models.audit import AuditHead, AuditLog
from ignition_ext.models.budget import BindSlot, Circuit, CircuitTrouble, RateBudget
from ignition_ext.models.campaign import Campaign, CampaignRun, CampaignVersion
from ignition_ext.models.chain import ChainArrival, ChainRelease, ReleaseState
from ignition_ext.models.consent import (
    CappedMessage,
    ForgottenAddress,
    ForgottenKey,
    Preference,
)
from ignition_ext.models.cost import (
    CostKind,
    EstimateBasis,
    MoneyAccount,
    MoneyHold,
    PriceKind,
    RateCard,
    RateCardEntry,
    RunCost,
    RunRateCard,
)
from ignition_ext.models.fallback import FallbackMessage, FallbackRun
from ignition_ext.models.incoming import (
    InboundMessage,
    InboundPart,
    ReplyState,
    SmsReply,
    SmsRoute,
)
from ignition_ext.models.mail_report import MailReport
from ignition_ext.models.message import (
    Message,
    MessageDue,
    MessageEvent,
    MessagePart,
    Receipt,
    SenderLease,
)
from ignition_ext.models.outcome import (
    DeliveryState,
    EndpointState,
    OutboxEvent,
    OutcomeCursor,
    WebhookDelivery,
    WebhookEndpoint,
)
from ignition_ext.models.steps import MessageHeld, RunSteps
from ignition_ext.models.template import Template, TemplateState, TemplateVersion
from ignition_ext.models.tenant import Tenant, TenantSetting
from ignition_ext.models.tracking import TrackedUrl, TrackingEvent, TrackingKind

metadata = SQLModel.metadata

__all__ = [
    "Audience",
    "AuditHead",
    "AuditLog",
    "BindSlot",
    "Campaign",
    "CampaignRun",
    "CampaignVersion",
    "CappedMessage",
    "ChainArrival",
    "ChainRelease",
    "Circuit",
    "CircuitTrouble",
    "CostKind",
    "DeliveryState",
    "EndpointState",
    "EstimateBasis",
    "FallbackMessage",
    "FallbackRun",
    "ForgottenAddress",
    "ForgottenKey",
    "InboundMessage",
    "InboundPart",
    "MailReport",
    "Message",
    "MessageDue",
    "MessageEvent",
    "MessageHeld",
    "MessagePart",
    "MoneyAccount",
    "MoneyHold",
    "OutboxEvent",
    "OutcomeCursor",
    "Preference",
    "PriceKind",
    "RateBudget",
    "RateCard",
    "RateCardEntry",
    "Receipt",
    "RecipientRow",
    "ReleaseState",
    "ReplyState",
    "RunCost",
    "RunRateCard",
    "RunSteps",
    "SenderLease",
    "SmsReply",
    "SmsRoute",
    "Suppression",
    "Template",
    "TemplateState",
    "TemplateVersion",
    "Tenant",
    "TenantSetting",
    "TrackedUrl",
    "TrackingEvent",
    "TrackingKind",
    "WebhookDelivery",
    "WebhookEndpoint",
    "metadata",
]
