"""Audiences: recipients from CSV files, SQL queries and stored imports, addresses normalised."""

from ignition_ext.audience.catalogue import get_audience, list_audiences
from ignition_ext.audience.contract import (
    AudienceSpec,
    ImportProgress,
    ImportResult,
    Problem,
    Source,
    SourceStats,
)
from ignition_ext.audience.emails import EmailProblem, normalise_email
from ignition_ext.audience.importing import import_csv
from ignition_ext.audience.phones import PhoneProblem, normalise_phone
from ignition_ext.audience.sources import open_source

__all__ = [
    "AudienceSpec",
    "EmailProblem",
    "ImportProgress",
    "ImportResult",
    "PhoneProblem",
    "Problem",
    "Source",
    "SourceStats",
    "get_audience",
    "import_csv",
    "list_audiences",
    "normalise_email",
    "normalise_phone",
    "open_source",
]
