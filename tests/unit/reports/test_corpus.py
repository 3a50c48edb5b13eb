"""Reports that real servers wrote; corpus/README.md says how they came to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from ignition_ext.channels.reports import ReportKind, parse_report
from ignition_ext.values import FailureClass

CORPUS = Path(__file__).parent / "corpus"
MEANS = {
    "unknown-user": ("nobody@example.org", "5.1.1", "550", FailureClass.ADDRESS, True),
    "mailbox-full": ("full@example.org", "5.2.2", "552", FailureClass.MAILBOX, False),
    "content-refused": ("jo@strict.example.org", "5.7.1", "550", FailureClass.POLICY, False),
}
"""Address, status, code, class, hard: the same whichever server hands on the refusal."""
OWN = {
    "postfix-no-such-domain": ("jo@nowhere.example.org", "5.4.4", FailureClass.CONNECTION),
    "exim-no-such-domain": ("jo@nowhere.example.org", "5.0.0", FailureClass.ADDRESS),
    "exim-gave-up": ("jo@gone.example.org", "5.0.0", FailureClass.CONNECTION),
}
"""What the sending servers found out themselves; never hard, for it may be their own fault."""
SERVERS = ("postfix", "exim", "opensmtpd")


def read(name: str) -> bytes:
    return (CORPUS / f"{name}.eml").read_bytes()


def test_every_report_is_looked_at() -> None:
    """A file that is added has to be said what it means."""
    known = {f"{server}-{case}" for server in SERVERS for case in MEANS}
    known |= OWN.keys() | {"postfix-delayed", "exim-delayed"}

    assert {path.stem for path in CORPUS.glob("*.eml")} == known


@pytest.mark.parametrize("case", MEANS)
@pytest.mark.parametrize("server", SERVERS)
def test_a_refusal_means_the_same_from_each_server(server: str, case: str) -> None:
    """The parser was made with Postfix's reports alone."""
    report = parse_report(read(f"{server}-{case}"))

    found = report.decisive
    told = (found.address, found.status, found.code, found.failure_class, found.is_hard)
    assert report.kind is ReportKind.BOUNCE
    assert told == MEANS[case]
    assert found.diagnostic.startswith(f"{found.code} {found.status} ")
    assert report.reporting_mta == "mx.example.com"


@pytest.mark.parametrize("name", OWN)
def test_what_a_server_found_out_itself_is_never_hard(name: str) -> None:
    """No route may mean that our own relay is set up wrongly."""
    report = parse_report(read(name))

    found = report.decisive
    assert report.kind is ReportKind.BOUNCE
    assert (found.address, found.status, found.failure_class) == OWN[name]
    assert not found.is_hard
    assert found.diagnostic


@pytest.mark.parametrize("server", ["postfix", "exim"])
def test_a_delay_is_no_bounce(server: str) -> None:
    """The server goes on trying."""
    report = parse_report(read(f"{server}-delayed"))

    assert report.kind is ReportKind.DELAYED
    assert report.decisive.address == "jo@slow.example.org"
    assert not report.decisive.is_hard


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.eml")), ids=lambda path: path.stem)
def test_each_says_whose_it_is(path: Path) -> None:
    """The envelope sender that it came back to, and the Message-ID of the original."""
    report = parse_report(path.read_bytes())

    assert report.returned_to[0].startswith("bounces+")
    assert report.returned_to[0].endswith("@mail.example.com")
    assert report.message_ids[0].startswith("0192f0c0-c0c0-7000-8000-")
