"""`penstock bench cache` against the real service, in a process of its own, with a tiny encoder of random weights."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from fakes.command_line import Cli
from fakes.encoder_checkpoints import save_encoder_checkpoint

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_shared.credentials import FleetCredential

PROMPTS = {"a": ["paris", "paris france", "france paris"], "b": ["a b c", "c b a", "b a c"], "c": ["x y", "y x", "x"]}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """The address of a cache service that asks for the credential in `fleet.credential`."""
    FleetCredential.create(tmp_path / "fleet.credential")
    told = {
        "PENSTOCK_CACHE_BIND": "127.0.0.1:0",
        "PENSTOCK_CACHE_SEMANTIC": "1",
        "PENSTOCK_CACHE_SEMANTIC_BUDGET_S": "10",
        "PENSTOCK_CACHE_ENCODER_DIR": str(save_encoder_checkpoint(tmp_path / "encoder")),
        "PENSTOCK_FLEET_CREDENTIAL_FILE": str(tmp_path / "fleet.credential"),
        "PENSTOCK_LOG_JSON": "1",
        "PENSTOCK_STATE_DIR": str(tmp_path / "cache"),
    }
    process = subprocess.Popen(
        (sys.executable, "-m", "penstock_cache"), env=os.environ | told, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        yield json.loads(process.stderr.readline())["address"]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def num_entries(address: str, credential: FleetCredential) -> int:
    """How many answers the service has, of all tenants."""
    with grpc.insecure_channel(address) as channel:
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        return int(stub.GetStats(cache_pb2.GetStatsRequest(), metadata=credential.metadata()).num_entries)


def test_every_answer_is_judged_and_learned_from(cli: Cli, service: str, tmp_path: Path) -> None:
    """The service explores what it does not know, takes each label, serves what repeats, and has nothing at the end."""
    data, credential_file = tmp_path / "data.jsonl", tmp_path / "fleet.credential"
    data.write_text(
        "\n".join(
            json.dumps({"class": name, "family": "f", "domain": "d", "prompt": prompt, "answer": f"answer {name}"})
            for name, prompts in PROMPTS.items()
            for prompt in prompts
        )
    )
    ran = cli(
        *("bench", "cache", "--data", str(data), "--address", service, "--credential-file", str(credential_file)),
        *("--traffic", "zipf", "--requests", "60", "--json"),
    )
    assert ran.code == 0, ran.err
    fields = json.loads(ran.out)
    assert fields["num_requests"] == 60
    assert fields["num_exact_hits"] >= 60 - 9
    assert fields["num_semantic_lookups"] == 60 - fields["num_exact_hits"]
    assert fields["labels"]["num"] == fields["num_explorations"] > 0
    assert fields["labels"]["num_undecided"] == fields["labels"]["num_wrongly_equivalent"] == 0
    assert (fields["num_semantic_failures"], fields["errors"]["foreign"], fields["warnings"]) == (0, 0, [])
    assert num_entries(service, FleetCredential.load(credential_file)) == 0
