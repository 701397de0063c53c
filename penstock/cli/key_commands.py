"""What `penstock keys` does: it changes the key file, which a running gateway watches."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from penstock.cli.errors import CommandError, complain
from penstock_shared.api_keys import ApiKey, mint_key
from penstock_shared.audit_file import append_lines, audit_line, iso_time
from penstock_shared.errors import PenstockError
from penstock_shared.key_file import KeyFile
from penstock_shared.principal import TENANT_RULE, is_tenant_name


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The key file, and the log of who changed it."""

    keys_file: Path
    audit_file: Path


def create_key(files: KeyFiles, *, tenant: str, name: str, lifetime_s: float | None, as_json: bool) -> None:
    """Makes a key. Its text alone goes to standard output, so that it can be caught in a variable.

    Raises:
        CommandError: no such tenant can be, or the key file cannot be written.
    """
    if not is_tenant_name(tenant):
        raise CommandError(f"--tenant: got {tenant!r}; allowed: {TENANT_RULE}")
    minted = mint_key(tenant=tenant, name=name, now_s=time.time(), lifetime_s=lifetime_s)
    with _told_failures(files):
        num_keys = KeyFile(files.keys_file).add(minted.record)
    _write_audit(files, "key_created", minted.record)
    if as_json:
        print(json.dumps({"key": minted.text, **_fields(minted.record)}))  # noqa: T201 - the command's result
        return
    print(minted.text)  # noqa: T201 - as above
    expiry = _time(minted.record.expires_s) or "never"
    told = f"key {minted.record.key_id} of tenant {tenant}, expires: {expiry}. It is not shown again."
    if num_keys == 1:
        told += "\nIt is the first one: from now on the gateway asks every client for a key."
    print(told, file=sys.stderr)  # noqa: T201 - for the person, not for the variable


def list_keys(files: KeyFiles, *, as_json: bool) -> None:
    """Prints all keys.

    Raises:
        CommandError: the key file cannot be read.
    """
    with _told_failures(files):
        found = [_fields(key) for key in KeyFile(files.keys_file).load().values()]
    if as_json:
        print(json.dumps(found))  # noqa: T201 - the command's result
    elif found:
        _draw(found)
    else:
        print("there are no API keys")  # noqa: T201 - as above


def revoke_key(files: KeyFiles, key_id: str) -> None:
    """Revokes a key.

    Raises:
        CommandError: there is no such key, or the key file cannot be written.
    """
    with _told_failures(files):
        key = KeyFile(files.keys_file).revoke(key_id, now_s=time.time())
    _write_audit(files, "key_revoked", key)
    print(f"revoked {key.key_id} of tenant {key.tenant}")  # noqa: T201 - the command's result


@contextmanager
def _told_failures(files: KeyFiles) -> Iterator[None]:
    try:
        yield
    except PenstockError as error:
        raise CommandError(error.message) from error
    except OSError as error:
        raise CommandError(f"cannot write {files.keys_file}: {error.strerror}") from error


def _write_audit(files: KeyFiles, event: str, key: ApiKey) -> None:
    """What was done is done: that it could not be logged is told, and nothing is taken back."""
    fields = {
        "time": iso_time(time.time()),
        "event": event,
        "tenant": key.tenant,
        "credential_id": key.key_id,
        "name": key.name,
        "uid": os.getuid(),
    }
    try:
        append_lines(files.audit_file, audit_line(fields))
    except OSError as error:
        complain(f"cannot write {files.audit_file}: {error.strerror}; the key file is changed all the same")


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "tenant": key.tenant,
        "name": key.name,
        "status": str(key.status(time.time())),
        "created": _time(key.created_s),
        "expires": _time(key.expires_s),
        "revoked": _time(key.revoked_s),
    }


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _draw(found: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "tenant", "name", "status", "created", "expires"):
        table.add_column(column, overflow="fold", no_wrap=column != "name")
    for key in found:
        # The day is enough for people; the instants are for programs, and stand in the JSON.
        days = [key[time][:10] if key[time] else "-" for time in ("created", "expires")]
        table.add_row(key["id"], key["tenant"], key["name"] or "-", key["status"], *days)
    Console(soft_wrap=True, highlight=False).print(table)
