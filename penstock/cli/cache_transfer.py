"""What `penstock cache export` and `import` do: a file of JSON objects, one a line; the first names the tenant."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from google.protobuf import json_format

from penstock.admin.v1 import admin_pb2
from penstock.cache.v1 import cache_pb2
from penstock.cli.admin import AdminAccess, admin_calls
from penstock.cli.errors import CommandError
from penstock.cli.printable import json_line, printable

_TIMEOUT_S = 3600.0
_FORMAT = 1
_HEADER = "penstock_cache_export"
_STANDARD = Path("-")
_MAX_SHOWN_CHARS = 60
_COUNTS = ("num_entries", "num_labels", "num_already_there", "num_refused")


def export_cache(access: AdminAccess, tenant: str, file: Path, *, as_json: bool) -> None:
    """Writes all that is kept for a tenant. A file is there as a whole or not at all.

    Raises:
        CommandError: the gateway refuses, or the file cannot be written.
    """
    num_records = 0
    with admin_calls(access) as ask, _writing(file) as lines:
        lines.write(json_line({_HEADER: _FORMAT, "tenant": tenant}) + "\n")
        for response in ask("ExportCache", admin_pb2.ExportCacheRequest(tenant=tenant), _TIMEOUT_S):
            fields = json_format.MessageToDict(response.record, preserving_proto_field_name=True)
            lines.write(json_line(fields) + "\n")
            num_records += 1
    told = json.dumps({"num_records": num_records}) if as_json else f"wrote {num_records} records to {file}"
    # Where the records themselves go to standard output, nothing else may.
    print(told, file=sys.stderr if file == _STANDARD else sys.stdout)


def import_cache(access: AdminAccess, file: Path, *, as_json: bool) -> None:
    """Has the records of an export kept.

    Raises:
        CommandError: the file is none, or the gateway refuses.
    """
    kept = admin_pb2.ImportCacheResponse()
    with _reading(file) as lines:
        tenant = _tenant(lines.readline(), file)
        start = lines.tell()
        # Read twice: half an import is hard to take back.
        if sum(1 for _ in _records(lines, file)):
            lines.seek(start)
            messages = (admin_pb2.ImportCacheRequest(tenant=tenant, record=each) for each in _records(lines, file))
            with admin_calls(access) as ask:
                kept = ask("ImportCache", messages, _TIMEOUT_S)
    if as_json:
        counts = {name: getattr(kept, name) for name in _COUNTS}
        print(json.dumps({"tenant": tenant, **counts}))  # noqa: T201 - the command's result
        return
    told = [f"kept {kept.num_entries} answers and {kept.num_labels} comparisons of tenant {printable(tenant)}"]
    told += [f"{kept.num_already_there} were there already"] if kept.num_already_there else []
    told += [f"refused {kept.num_refused}"] if kept.num_refused else []
    print("; ".join(told))  # noqa: T201 - as above


def _tenant(line: bytes, file: Path) -> str:
    """The tenant that an export's first line names."""
    allowed = f'{{"{_HEADER}": {_FORMAT}, "tenant": NAME}}, as `penstock cache export` writes it'
    try:
        header = json.loads(line)
        if header[_HEADER] == _FORMAT and isinstance(header["tenant"], str):
            return str(header["tenant"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise CommandError(f"{file}:1: got {_shown(line)}; allowed: {allowed}")


def _records(lines: IO[bytes], file: Path) -> Iterator[cache_pb2.CacheRecord]:
    """The records after the first line."""
    for number, line in enumerate(iter(lines.readline, b""), start=2):
        record = cache_pb2.CacheRecord()
        try:
            json_format.ParseDict(json.loads(line), record)
        except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError) as error:
            raise CommandError(f"{file}:{number}: got {_shown(line)}; {printable(str(error))}") from error
        if record.WhichOneof("kind") is None:
            raise CommandError(f"{file}:{number}: got {_shown(line)}; allowed: an entry or a label")
        yield record


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").rstrip("\n")
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…")


@contextmanager
def _reading(file: Path) -> Iterator[IO[bytes]]:
    """A file that can be read twice, standard input too."""
    try:
        if file != _STANDARD:
            with file.open("rb") as opened:
                yield opened
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.seek(0)
            yield copy
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from error


@contextmanager
def _writing(file: Path) -> Iterator[IO[str]]:
    """A file for its owner's eyes, which takes its place when all is in it."""
    if file == _STANDARD:
        yield sys.stdout
        return
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fresh.touch(mode=0o600, exist_ok=False)
        with fresh.open("w", encoding="utf-8") as opened:
            yield opened
        fresh.replace(file)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)
