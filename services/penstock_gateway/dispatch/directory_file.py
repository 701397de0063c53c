"""The last directory on disk, so that a gateway can start while the fleet is out of reach."""

import os
from pathlib import Path

from google.protobuf import json_format

from penstock.fleet.v1 import fleet_pb2
from penstock_shared.directory import Directory, directory_from_proto, directory_to_proto
from penstock_shared.logs import get_logger


class DirectoryFile:
    """Keeps a directory at a path. A file that cannot be read or written is reported and otherwise ignored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = get_logger("directory").bind(path=str(path))

    def load(self) -> Directory | None:
        """The directory as last saved; None where there is none that can be read."""
        try:
            message = json_format.Parse(self._path.read_text(), fleet_pb2.Directory(), ignore_unknown_fields=True)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, json_format.ParseError) as error:
            self._log.warning("the saved directory is unusable", error=str(error))
            return None
        return directory_from_proto(message)

    def save(self, directory: Directory) -> None:
        """Replaces the file as a whole, so that a reader or a crash never meets half of it."""
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json_format.MessageToJson(directory_to_proto(directory)))
            fresh.replace(self._path)
        except OSError as error:
            self._log.warning("the directory cannot be saved", error=str(error))
