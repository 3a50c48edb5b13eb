"""Ignition's settings: the only place that reads ``IGNITION_*`` from the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ignition_ext.errors import ConfigurationError


def prefect_home() -> Path:
    """Prefect's own folder (``PREFECT_HOME``, else ``~/.prefect``), without importing Prefect."""
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()


class Settings(BaseSettings):
    """Read anew by each process; every field is an environment variable ``IGNITION_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="IGNITION_", extra="ignore")

    def __init__(self, **values: Any) -> None:
        """Read the environment.

        Raises:
            ConfigurationError: a variable's value cannot be used; it names the variable.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)[0]
            name = f"IGNITION_{'_'.join(map(str, details['loc'])).upper()}"
            raise ConfigurationError(
                f"the setting {name} cannot be used: {details['msg']}.",
                mend=f"Correct {name} or unset it; docs/reference.md lists all settings.",
            ) from error

    database_url: str = Field(
        default_factory=lambda: f"sqlite:///{prefect_home() / 'ignition.db'}",
        description=(
            "Where Ignition's tables live: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/DB`."
            " By default `ignition.db` in PREFECT_HOME; SQLite serves one host only."
        ),
    )
    environment: str = Field(
        default="dev",
        description="Name of this environment; a campaign that does not list it is not run here.",
    )
    actor: str = Field(
        default="",
        description="Who is named in the audit log; by default the operating system's user.",
    )
    audit_key_file: Path | None = Field(
        default=None,
        description=(
            "PEM file with the Ed25519 private key that signs audit heads."
            " By default `ignition-audit-key.pem` in PREFECT_HOME, made on first use."
        ),
    )
    signing_key: SecretStr | None = Field(
        default=None,
        description=(
            "Secret of at least 32 characters that signs links and return addresses; all nodes"
            " need the same one, for years. By default `ignition-signing-key` in PREFECT_HOME,"
            " made on first use."
        ),
    )
    signing_keys_old: SecretStr | None = Field(
        default=None,
        description=(
            "Earlier signing keys, separated by commas: what they signed stays valid,"
            " nothing new is signed with them."
        ),
    )
    web_url: str = Field(
        default="",
        description=(
            "Public address of `ignition web`, which links in messages begin with, such as"
            " `https://mail.example.com`; empty: no links. A tenant's `web.url` goes before it."
        ),
    )
    lease_seconds: float = Field(
        default=60.0,
        gt=0,
        description=(
            "Seconds that a sender owns claimed messages without renewing;"
            " after a crash others take over when they have passed."
        ),
    )
    drain_seconds: float = Field(
        default=20.0,
        gt=0,
        description=(
            "Seconds that a stopping sender waits for replies to what is on the wire;"
            " what is unanswered then becomes uncertain."
        ),
    )
    control_seconds: float = Field(
        default=2.0,
        gt=0,
        description="Seconds between two looks for pause or cancel while a batch is being sent.",
    )
    revivals: int = Field(
        default=5,
        ge=0,
        description=(
            "Times that `reconcile` starts a run again whose process died;"
            " after that an operator has to retry it."
        ),
    )
    preflight: Literal["first", "always", "never"] = Field(
        default="first",
        description=(
            "When a run goes through everything once before it sends: `first` before the first run"
            " of a campaign's version, `always`, or `never`."
        ),
    )
    preflight_unfit_percent: float = Field(
        default=10.0,
        ge=0,
        le=100,
        description=(
            "Per cent of a run's messages that may turn out impossible to send; with more"
            " pre-flight refuses the run. A tenant's `preflight.unfit_percent` goes before it."
        ),
    )
    preflight_invalid_percent: float = Field(
        default=50.0,
        ge=0,
        le=100,
        description=(
            "Per cent of an audience's rows that may be no recipient; with more pre-flight refuses"
            " the run. A tenant's `preflight.invalid_percent` goes before it."
        ),
    )
    files_root: Path = Field(
        default_factory=Path.cwd,
        description=(
            "Folder that relative paths without a campaign file of their own are taken from;"
            " by default the working directory."
        ),
    )
    worker_preload: str = Field(
        default="",
        description=(
            "Modules that the warm worker imports once for all flow runs, besides Prefect and what"
            " the installed flows need: names separated by commas, such as `pandas,httpx`."
        ),
    )
    worker_drain_seconds: float = Field(
        default=15.0,
        ge=0,
        description=(
            "Seconds that a warm worker told to stop lets its flow runs go on;"
            " those that are left are then asked to end, and reported Crashed."
        ),
    )
    webhook_allow_private: str = Field(
        default="",
        description=(
            "Networks that webhooks may be sent to although they are not of the public internet,"
            " separated by commas, such as `10.20.0.0/16,fd00:1::/64`; there http:// will do."
            " Empty: only to the public internet, with TLS."
        ),
    )
    webhook_dead_days: float = Field(
        default=5.0,
        gt=0,
        description="Days that a webhook may fail without a success before it is switched off.",
    )
    outcome_days: float = Field(
        default=7.0,
        ge=4,
        description=(
            "Days that outcomes are kept for those who are told of them, and their deliveries to be"
            " looked up; what was not delivered by then never will be. At least 4: an outcome is"
            " tried for three."
        ),
    )
    test_postgres_url: SecretStr | None = Field(
        default=None,
        description="Only for the tests: a PostgreSQL server on which they may create databases.",
    )
