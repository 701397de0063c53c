"""Who is not let into a stack that asks who calls; and what tenants do not learn of each other."""

import base64
import json
import time
from pathlib import Path

import grpc
import pytest
from fakes.token_issuer import TokenIssuer
from stack.running import RunningStack, run_cli, running_stack
from stack.traffic import error_of, stub_of

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc

_TIMEOUT_S = 60


def test_only_good_keys_and_tokens_are_let_in_and_tenants_share_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong, expired and revoked keys, tokens without a signature: each is told so, and costs nothing."""
    issuer = TokenIssuer()
    (tmp_path / "jwks.json").write_text(issuer.jwks())
    monkeypatch.setenv("PENSTOCK_GATEWAY_JWKS_FILE", str(tmp_path / "jwks.json"))
    state_dir = tmp_path / "state"
    good, others = make_key(state_dir, "acme"), make_key(state_dir, "others")
    expired = make_key(state_dir, "acme", "--expires", "1s")
    revoked = make_key(state_dir, "acme")
    assert run_cli(state_dir, "keys", "revoke", id_of(state_dir, revoked)).returncode == 0
    with running_stack(state_dir, "--replicas=1") as stack, stub_of(stack) as stub:
        assert refusal(stub, None).startswith("no credential")
        assert "is not valid" in refusal(stub, good[:-2] + ("aa" if good[-2:] != "aa" else "bb"))
        assert f"{id_of(state_dir, expired)} expired at " in refusal(stub, expired)
        assert refusal(stub, revoked) == f"the API key {id_of(state_dir, revoked)} is revoked"
        assert refusal(stub, unsigned(issuer)) == "the token is not valid"
        assert outcome(stub, good) != "EXACT_HIT"
        until_hit(stub, good)
        assert outcome(stub, others) != "EXACT_HIT"
        until_hit(stub, issuer.sign(tenant="acme"))
        assert_no_secret_is_logged(stack, good, others, expired, revoked)


def make_key(state_dir: Path, tenant: str, *options: str) -> str:
    """A new key's text."""
    made = run_cli(state_dir, "keys", "create", "--tenant", tenant, "--json", *options)
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])


def id_of(state_dir: Path, key: str) -> str:
    """The id that stands in a key, and that lists and errors show."""
    listed = json.loads(run_cli(state_dir, "keys", "list", "--json").stdout)
    (found,) = (entry["id"] for entry in listed if entry["id"] in key)
    return str(found)


def unsigned(issuer: TokenIssuer) -> str:
    """A good token's claims under `alg: none`."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "key-1"}).encode()).rstrip(b"=").decode()
    return f"{header}.{issuer.sign().split('.')[1]}."


def refusal(stub: inference_pb2_grpc.InferenceServiceStub, credential: str | None) -> str:
    """What the bearer of a credential is told."""
    error = error_of(lambda: complete(stub, credential))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED, error.details()
    return error.details()


def outcome(stub: inference_pb2_grpc.InferenceServiceStub, credential: str) -> str:
    """What the cache had for the bearer of a credential."""
    report = complete(stub, credential).started.cache
    return inference_pb2.CacheOutcome.Name(report.outcome).removeprefix("CACHE_OUTCOME_")


def until_hit(stub: inference_pb2_grpc.InferenceServiceStub, credential: str) -> None:
    """Asks until the answer comes from the cache: it is kept behind the client's back, and skipped where it is late."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while outcome(stub, credential) != "EXACT_HIT":
        assert time.monotonic() < deadline_s, "the answer never came from the cache"


def complete(stub: inference_pb2_grpc.InferenceServiceStub, credential: str | None) -> inference_pb2.CompleteResponse:
    """The same greedy request for everybody."""
    request = inference_pb2.GenerationRequest(input={"text": "Once"}, sampling={"temperature": 0, "max_tokens": 4})
    metadata = () if credential is None else (("authorization", f"Bearer {credential}"),)
    return stub.Complete(inference_pb2.CompleteRequest(request=request), timeout=_TIMEOUT_S, metadata=metadata)


def assert_no_secret_is_logged(stack: RunningStack, *keys: str) -> None:
    """Not in logs, not in the audit log, not in the key file."""
    for path in [*(stack.state_dir / "logs").iterdir(), stack.state_dir / "audit.log", stack.state_dir / "keys.json"]:
        assert [key for key in keys if key in path.read_text()] == [], path
