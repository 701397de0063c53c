"""Penstock serves large language models as gRPC microservices. This package is its client.

    from penstock import Client

    with Client("127.0.0.1:50051") as client:
        print(client.generate("What is the capital of France?").text)

Names load on first use, so that importing a stub or starting the command line pays for neither gRPC nor the client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client import (
        Answer,
        AsyncClient,
        AsyncStream,
        Client,
        DeadlineExceededError,
        FailedPreconditionError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        PenstockError,
        PermissionDeniedError,
        RequestCancelledError,
        ResourceExhaustedError,
        Stream,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
    )

    __version__: str

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "Client",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "PenstockError",
    "PermissionDeniedError",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "Stream",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Loads a public name from the client (PEP 562)."""
    if name == "__version__":
        return import_module("importlib.metadata").version("penstock")
    if name not in __all__:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    return getattr(import_module("penstock.client"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
