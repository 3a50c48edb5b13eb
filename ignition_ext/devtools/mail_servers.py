"""Mail servers by others, on loopback, that return and keep mails: Debian's Postfix and Dovecot.

Both switch users by themselves and so start as root only. Their folders have short names of their
own: the paths of their sockets may not be longer than a hundred characters.
"""

from __future__ import annotations

import os
import shutil
import signal
import smtplib
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.referee import find_program
from ignition_ext.devtools.stack import ChildProcess

START_SECONDS = 120
MAILBOX_PASSWORD = "secret"
BOUNCES = "bounces"
"""The user whose mailbox takes what comes back, at any address ``bounces+…``."""
_OWNER = "nobody"
_SERVICES = """\
{port} inet n - n - - smtpd
{strict_port} inet n - n - - smtpd
  -o cleanup_service_name=strict
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
strict unix n - n - 0 cleanup
  -o header_checks=regexp:{folder}/refused
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""
_SETTINGS = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = /dev/stdout
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.com
mydestination =
alias_maps =
local_recipient_maps =
relay_recipient_maps =
relay_domains = static:all
transport_maps = inline:{{ {routes} }}
default_transport = error:5.1.2 no route
recipient_delimiter = +
delay_warning_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
smtp_connection_cache_on_demand = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
"""
_DOVECOT = """\
protocols = imap lmtp
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
listen = 127.0.0.1
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
mail_location = maildir:~/mail
mail_plugins = quota
recipient_delimiter = +
auth_username_format = %n
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
namespace inbox {{
  inbox = yes
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_grace = 0
}}
service imap-login {{
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


class Dovecot(ChildProcess):
    """IMAP and LMTP for a few users; whoever is not among them is refused as unknown.

    Args:
        users: who has a mailbox, besides :data:`BOUNCES`.
        full: whose mailbox has no room for any mail.
        certificate: PEM file with key and chain for IMAP over TLS; without one there is no TLS.
    """

    def __init__(
        self,
        users: Sequence[str] = (),
        *,
        full: Sequence[str] = (),
        certificate: Path | None = None,
    ) -> None:
        super().__init__("dovecot", Path(tempfile.mkdtemp(prefix="dovecot-")))
        self.imap_port, self.imaps_port, self.lmtp_port = free_port(), free_port(), free_port()
        self._users, self._full, self._certificate = users, full, certificate

    def start(self) -> Self:
        """Start it and wait until it takes connections."""
        self.folder.chmod(0o755)
        (self.folder / "users").write_text(
            "".join(self._user(name) for name in (BOUNCES, *self._users, *self._full))
        )
        certificate = ""
        if self._certificate is not None:
            shutil.copy(self._certificate, self.folder / "server.pem")
            certificate = (
                f"ssl_cert = <{self.folder}/server.pem\nssl_key = <{self.folder}/server.pem"
            )
        config = self.folder / "dovecot.conf"
        config.write_text(
            _DOVECOT.format(
                folder=self.folder,
                ssl="yes" if certificate else "no",
                certificate=certificate,
                imap_port=self.imap_port,
                imaps_port=self.imaps_port,
                lmtp_port=self.lmtp_port,
            )
        )
        self.spawn([find_program("dovecot"), "-F", "-c", str(config)], os.environ)
        self.wait_until(self._answers, START_SECONDS)
        return self

    def _user(self, name: str) -> str:
        home = self.folder / "home" / name
        home.mkdir(parents=True)
        shutil.chown(home, _OWNER)
        rule = "userdb_quota_rule=*:bytes=1" if name in self._full else ""
        return f"{name}:{{PLAIN}}{MAILBOX_PASSWORD}:65534:65534::{home}::{rule}\n"

    def _answers(self) -> bool:
        for port in (self.imap_port, self.lmtp_port):
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                if not connection.recv(3):
                    return False
        return True

    def stop(self, seconds: float = 20) -> None:
        """End it, and delete its mailboxes."""
        super().stop(seconds)
        shutil.rmtree(self.folder, ignore_errors=True)


class Postfix(ChildProcess):
    """Takes mail for any domain and hands it on, each domain by its own transport.

    Args:
        routes: transports by domain, such as ``{"example.org": "lmtp:inet:127.0.0.1:24"}``.

    Attributes:
        port: where it takes mail.
        strict_port: the same, but every message that has a subject is refused.
    """

    def __init__(self, routes: dict[str, str] | None = None) -> None:
        super().__init__("postfix", Path(tempfile.mkdtemp(prefix="postfix-")))
        self.port, self.strict_port = free_port(), free_port()
        self.routes = dict(routes or {})

    @property
    def strict(self) -> str:
        """The transport to the port that refuses what it reads."""
        return f"smtp:[127.0.0.1]:{self.strict_port}"

    def start(self) -> Self:
        """Start it and wait until it takes mail."""
        self.folder.chmod(0o755)
        for name in ("spool", "data"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        routes = ", ".join(f"{{{domain}={to}}}" for domain, to in self.routes.items())
        (self.folder / "main.cf").write_text(_SETTINGS.format(folder=self.folder, routes=routes))
        (self.folder / "master.cf").write_text(
            _SERVICES.format(folder=self.folder, port=self.port, strict_port=self.strict_port)
        )
        (self.folder / "refused").write_text(
            "/^Subject:/ REJECT 5.7.1 this looks like spam to us\n"
        )
        command = [find_program("postfix"), "-c", str(self.folder), "start-fg"]
        self.spawn(command, os.environ)
        self.wait_until(self._answers, START_SECONDS)
        return self

    def _answers(self) -> bool:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=5) as connection:
            return connection.noop()[0] == 250

    def kill(self) -> None:
        """End it at once; its master leads a group of its own."""
        with suppress(OSError, ValueError):  # it has not written its id, or is gone already
            master = int((self.folder / "spool" / "pid" / "master.pid").read_text())
            os.killpg(master, signal.SIGKILL)
        super().kill()

    def stop(self, seconds: float = 20) -> None:
        """End it, and delete its queue."""
        super().stop(seconds)
        shutil.rmtree(self.folder, ignore_errors=True)
