"""`penstock keys`, and what the other commands do with a key."""

import json
import os
from io import StringIO
from pathlib import Path

import pytest
from fakes.command_line import Cli
from fakes.inference_server import ScriptedInference

from penstock_shared.api_keys import find_key
from penstock_shared.errors import UnauthenticatedError
from penstock_shared.key_file import KeyFile


def test_a_created_key_opens_the_door_and_is_shown_once(cli: Cli, state_dir: Path) -> None:
    """Alone on standard output, so that a script can catch it; its hash alone is kept."""
    ran = cli("keys", "create", "--tenant", "acme", "--name", "job", "--expires", "30d")
    text = ran.out.strip()
    key = find_key(text, KeyFile(state_dir / "keys.json").load())
    assert key is not None
    assert (ran.code, ran.out, key.tenant, key.name) == (0, f"{text}\n", "acme", "job")
    assert key.expires_s == key.created_s + 30 * 24 * 60 * 60
    assert ran.err.endswith("from now on the gateway asks every client for a key.\n")
    second = cli("keys", "create", "--tenant", "other").err
    assert (second.endswith("expires: never. It is not shown again.\n"), second.count("\n")) == (True, 1)
    secret = text.split("_", 2)[2]
    assert secret not in ran.err + (state_dir / "keys.json").read_text() + cli("keys", "list", "--json").out


def test_json_has_every_field_and_the_list_has_no_secret(cli: Cli) -> None:
    """Scripts rely on these names."""
    created = json.loads(cli("keys", "create", "--tenant", "acme", "--json").out)
    assert created.pop("key").startswith(f"pst_{created['id']}_")
    assert json.loads(cli("keys", "list", "--json").out) == [created]
    assert created == {
        "id": created["id"],
        "tenant": "acme",
        "name": "",
        "status": "active",
        "created": created["created"],
        "expires": None,
        "revoked": None,
    }


def test_a_revoked_key_stays_in_the_list(cli: Cli) -> None:
    """Who finds its id in a log can still look it up."""
    assert cli("keys", "list").out == "there are no API keys\n"
    key_id = json.loads(cli("keys", "create", "--tenant", "acme", "--json").out)["id"]
    assert cli("keys", "revoke", key_id).out == f"revoked {key_id} of tenant acme\n"
    (listed,) = json.loads(cli("keys", "list", "--json").out)
    assert (listed["status"], listed["revoked"] is not None) == ("revoked", True)
    assert f"{key_id}  acme" in cli("keys", "list").out


def test_changes_are_audited_without_secrets(cli: Cli, state_dir: Path) -> None:
    """Who opened the door to whom, and when."""
    created = json.loads(cli("keys", "create", "--tenant", "acme", "--name", "job", "--json").out)
    cli("keys", "revoke", created["id"])
    lines = [json.loads(line) for line in (state_dir / "audit.log").read_text().splitlines()]
    for line in lines:
        line.pop("time")
    about = {"tenant": "acme", "credential_id": created["id"], "name": "job", "uid": os.getuid()}
    assert lines == [{"event": "key_created", **about}, {"event": "key_revoked", **about}]


def test_a_key_is_shown_even_where_it_cannot_be_audited(cli: Cli, state_dir: Path) -> None:
    """It is there, and would be lost; the trouble is told."""
    (state_dir / "audit.log").mkdir()
    ran = cli("keys", "create", "--tenant", "acme")
    assert (ran.code, ran.out[:4]) == (0, "pst_")
    assert ran.err.startswith(f"error: cannot write {state_dir / 'audit.log'}: Is a directory")


def test_another_key_file_can_be_named(cli: Cli, state_dir: Path, tmp_path: Path) -> None:
    """That of a gateway in a container."""
    path = tmp_path / "secrets" / "keys.json"
    cli("keys", "create", "--tenant", "acme", "--file", str(path))
    assert len(KeyFile(path).load()) == 1
    assert not (state_dir / "keys.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["create", "--tenant", "a b"], 1, "--tenant: got 'a b'; allowed: 1 to 64 letters, digits"),
        (["create", "--tenant", "acme", "--expires", "soon"], 2, "allowed: a time above 0"),
        (["create"], 2, "--tenant"),
        (["revoke", "nobody"], 1, "error: no API key 'nobody'\n"),
    ],
)
def test_bad_input_is_told(cli: Cli, state_dir: Path, arguments: list[str], code: int, told: str) -> None:
    """And nothing is made."""
    ran = cli("keys", *arguments)
    assert ran.code == code
    assert told in ran.err
    assert not (state_dir / "keys.json").exists()


def test_a_broken_key_file_is_one_line(cli: Cli, state_dir: Path) -> None:
    """It is left as it is."""
    (state_dir / "keys.json").write_text("{}")
    ran = cli("keys", "create", "--tenant", "acme")
    assert ran.code == 1
    assert ran.err == f"error: key file {state_dir / 'keys.json'}: version: Field required\n"


@pytest.mark.parametrize(
    "command", [["generate", "Hi"], ["bench", "load", "-n", "1", "-c", "1", "--prompt-tokens", "8"], ["chat"]]
)
@pytest.mark.parametrize("how", ["option", "variable"])
def test_commands_show_the_key(
    cli: Cli, server: ScriptedInference, monkeypatch: pytest.MonkeyPatch, command: list[str], how: str
) -> None:
    """At every call that they make."""
    monkeypatch.setattr("sys.stdin", StringIO())
    if how == "variable":
        monkeypatch.setenv("PENSTOCK_API_KEY", "pst_a_b")
    cli(*command, "--address", server.address, *(["--api-key", "pst_a_b"] if how == "option" else []))
    assert len(server.seen) >= 1
    assert {seen.metadata["authorization"] for seen in server.seen} == {"Bearer pst_a_b"}


@pytest.mark.parametrize("command", [["generate", "Hi"], ["bench", "load", "-n", "1", "--allow-remote"], ["chat"]])
def test_a_key_does_not_cross_a_network_in_the_clear(cli: Cli, command: list[str]) -> None:
    """It would be everybody's; the message does not repeat it."""
    ran = cli(*command, "--address", "192.0.2.1:50051", "--api-key", "pst_a_b")
    assert ran.code == 1
    assert ran.err.startswith("error: the API key would go unencrypted to 192.0.2.1:50051")
    assert "pst_a_b" not in ran.err


def test_a_refused_key_is_told_with_the_way_out(cli: Cli, server: ScriptedInference) -> None:
    """The option and the variable stand in the message."""
    server.script = [UnauthenticatedError("the API key is not valid")]
    ran = cli("generate", "Hi", "--address", server.address)
    assert (ran.code, ran.err) == (
        1,
        "error: the API key is not valid; give a key with --api-key or PENSTOCK_API_KEY\n",
    )
