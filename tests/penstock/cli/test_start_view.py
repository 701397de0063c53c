"""What an operator sees while a stack starts."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from penstock.cli.start_view import Row, StartView, rows
from penstock.local.plan import Addresses
from penstock.local.ports import Ports
from penstock.local.process_id import ProcessId
from penstock.local.state import Phase, ReplicaView, ServiceState, StackState, Stage

STATE = StackState(
    phase=Phase.STARTING,
    supervisor=ProcessId(1, ""),
    started_at=100.0,
    model_name="pocket",
    model_dir="/m",
    num_replicas=1,
    addresses=Addresses.on_loopback(Ports()),
    services=(
        ServiceState("tokenizer", "127.0.0.1:50053", Stage.READY, 101.5),
        ServiceState("worker", "127.0.0.1:50054", Stage.STARTING, 100.0),
    ),
    replicas=(ReplicaView("pocket-0", "loading", 103.0, "", 0, 1, 0, "reading weights"),),
)


def test_rows_say_where_each_part_is() -> None:
    """Whoever waits sees for what."""
    assert list(rows(STATE)) == [
        Row("tokenizer", "ready", 1.5, "127.0.0.1:50053"),
        Row("worker", "starting", 0.0, "starts Ray and the fleet"),
        Row("pocket-0", "loading", 3.0, "reading weights"),
    ]


def test_each_part_is_told_once_where_there_is_no_terminal() -> None:
    """A log of a start is a few lines, not a film."""
    written = StringIO()
    view = StartView(Console(file=written))
    ready = STATE.with_service(replace(STATE.services[1], stage=Stage.READY, since=104.0))
    for state in (STATE, STATE, ready, ready):
        view.update(state)
    view.close()
    assert written.getvalue().splitlines() == [
        "   1.5 s  tokenizer ready at 127.0.0.1:50053",
        "   4.0 s  worker ready at 127.0.0.1:50054",
    ]


def test_terminal_shows_the_last_state_in_full() -> None:
    """The table stays when the start is over."""
    written = StringIO()
    view = StartView(Console(file=written, force_terminal=True, width=100, color_system=None))
    view.update(STATE)
    view.close()
    last = written.getvalue()
    for text in ("✓", "tokenizer", "starts Ray and the fleet", "pocket-0", "reading weights"):
        assert text in last
