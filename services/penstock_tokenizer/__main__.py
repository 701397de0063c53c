"""Starts the tokenizer service: `python -m penstock_tokenizer`."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import grpc
import uvloop

from penstock.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from penstock_shared.channels import open_channel
from penstock_shared.child_process import ChildAbortedError
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import DirectoryWatcher
from penstock_shared.errors import PenstockError
from penstock_shared.heap import return_large_blocks
from penstock_shared.inner_tls import inner_certificates, load_inner_tls
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.server import GrpcServer, serve_until_signalled
from penstock_shared.settings import fail_start, load_settings
from penstock_shared.tracing import make_tracer
from penstock_tokenizer.catalog import Catalog
from penstock_tokenizer.cpu_pool import CpuPool
from penstock_tokenizer.limits import RequestLimits
from penstock_tokenizer.rendering.bounds import RenderBounds
from penstock_tokenizer.rendering.pool import RenderPool
from penstock_tokenizer.service import TokenizerServicer
from penstock_tokenizer.settings import TokenizerSettings

_SERVICE = "penstock-tokenizer"
_CONTRACT = tokenizer_pb2.DESCRIPTOR.services_by_name["TokenizerService"].full_name


def main() -> None:
    """Serves until signalled; ends with code 1 and one line when it cannot start."""
    settings = load_settings(TokenizerSettings)
    configure_logging(_SERVICE, settings.log_level, as_json=settings.log_json)
    return_large_blocks()
    try:
        uvloop.run(_serve(settings))
    except (PenstockError, ChildAbortedError, OSError) as error:
        fail_start(str(error))


async def _serve(settings: TokenizerSettings) -> None:
    tracer = make_tracer(_SERVICE, settings)
    credential = FleetCredential.load(settings.fleet_credential_file) if settings.fleet_credential_file else None
    tls = load_inner_tls(settings)
    server = GrpcServer(
        bind=settings.bind,
        service_names=[_CONTRACT],
        tracer=tracer,
        credential=credential,
        certificates=inner_certificates(tls),
    )
    async with AsyncExitStack() as stack:
        stack.callback(tracer.shutdown)
        render_pool = _render_pool(settings)
        stack.push_async_callback(render_pool.close)
        await render_pool.start()
        cpu_pool = CpuPool(num_threads=settings.num_threads, max_pending=settings.max_pending)
        stack.callback(cpu_pool.close)
        catalog = Catalog(lambda: server.set_serving(len(catalog) > 0))
        servicer = TokenizerServicer(catalog, cpu_pool, render_pool, _limits(settings))
        tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(servicer, server.server)
        port = await server.start()
        stack.push_async_callback(server.server.stop, 0)
        get_logger("main").info("listening", address=f"{settings.bind.rpartition(':')[0]}:{port}")
        await catalog.load_fixed(settings.models)
        open_fleet = partial(open_channel, credential=credential, tracer=tracer, tls=tls)
        await _run(server, catalog, settings, open_fleet)


async def _run(
    server: GrpcServer,
    catalog: Catalog,
    settings: TokenizerSettings,
    open_fleet: Callable[[str], grpc.aio.Channel],
) -> None:
    async with AsyncExitStack() as stack:
        background = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = []
        if settings.fleet_address is not None:
            channel = await stack.enter_async_context(open_fleet(settings.fleet_address))
            watcher = DirectoryWatcher(channel, on_change=catalog.take_directory)
            tasks = [background.create_task(watcher.run()), background.create_task(catalog.follow_fleet())]
        await serve_until_signalled(server, drain_grace_s=settings.drain_grace_s)
        for task in tasks:
            task.cancel()


def _render_pool(settings: TokenizerSettings) -> RenderPool:
    bounds = RenderBounds(settings.render_timeout_s, settings.render_memory_bytes, settings.max_prompt_chars)
    return RenderPool(num_processes=settings.num_render_processes, max_pending=settings.max_pending, bounds=bounds)


def _limits(settings: TokenizerSettings) -> RequestLimits:
    return RequestLimits(
        max_texts=settings.max_texts,
        max_text_bytes=settings.max_text_bytes,
        max_token_ids=settings.max_token_ids,
        max_messages=settings.max_messages,
        max_open_outputs=settings.max_open_outputs,
    )


if __name__ == "__main__":
    main()
