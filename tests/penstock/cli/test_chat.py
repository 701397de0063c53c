"""`penstock chat` against a scripted gateway: through a real terminal, and through a pipe."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.inference_server import (
    Hold,
    ScriptedInference,
    delta,
    final,
    finished,
    paris,
    pocket_model,
    started,
)
from fakes.terminal import Terminal
from google.protobuf.duration_pb2 import Duration

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_shared.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError

GONE_WITHIN_S = 10.0
QUIET = "2 tokens"


def command(server: ScriptedInference, state_dir: Path) -> list[str]:
    """`penstock chat` with `server`."""
    return [sys.executable, "-m", "penstock", "chat", "--address", server.address, "--state-dir", str(state_dir)]


@pytest.fixture
def terminal(server: ScriptedInference, tmp_path: Path) -> Iterator[Terminal]:
    """A person who has just started it."""
    with Terminal(command(server, tmp_path), {**os.environ, "TERM": "dumb"}) as opened:
        opened.until("Ctrl-D leaves")
        opened.until_prompt()
        yield opened


def asked(server: ScriptedInference) -> list[list[tuple[str, str]]]:
    """Roles and contents of each request."""
    requests: list[inference_pb2.GenerationRequest] = [seen.request.request for seen in server.calls("Generate")]
    return [[(turn.role, turn.content) for turn in request.input.chat.messages] for request in requests]


def test_answer_streams_and_the_conversation_is_kept(terminal: Terminal, server: ScriptedInference) -> None:
    """The second question is asked in the light of the first."""
    terminal.type("Capital of France?")
    shown = terminal.until(QUIET)
    assert "Paris." in shown
    assert "first token 3 ms" in shown
    terminal.until_prompt()
    terminal.type("Are you sure?")
    terminal.until(QUIET)
    terminal.until_prompt()
    terminal.press_ctrl_d()
    assert terminal.until_end() == 0
    first = [("user", "Capital of France?")]
    assert asked(server) == [first, [*first, ("assistant", "Paris."), ("user", "Are you sure?")]]


def test_ctrl_c_stops_the_answer_and_not_the_program(terminal: Terminal, server: ScriptedInference) -> None:
    """The engine stops too; what came of the answer stays in the conversation."""
    server.script = [started(), delta("Par", 11), Hold()]
    terminal.type("Capital of France?")
    terminal.until("Par")
    terminal.interrupt()
    terminal.until("stopped")
    assert server.is_gone.wait(GONE_WITHIN_S)
    server.script = paris()
    terminal.until_prompt()
    terminal.type("Go on.")
    terminal.until(QUIET)
    assert asked(server)[1] == [("user", "Capital of France?"), ("assistant", "Par"), ("user", "Go on.")]


def test_second_ctrl_c_leaves(terminal: Terminal, server: ScriptedInference) -> None:
    """Who presses it twice means it."""
    server.script = [started(), delta("Par", 11), Hold()]
    terminal.type("Capital of France?")
    terminal.until("Par")
    terminal.interrupt()
    terminal.until_prompt()
    terminal.interrupt()
    assert terminal.until_end() == 0


def test_first_ctrl_c_at_the_prompt_only_tells_how_to_leave(terminal: Terminal) -> None:
    """A conversation is not lost by one keystroke; what is typed in between starts the count anew."""
    terminal.interrupt()
    terminal.until("Ctrl-C again, or Ctrl-D, leaves")
    terminal.until_prompt()
    terminal.type("Capital of France?")
    terminal.until(QUIET)
    terminal.until_prompt()
    terminal.interrupt()
    terminal.until("Ctrl-C again, or Ctrl-D, leaves")
    terminal.until_prompt()
    terminal.interrupt()
    assert terminal.until_end() == 0


def test_ctrl_c_before_the_first_word_withdraws_the_question(terminal: Terminal, server: ScriptedInference) -> None:
    """Two questions in a row are more than most chat templates take."""
    server.script = [Hold()]
    terminal.type("A mistake")
    assert server.is_holding.wait(GONE_WITHIN_S)
    terminal.interrupt()
    terminal.until("the question is withdrawn")
    server.script = paris()
    terminal.until_prompt()
    terminal.type("Capital of France?")
    terminal.until(QUIET)
    assert asked(server)[1] == [("user", "Capital of France?")]


def test_system_message_holds_until_it_is_removed(terminal: Terminal, server: ScriptedInference) -> None:
    """Shown, set and removed by one command."""
    for line, shown in [
        ("/system Be brief.", "system: Be brief."),
        ("Hi", QUIET),
        ("/clear", "begins anew"),
        ("/system", "system: Be brief."),
        ("/system -", "system: (none)"),
        ("Hi", QUIET),
    ]:
        terminal.type(line)
        terminal.until(shown)
    assert asked(server) == [[("system", "Be brief."), ("user", "Hi")], [("user", "Hi")]]


def test_model_changes_and_the_conversation_goes_on(terminal: Terminal, server: ScriptedInference) -> None:
    """A wrong name changes nothing, and says which there are."""
    other, bare = pocket_model(), pocket_model(has_template=False)
    other.spec.name, bare.spec.name = "other", "bare"
    server.models = [pocket_model(), other, bare]
    for line, shown in [
        ("Hi", QUIET),
        ("/model nope", "no model 'nope'; served: pocket, other, bare"),
        ("/model bare", "bare has no chat template"),
        ("/model other", "model: other"),
        ("/model", "model: other; served: pocket, other, bare"),
        ("Hi again", QUIET),
    ]:
        terminal.type(line)
        terminal.until(shown)
    assert [seen.request.request.model for seen in server.calls("Generate")] == ["pocket", "other"]
    assert len(asked(server)[1]) == 3


def test_conversation_is_saved(terminal: Terminal, tmp_path: Path) -> None:
    """Twice to one name is no mistake; onto a file that was there before, it is."""
    path = tmp_path / "talk.json"
    (tmp_path / "there.md").write_text("mine")
    for line, shown in [
        ("Hi", QUIET),
        (f"/save {path}", "saved as"),
        (f"/save {path}", "saved as"),
        (f"/save {tmp_path}/there.md", "is there already"),
        (f"/save {tmp_path}/no/talk.md", "No such file or directory"),
        ("/save", "where to? /save FILE"),
    ]:
        terminal.type(line)
        terminal.until(shown)
    saved = json.loads(path.read_text())
    assert [message["content"] for message in saved["messages"]] == ["Hi", "Paris."]
    assert (tmp_path / "there.md").read_text() == "mine"


def test_errors_do_not_end_the_program(terminal: Terminal, server: ScriptedInference) -> None:
    """The question that failed is not part of what is asked next."""
    server.failures_first = [
        ResourceExhaustedError("the queue is full", quota="requests", retry_after_s=1.5),
    ]
    terminal.type("One")
    terminal.until("the queue is full; try again in 1.5 s")
    terminal.type("/clera")
    terminal.until("did you mean /clear?")
    terminal.type("Two")
    terminal.until(QUIET)
    assert asked(server)[1] == [("user", "Two")]


def test_conversation_beyond_the_context_says_the_way_out(terminal: Terminal, server: ScriptedInference) -> None:
    """The server's words are about a field; a person wants to know what to do."""
    terminal.type("Hi")
    terminal.until(QUIET)
    server.failures_first = [InvalidArgumentError("request.input", "600 tokens", "at most 511 tokens")]
    terminal.type(" ".join(["word"] * 600))
    shown = terminal.until("/clear begins anew, /save FILE keeps it first")
    assert "with this, the conversation has 602 tokens; pocket takes 512, its answer included." in shown
    terminal.type("/clear")
    terminal.until("begins anew")
    server.failures_first = [InvalidArgumentError("request.input", "600 tokens", "at most 511 tokens")]
    terminal.type(" ".join(["word"] * 600))
    terminal.until("this has 600 tokens; pocket takes 512, its answer included. Make it shorter")


