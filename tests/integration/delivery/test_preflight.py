"""Pre-flight against real databases and servers, which must not get a single message."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks import SmppGateway, SmtpServer
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.store import apply
from ignition_ext.consent.forgetting import forget
from ignition_ext.database import Database
from ignition_ext.delivery.finding import Severity
from ignition_ext.delivery.plan import CampaignPlan, plan_campaign
from ignition_ext.delivery.preflight import ChannelBlock, Preflight, check_campaign
from ignition_ext.delivery.preflight_report import preflight_document, preflight_markdown
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.errors import AuthenticationFailed, ConfigurationError, ConnectFailed
from ignition_ext.ledger.runs import RunRequest, open_run, set_run_state
from ignition_ext.models import Suppression
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant, get_tenant, set_tenant_setting
from ignition_ext.values import Channel, FailureClass, RunState

PEOPLE = [
    "ada@example.com,Ada,2",
    "bob@example.com,Bob,1",
    "cy@example.com,,1",
    "dan@example.com,Dan,none",
    "eve@example.com,Eve,1",
    "ada@example.com,Ada again,1",
    "not an address,Nobody,1",
]


@dataclass
class Setting:
    """A tenant with a template that counts, and an audience with every kind of trouble."""

    database: Database
    folder: Path

    async def plan(self, *, limit: int | None = None, **changes: Any) -> CampaignPlan:
        said: dict[str, Any] = {
            "name": "news",
            "tenant": "acme",
            "channel": "email",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": "mail",
            "from": "Acme <news@acme.example>",
            "unsubscribe": False,
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await apply(self.database, definition, base_path=self.folder, actor="test")
        async with self.database.read() as session:
            return await plan_campaign(session, "acme/news", environment="dev", limit=limit)

    async def check(
        self, plan: CampaignPlan, block: ChannelBlock, *, samples: int = 0
    ) -> Preflight:
        async def no_block(name: str) -> str:
            raise AssertionError(name)

        return await check_campaign(
            self.database, plan, block, run={}, resolve_block=no_block, samples=samples
        )

    def write(self, header: str, *rows: str) -> None:
        (self.folder / "people.csv").write_text("\n".join([header, *rows, ""]))

    async def allow(self, key: str, value: float) -> None:
        await set_tenant_setting(
            self.database, tenant="acme", key=f"preflight.{key}", value=value, actor="test"
        )


@pytest.fixture
async def setting(database: Database, tmp_path: Path) -> Setting:
    template = tmp_path / "news"
    template.mkdir()
    (template / "subject.txt").write_text("{{ count | int + 1 }} for {{ name }}")
    (template / "body.txt").write_text("Hello {{ name }}, {{ 4 // (count | int) }} are left")
    (template / "sms.txt").write_text("Hello {{ name }}")
    tenant = await create_tenant(database, name="acme", region="DE", actor="test")
    await push(database, tenant="acme", folder=template, actor="test", publish=True)
    assert tenant.id is not None
    async with database.write() as session:
        session.add(
            Suppression(
                tenant_id=tenant.id, channel="email", address="eve@example.com", reason="opt_out"
            )
        )
    made = Setting(database, tmp_path)
    made.write("email,name,count", *PEOPLE)
    return made


def mail(server: CaptureSmtpServer, **fields: Any) -> SmtpServer:
    return SmtpServer(host="127.0.0.1", port=server.port, security="none", **fields)


async def test_everything_that_a_run_would_meet_is_counted_and_nothing_goes_out(
    setting: Setting,
) -> None:
    """The server is asked once, and hears of nobody."""
    await setting.allow("unfit_percent", 50)
    async with CaptureSmtpServer() as server:
        checked = await setting.check(await setting.plan(), mail(server), samples=2)

        assert (server.connections, server.received, server.messages) == (1, 0, [])
    found = checked.found
    assert checked.would_run
    assert checked.headline == "would send 3 (1 cannot be sent)"
    assert (found.recipients, found.taken, found.messages) == (5, 5, 3)
    assert (found.suppressed, found.duplicates, found.rejected) == (1, 1, 1)
    assert found.unfit == {FailureClass.RENDER: 1}
    assert found.empty == {"name": 1}
    assert found.empty_rows == {"name": [4]}
    assert found.domains == {"example.com": 3}
    assert found.octets > found.largest > 0
    assert [problem.row for problem in found.problems] == [5]
    assert [(one["row"], one["subject"]) for one in found.samples] == [
        (2, "3 for Ada"),
        (3, "2 for Bob"),
    ]
    assert found.samples[0]["text"].strip() == "Hello Ada, 2 are left"


async def test_problems_name_the_row_and_no_person(setting: Setting) -> None:
    """What is logged and shown to everybody holds no address."""
    await setting.allow("unfit_percent", 50)
    async with CaptureSmtpServer() as server:
        checked = await setting.check(await setting.plan(), mail(server))

    shown = preflight_markdown(checked) + str(preflight_document(checked))
    for row in PEOPLE:
        assert row.partition(",")[0] not in shown
    assert "d…@example.com" in shown


async def test_too_many_that_cannot_be_sent_refuse_the_run(setting: Setting) -> None:
    """A quarter is more than a tenth; the tenant may think otherwise."""
    async with CaptureSmtpServer() as server:
        refused = await setting.check(await setting.plan(), mail(server))
        with pytest.raises(ConfigurationError, match=r"1 of 4 messages .* row 5") as caught:
            refused.require()
        await setting.allow("unfit_percent", 25)
        allowed = await setting.check(await setting.plan(), mail(server))

        assert server.received == 0
    assert not refused.would_run
    assert "ignition campaign check acme/news" in caught.value.mend
    assert allowed.would_run
    allowed.require()


@pytest.mark.parametrize("value", [-1, 101, True, "10"])
async def test_a_threshold_is_a_share_of_a_hundred(setting: Setting, value: Any) -> None:
    """Anything else is refused when it is set, not when a run begins."""
    with pytest.raises(ConfigurationError, match=r"cannot be preflight\.unfit_percent"):
        await setting.allow("unfit_percent", value)


async def test_rows_that_are_nobody_refuse_the_run_when_they_are_too_many(
    setting: Setting,
) -> None:
    """A column that was mixed up shows here, before half the audience is left out."""
    setting.write("email,name,count", "ada@example.com,Ada,1", "x,B,1", "y,C,1")
    async with CaptureSmtpServer() as server:
        checked = await setting.check(await setting.plan(), mail(server))

    (finding,) = checked.findings
    assert finding.severity is Severity.ERROR
    assert finding.text == "2 of 3 rows (66.7 %) are no recipient, more than 50 %"


async def test_bulk_mail_without_a_way_out_is_warned_of(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it says that it is none, bears the header, or the tenant's mail does."""
    setting.write("email,name,count", "ada@example.com,Ada,1")
    monkeypatch.setenv("IGNITION_WEB_URL", "https://mail.acme.example")
    own = {"List-Unsubscribe": "<mailto:stop@acme.example>"}
    async with CaptureSmtpServer() as server:
        silent = await setting.check(await setting.plan(unsubscribe=None), mail(server))
        others = [
            await setting.check(await setting.plan(**said), mail(server))
            for said in ({}, {"unsubscribe": True}, {"unsubscribe": None, "headers": own})
        ]

    (finding,) = silent.findings
    assert finding.severity is Severity.WARNING
    assert "List-Unsubscribe" in finding.text
    assert [other.findings for other in others] == [[], [], []]


