"""One stack with the embedded model for all tests of this folder, observed by one span collector."""

from collections.abc import Iterator

import pytest
from fakes.span_collector import SpanCollector, span_collector
from stack.running import RunningStack, running_stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder."""
    for item in items:
        if "/stack/" in str(item.path):
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def spans() -> Iterator[SpanCollector]:
    """What the stack's services report."""
    with span_collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, spans: SpanCollector) -> Iterator[RunningStack]:
    """Two replicas of the pocket model behind tokenizer and gateway."""
    with running_stack(tmp_path_factory.mktemp("stack"), "--otlp-endpoint", spans.endpoint) as running:
        yield running
