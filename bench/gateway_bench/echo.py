"""The least that a grpc.aio server can do: the floor that the gateway is held against. Runs in a process of its own.

`Unary` returns its request. `Hops` does so after the unary calls that a short request of the gateway comes to:
tokenizer and cache at once, and a put that nobody waits for; bytes are passed on, nothing is read. `Stream` is asked as
"num_messages pace_s" and sends messages of 28 bytes that begin with a stamp.

python -m gateway_bench.echo TOKENIZER_ADDRESS CACHE_ADDRESS
"""

import asyncio
import json
import struct
import sys

import grpc
import uvloop
from gateway_bench.stamps import stamp_now

SERVICE = "bench.Echo"
STAMP = struct.Struct("<I")
_PADDING = bytes(24)

Context = grpc.aio.ServicerContext[bytes, bytes]


async def unary(request: bytes, _context: Context) -> bytes:
    """The request."""
    return request


class Hops:
    """Makes the calls of a short request.

    Args:
        tokenizer, cache: channels to the stubs.
    """

    def __init__(self, tokenizer: grpc.aio.Channel, cache: grpc.aio.Channel) -> None:
        self._encode = tokenizer.unary_unary("/penstock.tokenizer.v1.TokenizerService/Encode")
        self._look_up = cache.unary_unary("/penstock.cache.v1.CacheService/Lookup")
        self._put = cache.unary_unary("/penstock.cache.v1.CacheService/Put")
        self._puts: set[grpc.aio.UnaryUnaryCall[bytes, bytes]] = set()

    async def answer(self, request: bytes, _context: Context) -> bytes:
        """The request, after its calls. An empty message is a good one for all of them."""
        encoding, looking_up = self._encode(b""), self._look_up(b"")
        await looking_up
        await encoding
        putting = self._put(b"")
        self._puts.add(putting)
        putting.add_done_callback(self._puts.discard)
        return request


async def stream(request: bytes, context: Context) -> None:
    """So many messages; all paced streams tick together, as a worker's sequences do."""
    num_messages, pace_s = int(request.split()[0]), float(request.split()[1])
    loop = asyncio.get_running_loop()
    for _ in range(num_messages):
        if pace_s:
            await asyncio.sleep(pace_s - loop.time() % pace_s)
        await context.write(STAMP.pack(stamp_now()) + _PADDING)


async def main() -> None:
    """Serves until killed; says where on its first line."""
    server = grpc.aio.server()
    hops = Hops(*map(grpc.aio.insecure_channel, sys.argv[1:]))
    handlers = {
        "Hops": grpc.unary_unary_rpc_method_handler(hops.answer),
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"address": f"127.0.0.1:{port}"}), flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
