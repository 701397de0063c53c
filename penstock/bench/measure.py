"""One run from its settings to its figures."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from penstock.bench.figures import Figures, compute_figures
from penstock.bench.generator import LoadGenerator
from penstock.bench.pacing import Budget, poisson_arrivals
from penstock.bench.record import RequestRecord
from penstock.bench.settings import LoadSettings
from penstock.bench.watch import SelfReport, SelfWatch
from penstock.bench.workload import Workload, plain_token_ids
from penstock.client import AsyncClient, Model

_TELL_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: seconds since its start, its share (0 to 1), and what was sent and received so far."""

    at_s: float
    share_done: float
    num_running: int
    num_ended: int
    num_errors: int
    num_output_tokens: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A run that has ended.

    Attributes:
        records: of all requests that ended.
        figures: of those.
        generator: how the generator itself fared.
        num_unfinished: requests that were under way when it was interrupted.
        num_cut: conversations shortened to fit into the context.
        is_interrupted: whether Ctrl-C ended it.
    """

    records: tuple[RequestRecord, ...]
    figures: Figures
    generator: SelfReport
    num_unfinished: int
    num_cut: int
    is_interrupted: bool


async def measure_load(
    client: AsyncClient, model: Model, settings: LoadSettings, on_progress: Callable[[Progress], None]
) -> Measured:
    """Runs the load. Ctrl-C ends it early: requests under way are cancelled, and what was measured counts.

    Raises:
        ValueError: the prefix does not fit into the model's context.
    """
    budget = Budget(num_requests=settings.num_requests, duration_s=settings.duration_s)
    generator = LoadGenerator(
        client,
        model=model.name,
        workload=_workload(model, settings),
        budget=budget,
        timeout_s=settings.timeout_s,
        uses_cache=settings.uses_cache,
    )
    watch = SelfWatch()
    run = asyncio.create_task(_run(generator, settings))
    companions = [asyncio.create_task(watch.run()), asyncio.create_task(_tell(generator, budget, on_progress))]
    with _interrupting(run):
        await asyncio.wait([run])
    elapsed_s = generator.now_s()
    for companion in companions:
        companion.cancel()
    if not run.cancelled():
        run.result()
    return _measured(generator, watch, settings, elapsed_s, is_interrupted=run.cancelled())


def _workload(model: Model, settings: LoadSettings) -> Workload:
    token_ids = plain_token_ids(model.vocab_size, model.eos_token_ids)
    return Workload(settings.shape, token_ids=token_ids, context_length=model.context_length, seed=settings.seed)


async def _run(generator: LoadGenerator, settings: LoadSettings) -> None:
    if settings.rate_per_s is not None:
        await generator.run_open(poisson_arrivals(settings.rate_per_s, settings.seed))
    else:
        await generator.run_closed(settings.concurrency or 1)


@contextmanager
def _interrupting(run: asyncio.Task[None]) -> Iterator[None]:
    """The first Ctrl-C cancels `run`; one after that does what it always does."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        run.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _tell(generator: LoadGenerator, budget: Budget, on_progress: Callable[[Progress], None]) -> None:
    num_ended = num_errors = num_output_tokens = 0
    while True:
        await asyncio.sleep(_TELL_EVERY_S)
        news = generator.records[num_ended:]
        num_ended += len(news)
        num_errors += sum(not record.is_ok for record in news)
        num_output_tokens += sum(record.num_output_tokens for record in news)
        at_s = generator.now_s()
        share_done = budget.share_done(at_s, num_ended)
        on_progress(Progress(at_s, share_done, generator.num_running, num_ended, num_errors, num_output_tokens))


def _measured(
    generator: LoadGenerator, watch: SelfWatch, settings: LoadSettings, elapsed_s: float, *, is_interrupted: bool
) -> Measured:
    records = tuple(generator.records)
    return Measured(
        records=records,
        figures=compute_figures(records, settings.slo, elapsed_s),
        generator=watch.report([record.lateness_s for record in records]),
        num_unfinished=generator.num_running,
        num_cut=generator.num_cut,
        is_interrupted=is_interrupted,
    )
