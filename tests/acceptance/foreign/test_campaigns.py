"""The two campaigns against servers that we did not write: what arrived is what the ledger says."""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from blocks import SmppGateway, SmtpServer
from ignition_ext.devtools.foreign_servers import NODE_ACCOUNT, NODE_PASSWORD, NodeSmsc, SmtpSink
from ignition_ext.devtools.generated_audience import write_audience
from ignition_ext.devtools.sample_audience import COLUMNS

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "deployments" / "acme"
EMAILS, TEXTS = 10_000, 5_000
FEWER_EMAILS, FEWER_TEXTS = 2_000, 1_000
"""The way is the same on the other database, and so is what it comes to."""
TASK_RUNS = 30
PHONE = "+491512999{:04d}"
"""Numbers that the generated audience does not have."""


@dataclass(frozen=True)
class Ran:
    """A campaign that was run, and what the far side should hold of it."""

    status: Mapping[str, Any]
    expected: Mapping[str, str]
    """Recipient to what shows that the message is theirs: account id, or the whole text."""

    @property
    def flow_run_id(self) -> str:
        return str(self.status["flow_run_id"])


# --- email


def _people(path: Path, people: int) -> dict[str, str]:
    """Write an audience of all kinds of rows; returns the addresses that are to be written to."""
    write_audience(path, people)
    rows: list[list[str]] = []

    def add(email: str, phone: str) -> str:
        account = f"AC-X{len(rows):03d}"
        row = {"email": email, "phone": phone, "first_name": "Ada", "locale": "en"}
        row |= {"renewal_date": "2027-01-12", "amount": "5.90", "currency": "EUR"}
        rows.append([{**row, "account_id": account}.get(column, "") for column in COLUMNS])
        return account

    expected = {f"person{number}@example.com": f"AC-{number:07d}" for number in range(people)}
    expected["ada@xn--bcher-kva.example"] = add("Ada@BÜCHER.example", "")
    expected["o'hara+news@example.org"] = add(" O'Hara+News@example.org ", PHONE.format(1))
    for number in (0, 17, people - 1):  # three that are there already
        add(f" PERSON{number}@Example.COM", f"0151{20_000_000 + number}")
    add("person5@example.com", PHONE.format(2))  # another number, the same mailbox
    for bad in ("nobody", "a@b@example.com", "two words@example.com", "", "x@", "@example.com"):
        add(bad, "")
    add("victim@example.com\r\nBcc: thief@example.com", "")
    add("not an address", PHONE.format(3))  # reached by SMS only
    add("josé@example.com", "")  # needs SMTPUTF8, which smtp-sink does not have
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
        file.write("too,few,fields\r\n")
    return expected


def _send_newsletter(site: Any, sink: SmtpSink, people: int = EMAILS) -> Ran:
    """The sample's newsletter, attachment and all, to the generated people."""
    tenant = site.tenant()
    site.ignition("template", "push", SAMPLE / "templates", "--tenant", tenant, "--publish")
    block = SmtpServer(host="127.0.0.1", port=sink.port, security="none")
    folder = site.folder / tenant
    folder.mkdir()
    expected = _people(folder / "people.csv", people)
    shutil.copy(SAMPLE / "terms.txt", folder)
    definition = yaml.safe_load((SAMPLE / "newsletter.yaml").read_text())
    changes = {"tenant": tenant, "audience": {"csv": "people.csv"}, "schedules": []}
    campaign = site.apply(
        {**definition, **changes, "block": site.save(block, f"{tenant}-mail")},
    )
    return Ran(site.run(campaign, "email"), expected)


