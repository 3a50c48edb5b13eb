"""What mail servers and recipients send back: from the bytes of a mail to a value; pure."""

from ignition_ext.channels.reports.parse import MAX_OCTETS, parse_report
from ignition_ext.channels.reports.report import MailReport, ReportedRecipient, ReportKind

__all__ = ["MAX_OCTETS", "MailReport", "ReportKind", "ReportedRecipient", "parse_report"]
