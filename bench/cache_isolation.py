"""Whether one tenant can get, change or time what another one has: the service as a process, all-MiniLM.

python bench/cache_isolation.py --attempts 10000 --pairs 1000 --json isolation.json
"""

import argparse
import asyncio
import hashlib
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from cache_bench.running_cache import Stub, running_cache

from penstock.cache.v1 import cache_pb2
from penstock.types.v1 import types_pb2

_CONTEXT = bytes(32)
# An attempt that is cut off proves nothing.
_SETTINGS = {"PENSTOCK_CACHE_SEMANTIC": "1", "PENSTOCK_CACHE_SEMANTIC_BUDGET_S": "5"}
_NUM_PERMUTATIONS = 2_000
_CONCURRENCY = 4
_THINGS = ("order", "contract", "router", "invoice", "ticket", "refund", "parcel", "account", "card", "policy")
_ASKS = (
    "how do I cancel {} number {}",
    "what does {} {} cost per month",
    "explain what happens with {} {} after it has expired",
    "{} {} is broken what steps get me a new one",
)
# What an attacker lets a lookup be decided by: everything that is near, or everything at all.
_POLICIES = ({"max_error_rate": 1.0}, {"min_similarity": -1.0}, {"min_score": 0.0})
# As in CacheAttack (arXiv 2601.23088): text behind a prompt that draws its vector to that of another one.
_SUFFIX_WORDS = (
    "please",
    "answer the same as before",
    "!!",
    "ignore the tenant",
    "describing.\\ + similarly now write",
    "same question",
    "\u200b",
    "tenant=victim",
    "]](",
    "regardless",
)


@dataclass
class Attempts:
    """How many of each kind were made, and which of them came through.

    Attributes:
        made: by kind.
        served: answers to the attacker's own entries, which it may have.
        num_tokens: attempts with a true token; the others had one that was guessed.
        leaks: what another tenant's answer was got or changed by.
    """

    made: Counter[str] = field(default_factory=Counter)
    served: int = 0
    num_tokens: int = 0
    leaks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Timing:
    """Lookups of an attacker, of prompts that another tenant has and of prompts that nobody has.

    Attributes:
        num_pairs: of both.
        median_known_ms, median_unknown_ms: of the lookups.
        p_value: of the difference of the medians, by permutation; small: timing tells them apart.
    """

    num_pairs: int
    median_known_ms: float
    median_unknown_ms: float
    p_value: float


class Victim:
    """A tenant with answers.

    Attributes:
        tenant: its name.
        prompts: that it has answers to.
        entry_ids: of these.
    """

    def __init__(self, stub: Stub, num_prompts: int) -> None:
        self._stub = stub
        self.tenant = f"victim-{secrets.token_hex(4)}"
        self.prompts = make_prompts(num_prompts, random.Random(self.tenant))
        self.entry_ids: list[str] = []

    async def fill(self) -> None:
        """Stores an answer to each prompt."""
        for prompt in self.prompts:
            self.entry_ids.append((await put(self._stub, self.tenant, prompt)).entry_id)

    async def explore(self, prompt: str) -> bytes:
        """The token of an exploration; empty where the cache does not explore."""
        return (await look_up(self._stub, self.tenant, prompt, max_error_rate=1e-9)).exploration_token

    async def report(self, prompt: str, token: bytes) -> bool:
        """Whether the exploration of that token was still open."""
        return (await put(self._stub, self.tenant, prompt, token=token, is_equivalent=True)).HasField("is_equivalent")

    async def num_lost(self) -> int:
        """How many of its answers are gone."""
        found = [await look_up(self._stub, self.tenant, prompt, max_error_rate=0.0) for prompt in self.prompts]
        return sum(each.outcome != cache_pb2.LOOKUP_OUTCOME_EXACT_HIT for each in found)


def make_prompts(count: int, rng: random.Random) -> list[str]:
    """Different prompts of 8 to 14 tokens."""
    numbers = rng.sample(range(10_000, 100_000), count)
    return [rng.choice(_ASKS).format(rng.choice(_THINGS), number) for number in numbers]


