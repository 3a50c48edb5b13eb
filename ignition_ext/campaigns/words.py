"""Words that several parts of a campaign file are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
MAX_RATE = 100_000
"""Messages a second: beyond any server, so a slip of the pen."""

Rate = Annotated[float, Field(gt=0, le=MAX_RATE, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=SLUG)]


class Part(BaseModel):
    """A section of the file: nothing in it that is not known, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ThrottleSpec(Part):
    """Upper bounds on the rate; None: as fast as the server takes it."""

    per_second: Rate | None = None
    per_domain: Rate | None = None

    @field_validator("per_second", "per_domain", mode="before")
    @classmethod
    def _a_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(f"{value} is not a number of messages a second")
        return value
