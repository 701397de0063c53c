"""A run as a picture."""

from pathlib import Path

import pytest

from penstock.bench.plot import save_plot, throughput_over_time
from penstock.bench.record import RequestRecord

RECORD = RequestRecord(0.0, 0.0, 2.6, token_times_s=(0.1, 0.4, 2.6), token_counts=(1, 3, 2), num_prompt_tokens=9)


def test_throughput_is_tokens_in_each_bin_over_its_length() -> None:
    """Bins without tokens are zeros, and not left out."""
    assert throughput_over_time([RECORD, RECORD], bin_s=0.5) == [16.0, 0.0, 0.0, 0.0, 0.0, 8.0]
    assert throughput_over_time([], bin_s=0.5) == []


@pytest.mark.parametrize("records", [[RECORD], []])
def test_picture_is_a_png(tmp_path: Path, records: list[RequestRecord]) -> None:
    """Also of a run that brought nothing."""
    path = tmp_path / "run.png"
    save_plot(path, records, title="a run")
    assert path.read_bytes().startswith(b"\x89PNG")
