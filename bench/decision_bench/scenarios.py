"""Kinds of traffic that the decider has to bear."""

import random
from dataclasses import dataclass, field

import numpy as np
from decision_bench.replay import Change, Result, SteppingClock, replay, shuffled, zipf
from decision_bench.world import Prompt, SyntheticWorld, Verifier

from penstock_cache.decision.decider import Decider


@dataclass(frozen=True, slots=True)
class Run:
    """A replay, with the decider as it stands at its end."""

    result: Result
    decider: Decider
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Traffic of one kind.

    Attributes:
        max_error_rate: of all requests.
        verifier: whose scores are decided on.
        label_noise: share of labels that say the opposite.
        num_requests: where traffic is drawn; uniform traffic has each prompt once.
        num_classes: of the world.
    """

    max_error_rate: float = 0.01
    verifier: Verifier = field(default_factory=Verifier)
    label_noise: float = 0.0
    num_requests: int = 20_000
    num_classes: int = 318

    def uniform(self, seed: int) -> Run:
        """Each of five prompts a class once: little is known of anything."""
        world = self._world(seed, prompts_a_class=5)
        return self._run(world, shuffled(world.all_prompts(), np.random.default_rng(seed)), seed)

    def zipf(self, seed: int, *, prompts_a_class: int | None = 5) -> Run:
        """Classes by a Zipf law. With a few prompts a class they come again and again, exactly; else each is new."""
        world = self._world(seed, prompts_a_class=prompts_a_class)
        requests = zipf(world, self.num_requests, exponent=1.0, rng=np.random.default_rng(seed))
        return self._run(world, requests, seed)

    def drift(self, seed: int, *, share: float = 0.3) -> Run:
        """New prompts by a Zipf law; midway the answers to a share of the classes change."""
        world, rng = self._world(seed, prompts_a_class=None), np.random.default_rng(seed)
        requests = zipf(world, self.num_requests, exponent=1.0, rng=rng)
        changed = rng.permutation(self.num_classes)[: int(share * self.num_classes)]
        return self._run(world, requests, seed, Change(self.num_requests // 2, frozenset(changed.tolist())))

    def burst(self, seed: int, *, length: int = 400) -> Run:
        """A calm stretch without near misses, then requests for which nothing but near misses is stored."""
        world, rng = self._world(seed, prompts_a_class=None), np.random.default_rng(seed)
        calm = [self._any_of(world, world.lone_classes(), rng) for _ in range(self.num_requests)]
        hard = rng.permutation(world.classes_with_siblings(3))[:length]
        return self._run(world, calm + [world.prompt(int(klass), rng) for klass in hard], seed)

    def _world(self, seed: int, *, prompts_a_class: int | None) -> SyntheticWorld:
        return SyntheticWorld(
            num_classes=self.num_classes, prompts_a_class=prompts_a_class, verifier=self.verifier, seed=seed
        )

    def _any_of(self, world: SyntheticWorld, classes: list[int], rng: np.random.Generator) -> Prompt:
        return world.prompt(int(rng.choice(classes)), rng)

    def _run(self, world: SyntheticWorld, requests: list[Prompt], seed: int, change: Change | None = None) -> Run:
        clock = SteppingClock()
        decider = Decider(rng=random.Random(seed))
        result = replay(
            decider,
            world,
            requests,
            max_error_rate=self.max_error_rate,
            clock=clock,
            change=change,
            label_noise=self.label_noise,
            noise_rng=np.random.default_rng(seed + 1),
        )
        return Run(result, decider, change)
