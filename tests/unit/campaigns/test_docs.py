"""The documentation of campaign files and commands says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ignition_ext.campaigns.condition import ConditionSpec
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.file import read_campaign
from ignition_ext.campaigns.schedule import ScheduleSpec
from ignition_ext.cli.campaign import app
from ignition_ext.orchestration.runs import RunStatus

DOCS = Path(__file__).parents[3] / "docs"
FILE = (DOCS / "campaign-file.md").read_text()
SCHEDULES = (DOCS / "schedules.md").read_text()
COMMANDS = (DOCS / "command-line.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", FILE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["whole", "shortest"])
def test_every_example_is_a_campaign(example: str) -> None:
    """Whoever copies one gets no error."""
    assert read_campaign(example.encode(), "campaign-file.md").tenant == "acme"


def test_every_key_is_told() -> None:
    """And of each schedule, and of its condition."""
    for name, field in CampaignDefinition.model_fields.items():
        assert f"`{field.alias or name}" in FILE, name
    for name in (*ScheduleSpec.model_fields, *ConditionSpec.model_fields):
        assert f"`{name}" in SCHEDULES, name


def test_every_command_and_key_of_the_status_is_told() -> None:
    """Each subcommand of campaign, each key of the document."""
    for command in app:
        if not command.startswith("-"):
            assert re.search(rf"`(ignition campaign )?{command}\b", COMMANDS), command
    for key in RunStatus.__dataclass_fields__:
        assert f"`{key}`" in COMMANDS, key
