"""The HTTP side: /healthz for probes, /metrics for Prometheus."""

from collections.abc import Callable

from aiohttp import web

from penstock_gateway.telemetry.metrics import GatewayMetrics

_PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class HttpServer:
    """Serves both.

    Args:
        bind: host:port; port 0 lets the system choose.
        metrics: what /metrics shows.
        missing: what keeps the gateway from serving, in a few words each; empty when it can serve.
    """

    def __init__(self, bind: str, *, metrics: GatewayMetrics, missing: Callable[[], list[str]]) -> None:
        self._host, _, port = bind.rpartition(":")
        self._port = int(port)
        self._metrics = metrics
        self._missing = missing
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> int:
        """Listens and returns the port.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        _, port, *_ = self._runner.addresses[0]
        return int(port)

    async def close(self) -> None:
        """Stops listening."""
        await self._runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        missing = self._missing()
        body = {"status": "not serving" if missing else "serving", "missing": missing}
        return web.json_response(body, status=503 if missing else 200)

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": _PROMETHEUS_TEXT})
