"""What has to be so for a scheduled run to send: said in the campaign file, asked by the run."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictInt, model_validator

KINDS = ("sql", "where", "min_audience", "variable", "file", "all")
MOST_PARTS = 10
"""Each part is a question to another system before a run may start."""


class ConditionSpec(BaseModel):
    """Exactly one question, or ``all`` of several; docs/schedules.md describes each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: str | None = Field(default=None, min_length=1, max_length=20_000)
    block: str | None = Field(default=None, min_length=1, max_length=200)
    where: str | None = Field(default=None, min_length=1, max_length=5_000)
    min_audience: StrictInt | None = Field(default=None, ge=1, le=1_000_000_000)
    variable: str | None = Field(default=None, min_length=1, max_length=255)
    equals: JsonValue = None
    file: str | None = Field(default=None, min_length=1, max_length=500)
    all: list[ConditionSpec] | None = Field(default=None, min_length=1, max_length=MOST_PARTS)

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1 and given != ["where", "min_audience"]:
            raise ValueError(
                f"give exactly one of {', '.join(KINDS)}; `all` takes a list of several, and"
                " where goes with min_audience"
            )
        if (self.sql is None) != (self.block is None):
            raise ValueError("sql needs block, the database to ask, and only sql takes one")
        if "equals" in self.model_fields_set and self.equals is not None and not self.variable:
            raise ValueError("equals goes with variable")
        return self
