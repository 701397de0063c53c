"""The render process on its own."""

import signal
import subprocess
import sys

from penstock_shared.frames import to_frame
from penstock_tokenizer.rendering.refusal import Refusal
from penstock_tokenizer.rendering.worker import TemplateRenderer

COMMAND = (sys.executable, "-m", "penstock_tokenizer.rendering.worker", "0.2", str(256 * 1024 * 1024), "100")


def test_it_ends_by_itself_when_time_is_up() -> None:
    """Nobody else would end it when the service has died in the meantime."""
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    request = to_frame({"template": "x", "source": endless, "variables": {}})
    result = subprocess.run(COMMAND, input=request, capture_output=True, check=False)
    assert result.returncode == -signal.SIGALRM


def test_it_ends_when_the_service_goes_away() -> None:
    """An idle one has no alarm running."""
    assert subprocess.run(COMMAND, input=b"", capture_output=True, check=False).returncode == 0


def test_the_source_is_needed_only_once() -> None:
    """Sources of many kilobytes are not sent and compiled with every request."""
    renderer = TemplateRenderer(max_output_chars=100)
    first = renderer.answer({"template": "a", "source": "{{ x }}", "variables": {"x": 1}})
    assert (first, renderer.answer({"template": "a", "variables": {"x": 2}})) == ({"text": "1"}, {"text": "2"})


def test_output_ends_at_its_bound() -> None:
    """The bound holds for text that comes in many small pieces too."""
    renderer = TemplateRenderer(max_output_chars=10)
    request = {"template": "a", "source": "{% for i in range(n) %}x{% endfor %}"}
    assert renderer.answer(request | {"variables": {"n": 10}}) == {"text": "x" * 10}
    assert renderer.answer(request | {"variables": {"n": 11}})["refusal"] == Refusal.BOUNDS
