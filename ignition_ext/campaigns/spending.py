"""What a campaign may cost, as its file says it."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, field_validator

from ignition_ext.costs.budget import Per
from ignition_ext.costs.money import checked_currency, read_micros
from ignition_ext.errors import ConfigurationError


class BudgetSpec(BaseModel):
    """So much for each run, day or month; a run waits before it would cost more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount: str
    currency: str
    per: Per = Per.RUN

    @field_validator("amount", mode="before")
    @classmethod
    def _an_amount(cls, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{value!r} is not an amount such as 150.00")
        text = value.strip() if isinstance(value, str) else str(Decimal(repr(value)))
        if read_micros(text) <= 0:
            raise ValueError("a budget is above 0")
        return text

    @field_validator("currency")
    @classmethod
    def _a_currency(cls, value: str) -> str:
        try:
            return checked_currency(value)
        except ConfigurationError as error:
            raise ValueError(f"{error.message} {error.mend}") from error
