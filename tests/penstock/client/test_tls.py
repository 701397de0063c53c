"""What a client says of TLS options before it connects."""

from pathlib import Path
from typing import Any

import pytest
from fakes.certificates import Authority

from penstock import Client


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"tls_ca": "nowhere.pem"}, "nowhere.pem: No such file or directory"),
        ({"tls_ca": "own.key"}, "own.key holds no certificate in PEM"),
        ({"tls_ca": "ca.ca.pem", "tls_cert": "own.pem"}, "tls_cert and tls_key are given together, or neither"),
        ({"tls_ca": "ca.ca.pem", "tls_cert": "own.pem", "tls_key": "other.key"}, "other.key is not the key of "),
        ({"tls_ca": "ca.ca.pem", "tls_cert": "own.pem", "tls_key": "nowhere.key"}, "nowhere.key: No such file"),
        ({"tls_cert": "own.pem", "tls_key": "own.key"}, "need tls_ca"),
    ],
)
def test_files_that_are_no_good_are_told_at_once(tmp_path: Path, options: dict[str, str], line: str) -> None:
    """Otherwise gRPC tells of them in its own log, and fails each call with something else."""
    authority = Authority(tmp_path, "ca")
    authority.issue("own")
    authority.issue("other")
    files: dict[str, Any] = {name: tmp_path / file for name, file in options.items()}
    with pytest.raises(ValueError, match=line):
        Client("127.0.0.1:1", **files)


def test_a_key_may_go_to_another_machine_over_tls(tmp_path: Path) -> None:
    """Without TLS it may not."""
    with pytest.raises(ValueError, match="unencrypted"):
        Client("llm.example:443", api_key="pst_x")
    Client("llm.example:443", api_key="pst_x", tls_ca=Authority(tmp_path).ca_file).close()