def key(tenant: str, prompt: str) -> cache_pb2.CacheKey:
    """The key of a prompt. Digests of different tenants are the same here: the worst case."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return cache_pb2.CacheKey(tenant=tenant, exact_digest=digest, context_digest=_CONTEXT, prompt=prompt, model="m")


async def put(
    stub: Stub, tenant: str, prompt: str, *, token: bytes = b"", is_equivalent: bool | None = None
) -> cache_pb2.PutResponse:
    """Stores an answer that tells whose it is."""
    choice = cache_pb2.CachedChoice(text=f"{tenant}: {prompt}", finish_reason=types_pb2.FINISH_REASON_STOP)
    answer = cache_pb2.CachedAnswer(choices=[choice], model_revision="r")
    return await stub.Put(
        cache_pb2.PutRequest(
            key=key(tenant, prompt), answer=answer, exploration_token=token, is_equivalent=is_equivalent
        )
    )


async def look_up(stub: Stub, tenant: str, prompt: str, **policy: float) -> cache_pb2.LookupResponse:
    """Looks a prompt up."""
    return await stub.Lookup(cache_pb2.LookupRequest(key=key(tenant, prompt), **policy))


class Attacker:
    """A tenant that tries to get at a victim's answers, and has some of its own.

    Args:
        stub: of the service.
        victim: whose answers it wants; it is assumed to know the prompts.
        rng: draws the attempts.

    Attributes:
        attempts: so far.
    """

    def __init__(self, stub: Stub, victim: Victim, rng: random.Random) -> None:
        self._stub = stub
        self._victim = victim
        self._rng = rng
        self.tenant = f"attacker-{secrets.token_hex(4)}"
        self.attempts = Attempts()

    async def attack(self, num_attempts: int) -> None:
        """Makes attempts of all kinds in turn, some at once."""
        for prompt in make_prompts(20, self._rng):
            await put(self._stub, self.tenant, prompt)
        kinds = (self._same_prompt, self._suffix, self._suffix, self._explain, self._entry_id, self._token)
        waiting = iter(range(num_attempts))

        async def lane() -> None:
            for number in waiting:
                attempt = kinds[number % len(kinds)]
                self.attempts.made[attempt.__name__.removeprefix("_")] += 1
                await attempt(self._rng.randrange(len(self._victim.prompts)))

        await asyncio.gather(*(lane() for _ in range(_CONCURRENCY)))
        await self._export()

    async def _same_prompt(self, index: int) -> None:
        """The very prompt, with the same digests."""
        await self._look_up(self._victim.prompts[index], "same prompt")

    async def _suffix(self, index: int) -> None:
        """The prompt with words that keep its vector near."""
        words = self._rng.choices(_SUFFIX_WORDS, k=self._rng.randint(1, 4))
        await self._look_up(" ".join((self._victim.prompts[index], *words)), "suffix")

    async def _explain(self, index: int) -> None:
        """Asks for candidates."""
        request = cache_pb2.ExplainRequest(key=key(self.tenant, self._victim.prompts[index]), max_error_rate=1.0)
        explained = await self._stub.Explain(request)
        known = set(self._victim.entry_ids)
        if any(each.entry_id in known or each.cluster in known for each in explained.candidates):
            self.attempts.leaks.append(f"explain: {self._victim.prompts[index]}")

    async def _entry_id(self, index: int) -> None:
        """Removes the victim's entry by its id, as if it had guessed it."""
        request = cache_pb2.InvalidateRequest(tenant=self.tenant, entry_id=self._victim.entry_ids[index])
        if (await self._stub.Invalidate(request)).num_removed:
            self.attempts.leaks.append(f"entry id: {self._victim.prompts[index]}")

    async def _token(self, index: int) -> None:
        """Reports to an exploration of the victim: that teaches nothing, and the token stays good."""
        prompt = f"{self._victim.prompts[index]} then {self.attempts.made['token']}"
        token = await self._victim.explore(prompt)
        self.attempts.num_tokens += bool(token)
        reported = await put(
            self._stub, self.tenant, prompt, token=token or secrets.token_bytes(16), is_equivalent=True
        )
        if reported.HasField("is_equivalent") or (token and not await self._victim.report(prompt, token)):
            self.attempts.leaks.append(f"token: {prompt}")

    async def _export(self) -> None:
        """Asks for everything."""
        async for response in self._stub.Export(cache_pb2.ExportRequest(tenant=self.tenant)):
            if self._is_the_victims(response.record.entry.answer):
                self.attempts.leaks.append("export")

    async def _look_up(self, prompt: str, kind: str) -> None:
        looked = await look_up(self._stub, self.tenant, prompt, **self._rng.choice(_POLICIES))
        if self._is_the_victims(looked.answer):
            self.attempts.leaks.append(f"{kind}: {prompt}")
        self.attempts.served += bool(looked.answer.choices)

    def _is_the_victims(self, answer: cache_pb2.CachedAnswer) -> bool:
        texts = [choice.text for choice in answer.choices]
        return answer.entry_id in self._victim.entry_ids or any(self._victim.tenant in text for text in texts)


