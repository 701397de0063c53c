"""The last directory survives a restart, and a damaged file does no harm."""

from pathlib import Path

from fakes.gateway_deployment import SPEC

from penstock_gateway.dispatch.directory_file import DirectoryFile
from penstock_shared.directory import Directory, ReplicaInfo, ReplicaState

DIRECTORY = Directory(
    version=2**60,
    models=(SPEC,),
    replicas=(ReplicaInfo("r0", "pocket", ReplicaState.READY, "127.0.0.1:1", 2**63 + 1, "rev", "fp32"),),
)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Large numbers included; the directory need not exist before."""
    file = DirectoryFile(tmp_path / "state" / "directory.json")
    file.save(DIRECTORY)
    assert file.load() == DIRECTORY
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["directory.json"]


def test_without_a_file_there_is_no_directory(tmp_path: Path) -> None:
    """The first start."""
    assert DirectoryFile(tmp_path / "directory.json").load() is None


def test_a_damaged_file_is_ignored(tmp_path: Path) -> None:
    """The fleet will tell again."""
    path = tmp_path / "directory.json"
    for content in (b"{", b"\xff\xfe", b'{"version": "many"}'):
        path.write_bytes(content)
        assert DirectoryFile(path).load() is None


def test_a_place_that_cannot_be_written_is_survived(tmp_path: Path) -> None:
    """A full or read-only disk must not stop the service of requests."""
    (tmp_path / "file").write_text("")
    unwritable = DirectoryFile(tmp_path / "file" / "directory.json")
    unwritable.save(DIRECTORY)
    assert unwritable.load() is None