def test_other_bad_requests_are_told_as_the_server_says(terminal: Terminal, server: ScriptedInference) -> None:
    """Not every wrong field is a long conversation."""
    server.failures_first = [InvalidArgumentError("request.sampling.temperature", 9.0, "0 to 2")]
    terminal.type("Hi")
    terminal.until("request.sampling.temperature: got 9.0; allowed: 0 to 2")


def test_answer_that_fills_the_context_is_told(terminal: Terminal, server: ScriptedInference) -> None:
    """It stops in mid-sentence, and every further question would fail."""
    last = final()
    last.final.usage.prompt_tokens, last.final.usage.completion_tokens = 500, 12
    server.script = [started(), delta("Par", 11), finished(types_pb2.FINISH_REASON_LENGTH), last]
    terminal.type("Hi")
    terminal.until("the answer ends here: all 512 tokens of context are used. /clear begins anew")


def test_model_cannot_command_the_terminal(terminal: Terminal, server: ScriptedInference) -> None:
    """Escape sequences in an answer could rewrite what stands on the screen, or what is in the clipboard."""
    server.script = [started(), delta("a\x1b]52;c;ZXZpbA==\x07b\x9b2Jc\n\td", 11), finished(), final()]
    terminal.type("Hi")
    shown = terminal.until(QUIET)
    assert "a]52;c;ZXZpbA==b2Jc" in shown
    assert "\x07" not in shown


