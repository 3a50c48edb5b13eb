"""``ignition audit``: read, verify and vouch for the audit log."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from ignition_ext import audit
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import jsonable, note, out, print_json, print_table
from ignition_ext.errors import AuditError, ConfigurationError

app = App(name="audit", help="The audit log: read it, verify it, export signed checkpoints.")

Json = Annotated[bool, Parameter(negative="")]
PublicKeys = Annotated[tuple[Path, ...], Parameter(name="--public-key", negative="")]


@app.command
async def tail(
    *,
    tenant: str | None = None,
    lines: Annotated[
        int, Parameter(name=["--lines", "-n"], validator=validators.Number(gte=1, lte=100_000))
    ] = 20,
    json: Json = False,
) -> None:
    """Print the newest rows, the oldest of them first.

    Args:
        tenant: Only this tenant's rows.
        lines: How many rows.
        json: Print one JSON document, with what was changed.
    """
    async with open_database() as database, database.read() as session:
        entries = await audit.tail(session, tenant=tenant, limit=lines)
    if json:
        print_json(entries)
        return
    rows = [{**jsonable(entry), "at": jsonable(entry.at)} for entry in entries]
    print_table(rows, "at", "tenant", "seq", "actor", "action", "subject")


@app.command
async def verify(
    *,
    tenant: str | None = None,
    checkpoint: Path | None = None,
    public_key: PublicKeys = (),
    json: Json = False,
) -> int:
    """Check that no row was changed, removed, inserted or reordered; names the first that was.

    Args:
        tenant: Only this tenant's chain.
        checkpoint: A file of `ignition audit export` that the chains must still contain.
        public_key: Also trust this key, of another node that writes (may be repeated).
        json: Print one JSON document.
    """
    known = audit.read_checkpoint(checkpoint) if checkpoint else None
    keys = audit.trusted_keys(public_key)
    async with open_database() as database:
        reports = await audit.verify(database, keys=keys, tenant=tenant, checkpoint=known)
    findings = [finding for report in reports for finding in report.findings]
    if json:
        print_json({"holds": not findings, "keys": sorted(keys), "chains": reports})
        return 1 if findings else 0
    print_table(
        [
            {
                "tenant": report.tenant,
                "rows": report.rows,
                "holds": "no" if report.findings else "yes",
            }
            for report in reports
        ]
    )
    if not findings:
        return 0
    for finding in findings[1:]:
        note(f"Also: {finding}")
    raise AuditError(
        str(findings[0]), tenant=findings[0].tenant, seq=findings[0].seq, mend=_mend(findings[0])
    )


@app.command
async def export(file: Path | None = None, /, *, json: Json = False) -> None:
    """Write a signed checkpoint of all chains; keep it where this database's owner cannot write.

    Args:
        file: Where to; without it the checkpoint is printed.
        json: Print the checkpoint also when it goes to a file.
    """
    async with open_database() as database:
        document = await audit.make_checkpoint(database, audit.signing_key())
    if file is not None:
        try:
            file.write_text(jsonlib.dumps(document, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise ConfigurationError(
                f"{file} cannot be written: {error.strerror or error}.",
                mend="Name a file in a folder that exists and is writable.",
            ) from error
        note(f"Wrote {len(document['chains'])} chains to {file}.")
    if file is None or json:
        print_json(document)


@app.command
def key(*, json: Json = False) -> None:
    """Print this node's public key, with which others verify what it signed.

    Args:
        json: Print one JSON document.
    """
    own = audit.signing_key()
    pem = audit.public_pem(own.public)
    if json:
        print_json({"key_id": own.key_id, "public_key": pem})
    else:
        out.print(pem.strip(), markup=False, soft_wrap=True)


@app.command
async def sign(*, tenant: str, public_key: PublicKeys = (), json: Json = False) -> None:
    """Sign a tenant's head anew, after its rows were verified; leaves a row that says so.

    Args:
        tenant: Whose chain.
        public_key: Also trust this key, of another node that wrote (may be repeated).
        json: Print one JSON document.
    """
    own = audit.signing_key()
    async with open_database() as database:
        report = await audit.sign_head(
            database, tenant=tenant, keys=audit.trusted_keys(public_key), key=own, actor=actor()
        )
    if json:
        print_json({"tenant": tenant, "signed": not report.holds, "key_id": own.key_id})
    elif report.holds:
        note(f"The head of tenant {tenant!r} is signed already.")
    else:
        note(f"Signed the head of tenant {tenant!r} with the key {own.key_id}.")


def _mend(finding: audit.Finding) -> str:
    match finding.kind:
        case audit.FindingKind.UNKNOWN_KEY:
            return (
                "If another node writes here, give its `ignition audit key` with --public-key,"
                " and let the nodes share one key (IGNITION_AUDIT_KEY_FILE)."
            )
        case audit.FindingKind.HEAD:
            return (
                "Compare with a checkpoint (--checkpoint); if the rows are right, run:"
                f" ignition audit sign --tenant {finding.tenant}"
            )
        case _:
            return "Keep this database as it is for whoever looks into it; compare with a backup."
