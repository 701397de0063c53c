"""A replica's process that lives, loads and dies when the test says so."""

import asyncio
from pathlib import Path

from penstock_shared.directory import AdapterSpec
from penstock_worker.fleet.supervisor import ReplicaDiedError
from penstock_worker.replica.registration import LoadFailure, ProcessInfo, Registration

GOOD = Registration(
    address="127.0.0.1:9",
    revision="revision-1",
    tokenizer_fingerprint="tokenizer-1",
    numerics_fingerprint="numerics-1",
    plan="",
)


class ScriptedReplica:
    """`ReplicaProcess` without a process. Each start gets the next incarnation.

    Attributes:
        loads: what the next loads answer; a replica that finds none loads well.
        refusals: why adapters of these names cannot be loaded: for good, or as it says; an exception is raised.
        is_loading_adapter: set when it is asked for the first one.
        may_load_adapters: loading one waits for it.
        adapters: those that it has, by name. They are gone with the process.
        calls: what the supervisor asked for.
        may_finish: a stop waits for it: there is work.
        may_load: loading waits for it.
        lacks: what it says that it waits for.
        progress_told: what it says of its loading.
        is_removed: its process and resources are gone for good.
        is_running: a process was started.

    Args:
        registration: what a load that goes well answers.
    """

    def __init__(self, registration: Registration = GOOD) -> None:
        self._registration = registration
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.lacks = ""
        self.progress_told: list[str] = []
        self.is_removed = False
        self.is_running = False
        self.loads: list[Registration | LoadFailure | Exception] = []
        self.refusals: dict[str, str | LoadFailure | Exception] = {}
        self.is_loading_adapter = asyncio.Event()
        self.may_load_adapters = asyncio.Event()
        self.may_load_adapters.set()
        self.adapters: dict[str, AdapterSpec] = {}
        self.calls: list[str] = []
        self.is_placed = asyncio.Event()
        self.is_placed.set()
        self._incarnation = 0
        self._death = asyncio.Event()

    def die(self) -> None:
        """Ends the process."""
        self._death.set()

    async def place(self) -> None:
        """Waits until the test lets it."""
        await self.is_placed.wait()

    async def lack(self) -> str:
        """What the test says."""
        return self.lacks

    async def progress(self) -> str:
        """What the test says; for each time that it is asked, until it has nothing to say any more: then it loads."""
        if not self.progress_told:
            self.may_load.set()
            return "done"
        return self.progress_told.pop(0)

    async def process(self) -> ProcessInfo:
        """A fresh one."""
        self.is_running = True
        self._incarnation += 1
        self._death.clear()
        self.adapters = {}
        return ProcessInfo(pid=1000 + self._incarnation, incarnation=self._incarnation)

    async def load(self) -> Registration | LoadFailure:
        """As scripted."""
        self.calls.append("load")
        await self.may_load.wait()
        loaded = self.loads.pop(0) if self.loads else self._registration
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    async def load_adapter(self, spec: AdapterSpec, path: Path) -> LoadFailure | None:
        """Has it, unless scripted otherwise."""
        self.is_loading_adapter.set()
        await self.may_load_adapters.wait()
        refusal = self.refusals.get(spec.name)
        if isinstance(refusal, Exception):
            raise refusal
        if refusal is not None:
            return refusal if isinstance(refusal, LoadFailure) else LoadFailure(refusal)
        self.adapters[spec.name] = spec
        return None

    async def unload_adapter(self, name: str) -> None:
        """Has it no more."""
        self.adapters.pop(name, None)

    async def wait_for_death(self) -> None:
        """Until `die`."""
        await self._death.wait()
        raise ReplicaDiedError("killed by the test")

    async def find(self) -> bool:
        """Whether it runs."""
        return self.is_running

    async def stop(self, limit_s: float) -> None:
        """Dies meanwhile where the test has said so."""
        self.calls.append(f"stop {limit_s:.0f}")
        await self.may_finish.wait()
        if self._death.is_set():
            raise ReplicaDiedError("killed by the test")

    async def remove(self) -> None:
        """Noted."""
        self.calls.append("remove")
        self.is_removed = True
        self.is_running = False