def _require_mail(site: Any, sink: SmtpSink, ran: Ran) -> None:
    """The dump holds each recipient once, and the ledger's ids."""
    status = ran.status
    counts = {state: count for state, count in status["counts"].items() if count}
    assert counts == {"sent": len(ran.expected), "failed": 1, "total": len(ran.expected) + 1}
    assert (status["state"], status["prefect_state"]) == ("completed", "Completed")
    assert (status["duplicates"], status["rejected"], status["skipped"]) == (3, 8, 1)

    arrived: Counter[tuple[str, str]] = Counter()
    for number, one in enumerate(sink.taken()):
        message_id = str(one.message["Message-ID"]).strip("<>").partition("@")[0]
        arrived[one.recipient, message_id] += 1
        assert parseaddr(one.message["To"])[1] == one.recipient
        assert [one.message[name] for name in ("Bcc", "Cc")] == [None, None]
        if number % 100 == 0:
            text = next(part for part in one.message.walk() if not part.is_multipart())
            assert ran.expected[one.recipient].encode() in text.get_payload(decode=True)
    assert arrived.total() == len(ran.expected)
    assert {recipient for recipient, _ in arrived} == set(ran.expected)
    assert set(arrived) == {
        (row["address"], row["message_id"])
        for row in site.messages(ran.flow_run_id)
        if row["state"] == "sent"
    }


def _require_few_task_runs(site: Any, ran: Ran, wait: Callable[..., Any]) -> None:
    def look() -> list[str]:
        named = [run["name"] for run in site.task_runs(ran.flow_run_id)]
        return named if any(name.startswith("close_run") for name in named) else []

    assert 5 <= len(wait(look)) < TASK_RUNS


def _require_second_attempt(site: Any, ran: Ran, wait: Callable[..., Any]) -> None:
    """Retry as the UI does it; the flow's body ran again, and it says so in its log."""
    again = site.retry(ran.flow_run_id)

    assert (again["state_name"], again["run_count"]) == ("Completed", 2)
    wait(lambda: re.search(r"continuing run \S+ \(attempt 2\)", site.log(ran.flow_run_id)))


def test_10_000_emails_arrive_at_smtp_sink_once(
    site: Any, sink: SmtpSink, wait: Callable[..., Any]
) -> None:
    """Duplicates, bad rows and a second attempt of the finished run add nothing."""
    ran = _send_newsletter(site, sink)

    _require_mail(site, sink, ran)
    _require_few_task_runs(site, ran, wait)
    _require_second_attempt(site, ran, wait)
    _require_mail(site, sink, ran)


# --- SMS

GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "^{}\\[~]|€\f"
CLUSTERS = ("👩‍👩‍👧", "🇩🇪", "👍🏽")
KINDS = (
    "Your parcel arrives today. ",
    "{50 €} [a|b] ~^\\ ",
    "Ürün ığdır şişli ÇĞÖ ",
    "Party 🎉 👩‍👩‍👧 🇩🇪 👍🏽 ",
    "Größe in Málaga? ",
)