async def test_nobody_to_write_to_refuses_the_run(setting: Setting) -> None:
    """Also where all are on the suppression list, by name or as forgotten."""
    setting.write("email,name,count", "eve@example.com,Eve,1")
    async with CaptureSmtpServer() as server:
        checked = await setting.check(await setting.plan(), mail(server))
        await forget(setting.database, tenant="acme", address="eve@example.com", actor="test")
        again = await setting.check(await setting.plan(), mail(server))

    assert [one.text for one in checked.findings] == [
        "all 1 recipients are on the suppression list"
    ]
    assert again.findings == checked.findings


async def test_a_wrong_login_refuses_the_run_in_its_own_class(setting: Setting) -> None:
    """It is asked once, and not again before somebody changed it."""
    setting.write("email,name,count", "ada@example.com,Ada,1")
    async with CaptureSmtpServer(users={"acme": "right"}) as server:
        block = mail(server, username="acme", password="wrong")
        first = await setting.check(await setting.plan(), block)
        second = await setting.check(await setting.plan(), block)
        right = await setting.check(
            await setting.plan(), mail(server, username="acme", password="right")
        )

        assert (server.logins, server.received) == (2, 0)
    with pytest.raises(AuthenticationFailed):
        first.require()
    assert not second.would_run
    assert right.would_run
    assert "logged in" in right.answer.words


@pytest.mark.parametrize("patience", [None, "1h"])
async def test_a_server_that_is_away_refuses_the_run_unless_it_would_wait(
    setting: Setting, patience: str | None
) -> None:
    """The rest is checked all the same."""
    setting.write("email,name,count", "ada@example.com,Ada,1")
    block = SmtpServer(host="127.0.0.1", port=free_port(), security="none")
    delivery = {} if patience is None else {"delivery": {"patience": patience}}
    checked = await setting.check(await setting.plan(**delivery), block)

    assert checked.found.messages == 1
    assert checked.would_run is (patience is not None)
    if patience is None:
        with pytest.raises(ConnectFailed):
            checked.require()


