"""`python -m penstock_worker.node`: waits for the Ray of a worker, joins it, and is its node until signalled."""

import os
import sys
import time

from penstock_shared.errors import PenstockError
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.settings import fail_start, load_settings
from penstock_worker.addresses import address_facing, split_address
from penstock_worker.cluster import OBJECT_STORE_BYTES, ray_environment
from penstock_worker.node.settings import NodeSettings

_POLL_S = 0.5
# Ray would wait for its replicas to leave, and they stay: nobody tells them. Their streams go on elsewhere.
_ENVIRONMENT = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}


def main() -> None:
    """Becomes Ray's own node process. Exit code 1, with one line that says why, if it cannot."""
    settings = load_settings(NodeSettings)
    configure_logging("node", settings.log_level, as_json=settings.log_json)
    try:
        environment = os.environ | ray_environment(settings.ray_token_file) | _ENVIRONMENT
    except PenstockError as error:
        fail_start(str(error))
    facing = wait_for_head(settings.head)
    command = join_command(settings, settings.advertise_host or facing)
    get_logger("node").info("joining", head=settings.head, command=" ".join(command[3:]))
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted


def wait_for_head(head: str) -> str:
    """Waits until somebody listens at `head`; returns this machine's address on the way there."""
    host, port = split_address(head)
    log = get_logger("node")
    is_told = False
    while True:
        try:
            return address_facing(host, port)
        except OSError as error:
            if not is_told:
                log.info("waiting for the head", head=head, reason=str(error))
                is_told = True
            time.sleep(_POLL_S)


def join_command(settings: NodeSettings, address: str) -> list[str]:
    """The command that is a node, for as long as it runs."""
    options = {
        "address": settings.head,
        "node-ip-address": address,
        "node-manager-port": settings.port,
        "num-cpus": settings.num_cpus,
        "object-store-memory": OBJECT_STORE_BYTES,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *flags]


if __name__ == "__main__":
    main()
