"""Stores the demo's blocks on the Prefect server that the environment names.

``python -m ignition_ext.devtools.demo_blocks MAIL_PORT SMSC_PORT SYSTEM_ID PASSWORD``
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points


def main(mail_port: str, smsc_port: str, system_id: str, password: str) -> None:
    """Store ``acme-mail`` and ``acme-sms``, also over older ones."""
    (collection,) = entry_points(group="prefect.collections", name="ignition")
    blocks = collection.load()
    mail = blocks.SmtpServer(host="127.0.0.1", port=int(mail_port), security="none")
    mail.save("acme-mail", overwrite=True)
    gateway = blocks.SmppGateway(
        host="127.0.0.1", port=int(smsc_port), system_id=system_id, password=password
    )
    gateway.save("acme-sms", overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