def test_longer_texts_have_several_lines(terminal: Terminal, server: ScriptedInference) -> None:
    """Both ways of going on."""
    terminal.type("one \\")
    terminal.until(". ")
    terminal.type("two")
    terminal.until(QUIET)
    terminal.type('"""')
    terminal.until(". ")
    terminal.type("three")
    terminal.type('"""')
    terminal.until(QUIET)
    assert [turns[-1][1] for turns in asked(server)] == ["one \ntwo", "three"]


def piped(server: ScriptedInference, state_dir: Path, text: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """`echo TEXT | penstock chat`."""
    return subprocess.run(
        [*command(server, state_dir), *options], input=text, capture_output=True, text=True, check=False
    )


def test_pipe_gets_answers_alone(server: ScriptedInference, tmp_path: Path) -> None:
    """Each line is a question; no prompt, no colours, no figures."""
    ran = piped(server, tmp_path, "Capital of France?\nSure?\n", "--system", "Be brief.", "--temperature", "0")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Paris.\nParis.\n", "")
    assert [turns[0] for turns in asked(server)] == [("system", "Be brief.")] * 2
    assert len(asked(server)[1]) == 4
    sampling = server.calls("Generate")[0].request.request.sampling
    assert sampling.HasField("temperature")
    assert not sampling.HasField("max_tokens")


def test_every_answer_is_bound_to_the_form(server: ScriptedInference, tmp_path: Path) -> None:
    """The flags are those of `generate`."""
    piped(server, tmp_path, "Capital of France?\nSure?\n", "--choice", "yes", "--choice", "no")
    requests = [seen.request.request for seen in server.seen if seen.method == "Generate"]
    assert [list(request.constraint.choice.options) for request in requests] == [["yes", "no"]] * 2


def test_every_answer_is_asked_for_under_one_cache_policy(server: ScriptedInference, tmp_path: Path) -> None:
    """The flags of `penstock generate`, for each question of a conversation."""
    flags = "--refresh --cache-max-error-rate 0.02 --cache-scope team --cache-ttl 2m --cache-tag a --cache-tag b"
    piped(server, tmp_path, "Capital of France?\nSure?\n", *flags.split())
    policy = inference_pb2.CachePolicy(
        mode=inference_pb2.CACHE_MODE_REFRESH,
        ttl=Duration(seconds=120),
        tags=["a", "b"],
        max_error_rate=0.02,
        scope="team",
    )
    assert [seen.request.request.cache for seen in server.calls("Generate")] == [policy, policy]


def test_what_the_cache_did_is_told(terminal: Terminal, server: ScriptedInference) -> None:
    """Who allows answers to other wordings wants to see which they are."""
    cache = inference_pb2.CacheReport(outcome=inference_pb2.CACHE_OUTCOME_SEMANTIC_HIT, score=0.984)
    server.script = [started(cache=cache), *server.script[1:]]
    terminal.type("Capital of France?")
    terminal.until("cache: another wording (score 0.98)")


def test_pipe_with_a_failure_goes_on_and_ends_with_1(server: ScriptedInference, tmp_path: Path) -> None:
    """A script can tell, and has the other answers."""
    server.failures_first = [InvalidArgumentError("request.input", "nothing", "exactly one")]
    ran = piped(server, tmp_path, "One\nTwo\n")
    assert (ran.returncode, ran.stdout) == (1, "Paris.\n")
    assert ran.stderr == "error: request.input: got 'nothing'; allowed: exactly one\n"


def test_ctrl_c_ends_a_pipe(server: ScriptedInference, tmp_path: Path) -> None:
    """Nobody is there to go on with the next question."""
    server.script = [started(), delta("Par", 11), Hold()]
    arguments = command(server, tmp_path)
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"One\nTwo\n")
        process.stdin.flush()
        assert process.stdout.read(3) == b"Par"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert len(asked(server)) == 1


def test_nothing_listening_says_how_to_start(closed_port: int, tmp_path: Path) -> None:
    """Before anything is typed."""
    ran = piped(ScriptedInference(address=f"127.0.0.1:{closed_port}"), tmp_path, "Hi\n")
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == f"error: no gateway at 127.0.0.1:{closed_port}; start one with `penstock up`\n"


def test_gateway_that_goes_away_does_not_end_the_program(terminal: Terminal, server: ScriptedInference) -> None:
    """It may come back, and the conversation is still there."""
    server.failures_first = [UnavailableError("no replica is ready")] * 4
    terminal.type("Hi")
    terminal.until("no replica is ready")
    terminal.type("Hi")
    terminal.until(QUIET)


def test_model_without_a_template_cannot_chat(server: ScriptedInference, tmp_path: Path) -> None:
    """And says what can be done with it."""
    server.models = [pocket_model(has_template=False)]
    ran = piped(server, tmp_path, "Hi\n")
    assert ran.returncode == 1
    assert ran.stderr == "error: pocket has no chat template; ask it with `penstock generate --raw`\n"
