"""Blocks: what an operator fills in once in the Prefect UI."""

from blocks.mailbox import BounceMailbox
from blocks.smpp import SmppGateway
from blocks.smtp import SmtpServer

__all__ = ["BounceMailbox", "SmppGateway", "SmtpServer"]
