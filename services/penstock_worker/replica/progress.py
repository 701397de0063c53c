"""How far a replica is while it loads, for whoever waits. Written by the thread that loads, read by others."""

from dataclasses import dataclass


@dataclass(slots=True)
class LoadProgress:
    """What is being done, and what share of it is done where that is known."""

    stage: str = "starting"
    share: float | None = None

    def enter(self, stage: str) -> None:
        """The next thing."""
        self.stage, self.share = stage, None

    def advance(self, share: float) -> None:
        """So much of it is done, from 0 to 1."""
        self.share = share

    def __str__(self) -> str:
        """For people."""
        return self.stage if self.share is None else f"{self.stage} {self.share:.0%}"
