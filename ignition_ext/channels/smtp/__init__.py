"""Email over SMTP (RFC 5321): envelopes in, outcomes out."""

from ignition_ext.channels.smtp.options import EmailEnvelope, ServerOffer, SmtpOptions
from ignition_ext.channels.smtp.transport import SmtpTransport

__all__ = ["EmailEnvelope", "ServerOffer", "SmtpOptions", "SmtpTransport"]