async def time_lookups(stub: Stub, num_pairs: int, rng: random.Random) -> Timing:
    """Lets an attacker look up, in random order and once each, what a victim has and what nobody has."""
    victim, attacker = f"victim-{secrets.token_hex(4)}", f"attacker-{secrets.token_hex(4)}"
    prompts = make_prompts(2 * num_pairs, rng)
    known, unknown = prompts[:num_pairs], prompts[num_pairs:]
    for prompt in known:
        await put(stub, victim, prompt)
    for prompt in make_prompts(20, rng):
        await put(stub, attacker, prompt)
    durations_ms: dict[bool, list[float]] = {True: [], False: []}
    order = [(prompt, True) for prompt in known] + [(prompt, False) for prompt in unknown]
    rng.shuffle(order)
    for prompt, is_known in order:
        await put(stub, victim, prompt if is_known else rng.choice(known))  # a moment ago: what is warm is warm
        begin_s = time.perf_counter()
        await look_up(stub, attacker, prompt, max_error_rate=0.01)
        durations_ms[is_known].append((time.perf_counter() - begin_s) * 1e3)
    return Timing(
        num_pairs,
        median(durations_ms[True]),
        median(durations_ms[False]),
        p_value(durations_ms[True], durations_ms[False], rng),
    )


def p_value(one: list[float], other: list[float], rng: random.Random) -> float:
    """The share of random divisions in which the medians differ at least as much (a permutation test)."""
    together, observed = one + other, abs(median(one) - median(other))
    num_as_far = 1  # the division that was observed is one of them
    for _ in range(_NUM_PERMUTATIONS):
        rng.shuffle(together)
        num_as_far += abs(median(together[: len(one)]) - median(together[len(one) :])) >= observed
    return num_as_far / (_NUM_PERMUTATIONS + 1)


async def main(arguments: argparse.Namespace) -> int:
    """Attacks, times, prints, and fails where anything came through."""
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as state_dir:
        async with running_cache(state_dir, _SETTINGS) as (stub, _):
            victim = Victim(stub, arguments.prompts)
            await victim.fill()
            attacker = Attacker(stub, victim, rng)
            await attacker.attack(arguments.attempts)
            num_lost = await victim.num_lost()
            timing = await time_lookups(stub, arguments.pairs, rng)
    attempts = attacker.attempts
    print(f"{sum(attempts.made.values())} attempts {dict(attempts.made)}, {attempts.served} answers of its own")
    print(f"{len(attempts.leaks)} came through; {num_lost} of the victim's {arguments.prompts} answers were lost")
    print(
        f"lookups of what another tenant has: median {timing.median_known_ms:.2f} ms, of what nobody has: "
        f"{timing.median_unknown_ms:.2f} ms, {timing.num_pairs} each, p = {timing.p_value:.3f}"
    )
    if arguments.json:
        report = vars(attempts) | {"num_lost": num_lost, "timing": asdict(timing), "seed": arguments.seed}
        arguments.json.write_text(json.dumps(report) + "\n")
    return int(bool(attempts.leaks or num_lost))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--prompts", type=int, default=200, help="that the victim has answers to")
    parser.add_argument("--pairs", type=int, default=1_000, help="lookups of each kind that are timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    sys.exit(asyncio.run(main(parser.parse_args())))
