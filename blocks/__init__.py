"""Blocks: what an operator fills in once in the Prefect UI."""

from blocks.smpp import SmppGateway
from blocks.smtp import SmtpServer

__all__ = ["SmppGateway", "SmtpServer"]
