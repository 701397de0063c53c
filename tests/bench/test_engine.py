"""The engine bench runs as a whole, and an engine that is missing or fails leaves a cell that says so."""

import json
import subprocess
import sys
import time
from pathlib import Path

from engine_bench.contest import Contest
from engine_bench.contestant import Start
from engine_bench.engines import EngineKind
from engine_bench.entries import Entry
from engine_bench.workloads import quick_workloads

_BENCH = Path(__file__).parents[2] / "bench" / "engine.py"


def test_bench_measures_our_engine_and_states_what_is_not_installed(tmp_path: Path) -> None:
    """A bench that nobody runs for weeks must still run; a peer's absence is a cell and no failure."""
    result, picture = tmp_path / "engine.json", tmp_path / "engine.png"
    chosen = ("--quick", "--engines", "penstock", "openvino", "--precisions", "bf16", "--rounds", "1")
    written = ("--cache-dir", tmp_path, "--json", result, "--plot", picture)
    told = subprocess.run((sys.executable, _BENCH, *chosen, *written), check=True, capture_output=True, text=True)
    cells = json.loads(result.read_text())["precisions"]["bf16"]["cells"]
    assert {workload: cell["reason"] for workload, cell in cells["openvino"].items()} == dict.fromkeys(
        ("single", "concurrent", "shared_prefix"), "not installed"
    )
    assert all(cell["median"]["tokens_per_s"] > 0 and not cell["reason"] for cell in cells["penstock"].values())
    assert "OpenVINO GenAI      not installed" in told.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_engine_that_fails_leaves_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    """One broken peer must not cost the whole run."""
    kinds = [EngineKind(name=name, title=name, runner=name, int8="") for name in ("lost", "gone")]
    start = Start(precision="bf16", num_threads=1, max_num_sequences=4, max_num_tokens=64)
    contest = Contest(quick_workloads(), vocab_size=64, start=start, log_dir=tmp_path, say=lambda _: None)
    entries = [Entry(kind=kind, python=Path(sys.executable), model_dir=tmp_path) for kind in kinds]
    results = await contest.run(entries, num_rounds=1, deadline_s=time.monotonic() + 60)
    reasons = [results.cells[kind.name]["single"].reason for kind in kinds]
    assert [reason.split(": ", 2)[0] for reason in reasons] == ["failed", "failed"]
    assert reasons[0].endswith("No module named engine_bench.runners.lost")