def _cut(text: str) -> tuple[int, list[str]]:
    """``data_coding`` and the parts that a text must become (TS 23.038, TS 23.040)."""
    if all(letter in GSM + EXTENSION for letter in text):
        coding, alone, limit = 0, 160, 153
        units = [2 if letter in EXTENSION else 1 for letter in text]
        atoms = list(text)
    else:
        coding, alone, limit = 8, 70, 67
        atoms = re.findall(f"{'|'.join(CLUSTERS)}|.", text, re.S)
        units = [len(atom.encode("utf-16-be")) // 2 for atom in atoms]
    if sum(units) <= alone:
        return coding, [text]
    parts, room = [""], limit
    for atom, cost in zip(atoms, units, strict=True):
        if cost > room:
            parts.append("")
            room = limit
        parts[-1] += atom
        room -= cost
    return coding, parts


def _texts(path: Path, people: int) -> dict[str, str]:
    """Write an audience for SMS; returns what is to arrive where, without our renderer."""
    expected = {}
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["phone", "first_name", "locale", "note"])
        for number in range(people):
            phone, name = f"+49151{20_000_000 + number}", f"Person {number}"
            kind = number % len(KINDS)
            most = 7 if kind in (2, 3) else 12
            note = (KINDS[kind] * (1 + number // len(KINDS) % most)).strip()
            rows.writerow([phone, name, "tr" if kind == 2 else "en", note])
            text = f"Sayın {name}, {note}" if kind == 2 else f"Hi {name}: {note} <ok>"
            expected[phone] = text
        rows.writerow([PHONE.format(1), "Nobody", "en", "far too long " * 200])
        rows.writerow(["0151 2000 0000", "Person 0", "en", "a second time"])
        rows.writerow(["12", "Short", "en", "no number"])
    return expected


def _send_texts(site: Any, smsc: NodeSmsc, people: int = TEXTS) -> Ran:
    tenant = site.tenant()
    folder = site.folder / tenant
    template = folder / "notice"
    template.mkdir(parents=True)
    (template / "sms.txt").write_text("Hi {{ first_name }}: {{ note }} <ok>")
    (template / "sms.tr.txt").write_text("Sayın {{ first_name }}, {{ note }}")
    site.ignition("template", "push", template, "--tenant", tenant, "--publish")
    block = SmppGateway(
        host="127.0.0.1", port=smsc.port, system_id=NODE_ACCOUNT, password=NODE_PASSWORD
    )
    expected = _texts(folder / "people.csv", people)
    campaign = site.apply(
        {
            "name": "notice",
            "tenant": tenant,
            "channel": "sms",
            "audience": {"csv": "people.csv"},
            "template": "notice",
            "block": site.save(block, f"{tenant}-sms"),
            "from": "ACME",
        }
    )
    return Ran(site.run(campaign, "sms"), expected)


def _require_texts(smsc: NodeSmsc, ran: Ran) -> None:
    """Each segment as the foreign decoder read it, against the text written by hand."""
    people = len(ran.expected)
    counts = {state: count for state, count in ran.status["counts"].items() if count}
    assert counts == {"delivered": people, "failed": 1, "total": people + 1}
    assert (ran.status["duplicates"], ran.status["rejected"]) == (1, 1)

    arrived: defaultdict[str, dict[int, tuple[int, str]]] = defaultdict(dict)
    heads: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for one in smsc.submits():
        assert (one["source"], one["registered_delivery"]) == ("ACME", 1)
        _, _, reference, total, number = (
            bytes.fromhex(one["udh"][0]) if one["udh"] else b"\0\3\0\1\1"
        )
        to = f"+{one['destination']}"
        assert number not in arrived[to], f"{to} got part {number} twice"
        arrived[to][number] = one["data_coding"], one["text"]
        heads[to].add((reference, total))
    assert set(arrived) == set(ran.expected)
    shapes = set()
    for to, text in ran.expected.items():
        coding, parts = _cut(text)
        shapes.add((coding, len(parts)))
        assert arrived[to] == {number: (coding, part) for number, part in enumerate(parts, 1)}
        assert {total for _, total in heads[to]} == {len(parts)}
        assert len(heads[to]) == 1, f"the parts to {to} have several references"
    assert shapes >= {(coding, parts) for coding in (0, 8) for parts in (1, 2, 3)}


def test_5_000_texts_are_read_by_node_smpp_as_written(
    site: Any, smsc: NodeSmsc, wait: Callable[..., Any]
) -> None:
    """GSM-7, extension characters, Turkish and emoji in 1 to 3 parts; a retry adds none."""
    ran = _send_texts(site, smsc)

    _require_texts(smsc, ran)
    _require_few_task_runs(site, ran, wait)
    _require_second_attempt(site, ran, wait)
    _require_texts(smsc, ran)


# --- both, on one database with Prefect


def _queries(kind: str = "") -> list[str]:
    """The documentation's queries of one kind."""
    text = (ROOT / "docs" / "analysts.md").read_text(encoding="utf-8")
    return re.findall(rf"^```sql{kind and ' ' + kind}\n(.+?)^```", text, re.M | re.S)


def _ask_as_analyst(site: Any, queries: list[str]) -> dict[str, int]:
    """Rows of each query, asked with the rights of the documented role alone."""
    script = site.ignition("db", "analyst-role")
    [grant] = _queries("prefect-role")
    with psycopg.connect(site.database_url) as connection:  # rolled back: roles are the server's
        for statement in (script, grant, "SET LOCAL ROLE ignition_analyst"):
            connection.execute(statement.encode())
        found = {query: len(connection.execute(query.encode()).fetchall()) for query in queries}
        connection.rollback()
    return found


def test_both_campaigns_run_with_prefect_on_the_same_postgresql(
    postgres_site: Any, sink: SmtpSink, smsc: NodeSmsc, wait: Callable[..., Any]
) -> None:
    """The same as on SQLite, and every query in the analysts' docs gives rows."""
    emails = _send_newsletter(postgres_site, sink, FEWER_EMAILS)
    texts = _send_texts(postgres_site, smsc, FEWER_TEXTS)

    _require_mail(postgres_site, sink, emails)
    _require_few_task_runs(postgres_site, emails, wait)
    _require_texts(smsc, texts)
    _require_few_task_runs(postgres_site, texts, wait)

    # One query is about runs that crashed after their last message: make this one of them.
    crashed = {"type": "CRASHED", "name": "Crashed"}
    postgres_site.ask(f"/flow_runs/{texts.flow_run_id}/set_state", state=crashed, force=True)
    message = postgres_site.messages(texts.flow_run_id)[0]["message_id"]
    # Those about two channels have their rows in test_views: here no email falls back.
    queries = [
        re.sub(r"(?<=message_id = ')[^']+", message, query)
        for query in _queries() + _queries("prefect")
        if "analytics.fallbacks" not in query
    ]
    found = _ask_as_analyst(postgres_site, queries)
    assert len(found) == len(queries) > 9
    assert [query for query, rows in found.items() if not rows] == []


# --- killed halfway

SOME, SLOW_CONNECTIONS = 200, 10
LEASE_SECONDS = 5


def test_a_run_killed_halfway_sends_the_rest_when_retried(
    site: Any, slow_sink: SmtpSink, wait: Callable[..., Any], kill_flow_run: Callable[[str], int]
) -> None:
    """The sender dies with mails on the wire: what is certain comes once, nothing twice."""
    tenant = site.tenant()
    worker = site.worker("email")
    folder = site.folder / tenant
    (folder / "hello").mkdir(parents=True)
    (folder / "hello" / "subject.txt").write_text("Hello {{ first_name }}")
    (folder / "hello" / "body.txt").write_text("{{ account_id }}")
    write_audience(folder / "people.csv", SOME)
    site.ignition("template", "push", folder / "hello", "--tenant", tenant, "--publish")
    block = SmtpServer(
        host="127.0.0.1", port=slow_sink.port, security="none", connections=SLOW_CONNECTIONS
    )
    campaign = site.apply(
        {
            "name": "hello",
            "tenant": tenant,
            "channel": "email",
            "audience": {"csv": "people.csv"},
            "template": "hello",
            "block": site.save(block, f"{tenant}-mail"),
            "from": "Acme <news@acme.example>",
        }
    )
    flow_run_id = site.start(campaign, {"IGNITION_LEASE_SECONDS": str(LEASE_SECONDS)})
    wait(lambda: slow_sink.count() >= SOME // 3)
    assert kill_flow_run(flow_run_id)
    assert site.ended(flow_run_id)["state_name"] == "Crashed"
    # Prefect 3.8.8 reports a crash twice, the second time when the hook has run, and would take
    # that for the next attempt's. The worker's advice follows its report.
    wait(lambda: "flow_runs.worker - Check whether" in worker.log.read_text(), 120)
    before = slow_sink.count()
    again = site.retry(flow_run_id)

    assert before < SOME - 2 * SLOW_CONNECTIONS, "it was killed too late to show anything"
    assert (again["state_name"], again["run_count"]) == ("Completed", 2)
    arrived = Counter(one.recipient for one in slow_sink.taken())
    states = {row["address"]: row["state"] for row in site.messages(flow_run_id)}
    assert max(arrived.values()) == 1
    assert set(states) == {f"person{number}@example.com" for number in range(SOME)}
    assert set(states.values()) <= {"sent", "uncertain"}
    uncertain = {address for address, state in states.items() if state == "uncertain"}
    assert len(uncertain) <= 2 * SLOW_CONNECTIONS
    assert set(states) - uncertain <= set(arrived) <= set(states)
