"""A stack whose clients must show a certificate, used as on any other day."""

import json
from pathlib import Path

from fakes.certificates import Authority
from stack.running import running_stack


def test_every_command_works_with_certificates(tmp_path: Path) -> None:
    """The supervisor has none and sees that the gateway serves; commands trust the gateway's without being told."""
    authority = Authority(tmp_path)
    server, own = authority.issue("gateway"), authority.issue("client")
    files = (f"--tls-cert={server.cert_file}", f"--tls-key={server.key_file}", f"--tls-client-ca={authority.ca_file}")
    with running_stack(tmp_path / "state", "--replicas=1", *files) as stack:
        assert stack.status["is_serving"]
        assert stack.status["tls_cert"] == str(server.cert_file)
        refused = stack.cli("generate", "What is the capital of France?")
        assert refused.returncode == 1
        assert "a client certificate" in refused.stderr
        shown = ("--tls-cert", str(own.cert_file), "--tls-key", str(own.key_file))
        answered = stack.cli("generate", "What is the capital of France?", *shown)
        assert "Paris" in answered.stdout, answered.stderr
        loaded = stack.cli("bench", "load", "--requests=2", "--concurrency=1", "--json=-", *shown)
        assert json.loads(loaded.stdout)["figures"]["num_ok"] == 2, loaded.stderr