async def test_text_messages_are_cut_and_counted_and_the_gateway_is_only_bound_to(
    setting: Setting,
) -> None:
    """One in GSM-7, one in UCS-2 of two segments, one that is too long."""
    setting.write(
        "phone,name,count",
        "0170 1234567,Ada,1",
        "0170 1234568," + "я" * 100 + ",1",
        "0170 1234569," + "x" * 5000 + ",1",
    )
    await setting.allow("unfit_percent", 50)
    plan = await setting.plan(channel="sms", block="sms", **{"from": "Acme"})
    async with SmscSimulator() as smsc:
        gateway = SmppGateway(
            host="127.0.0.1",
            port=smsc.port,
            system_id=smsc.system_id,
            password=smsc.password,
            rate=10,
        )
        checked = await setting.check(plan, gateway, samples=2)

        assert smsc.submits == []
    found = checked.found
    assert found.encodings == {"gsm7": 1, "ucs2": 1}
    assert found.segments == {1: 1, 2: 1}
    assert found.unfit == {FailureClass.CONTENT: 1}
    assert checked.answer.words.startswith("bound as transceiver")
    assert checked.estimate.rate == pytest.approx(10 / 1.5)
    assert found.samples[0]["segments"] == ["Hello Ada"]
    assert "… texts of 2" in preflight_markdown(checked)


async def test_a_limit_looks_at_so_many_and_no_more(setting: Setting) -> None:
    """As a trial run would."""
    async with CaptureSmtpServer() as server:
        checked = await setting.check(await setting.plan(limit=2), mail(server))

    assert (checked.found.taken, checked.found.messages) == (2, 2)


async def test_the_estimate_keeps_the_rates_that_are_set(setting: Setting) -> None:
    """The slowest rate decides, and is named."""
    setting.write("email,name,count", *(f"p{n}@example.com,P,1" for n in range(20)))
    plan = await setting.plan(throttle={"per_second": 4, "per_domain": 2})
    async with CaptureSmtpServer() as server:
        checked = await setting.check(plan, mail(server))

    expected = checked.estimate
    assert (expected.rate, expected.by) == (2, "the rate domain:acme/news:example.com")
    assert expected.end is not None
    assert (expected.end - expected.begin).total_seconds() == pytest.approx(10)


async def test_a_version_has_run_once_a_run_of_it_was_opened(setting: Setting) -> None:
    """A trial with a limit is none of the whole; a skipped run, or another version's, is none."""

    async def begin(plan: CampaignPlan, *, limit: int | None = None) -> Any:
        assert plan.stored.campaign.id is not None
        return await open_run(
            setting.database,
            RunRequest(
                tenant_id=plan.stored.campaign.tenant_id,
                campaign_id=plan.stored.campaign.id,
                campaign_version=plan.stored.version,
                template_version_id=plan.template_version_id,
                max_messages=limit,
            ),
            actor="test",
        )

    fresh = await setting.plan()
    await begin(fresh, limit=10)
    trial = await setting.plan(limit=5)
    more = await setting.plan(limit=50)
    whole = await setting.plan()
    opened = await begin(whole)
    ran = await setting.plan()
    await set_run_state(
        setting.database, opened.ref.id, RunState.CANCELLED, reason="enough", actor="test"
    )
    changed = await setting.plan(headers={"X-New": "1"})

    assert [one.has_run for one in (fresh, trial, more, whole, ran, changed)] == [
        False,
        True,
        False,
        False,
        True,
        False,
    ]
    async with setting.database.read() as session:
        assert (await get_tenant(session, "acme")).id == whole.stored.campaign.tenant_id
    assert whole.channel is Channel.EMAIL


async def test_the_steps_of_a_ramp_are_told_with_their_times(setting: Setting) -> None:
    """By number of messages, each after the waits before it; a plain campaign has none."""
    setting.write(
        "email,name,count", *(f"p{number}@example.com,P,{number}" for number in range(40))
    )
    await setting.allow("unfit_percent", 50)
    async with CaptureSmtpServer() as server:
        plain = await setting.check(await setting.plan(), mail(server))
        delivery = {"ramp": ["10%", "100%"], "ramp_wait": "1h"}
        checked = await setting.check(await setting.plan(delivery=delivery), mail(server))

    told = preflight_document(checked)["steps"]
    assert [(one["step"], one["messages"], one["upto"]) for one in told] == [(1, 4, 4), (2, 35, 39)]
    assert (told[1]["begins"] - told[0]["begins"]).total_seconds() >= 3600
    assert "| 2 | 35 | 39 |" in preflight_markdown(checked)
    assert preflight_document(plain)["steps"] == []
    assert "## Steps" not in preflight_markdown(plain)
