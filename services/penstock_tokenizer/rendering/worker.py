"""A render process: reads requests from standard input, answers on standard output, one at a time.

Templates come from checkpoints and may be hostile. What a sandbox inside the interpreter cannot bound (a huge power, a
padded string, nested loops) the operating system does: a limit on memory, and an alarm whose default action ends the
process, whatever it is computing. The alarm also ends a process whose service has died meanwhile.
"""

import resource
import signal
import sys
from typing import Any

from jinja2 import Template
from jinja2.exceptions import SecurityError, TemplateSyntaxError

from penstock_shared.frames import Frame, read_frame, to_frame
from penstock_tokenizer.rendering.environment import RaisedByTemplateError, make_environment
from penstock_tokenizer.rendering.refusal import Refusal


class BoundError(Exception):
    """A bound was reached; expected of hostile templates."""


class TemplateRenderer:
    """Compiles templates once and renders them.

    Args:
        max_output_chars: bound of a rendered text.
    """

    def __init__(self, max_output_chars: int) -> None:
        self._environment = make_environment()
        self._templates: dict[str, Template] = {}
        self._max_output_chars = max_output_chars

    def answer(self, request: Frame) -> Frame:
        """Renders `request["template"]` (its source comes with the first request) with `request["variables"]`."""
        try:
            return {"text": self._render(request)}
        except RaisedByTemplateError as error:
            return _refused(Refusal.RAISED, error)
        except (SecurityError, TemplateSyntaxError) as error:
            return _refused(Refusal.TEMPLATE, error)
        except MemoryError:
            return _refused(Refusal.BOUNDS, BoundError("it needs more memory than it may use"))
        except (OverflowError, RecursionError, BoundError) as error:
            return _refused(Refusal.BOUNDS, error)
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            return _refused(Refusal.INPUT, error)

    def _render(self, request: Frame) -> str:
        name = request["template"]
        if name not in self._templates:
            self._templates[name] = self._environment.from_string(request["source"])
        return self._join(self._templates[name], request["variables"])

    def _join(self, template: Template, variables: dict[str, Any]) -> str:
        pieces: list[str] = []
        num_chars = 0
        for piece in template.generate(variables):
            num_chars += len(piece)
            if num_chars > self._max_output_chars:
                raise BoundError(f"the output is longer than {self._max_output_chars} characters")
            pieces.append(piece)
        return "".join(pieces)


def serve(renderer: TemplateRenderer, timeout_s: float) -> None:
    """Says that it is ready, then answers until standard input ends."""
    _write({})
    while (request := read_frame(sys.stdin.buffer)) is not None:
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        answer = renderer.answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answer)


def main() -> None:
    """Arguments: seconds a rendering may take, bytes of address space, characters of output."""
    timeout_s, max_memory_bytes, max_output_chars = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service ends us
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    serve(TemplateRenderer(max_output_chars), timeout_s)


def _write(frame: Frame) -> None:
    sys.stdout.buffer.write(to_frame(frame))
    sys.stdout.buffer.flush()


def _refused(why: Refusal, error: Exception) -> Frame:
    return {"refusal": why.value, "message": str(error) or type(error).__name__}


if __name__ == "__main__":
    main()
