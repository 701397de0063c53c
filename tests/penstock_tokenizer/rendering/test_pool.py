"""Templates rendered in bounded processes: what honest ones may do, and what hostile ones cannot."""

import asyncio
import time

import psutil
import pytest

from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError
from penstock_tokenizer.rendering.bounds import RenderBounds
from penstock_tokenizer.rendering.pool import RenderPool

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = (
    "{% set ns = namespace(x='x' * 99) %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"
)
HOSTILE = {
    "nested loops": (ENDLESS, "longer than 1 s"),
    "a huge range": ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    "a huge string": ("{{ 'x' * 10**10 }}", "memory"),
    "a string that is doubled": (DOUBLING, "memory"),
    "a huge power": ("{{ 9 ** (9 ** 9) }}", "longer than 1 s"),
    "wide padding": ("{{ '%2000000000d' % 1 }}", "memory"),
    "long output": ("{% for i in range(90000) %}{{ 'xxxxxxxxxxxxxxxxxxxx' }}{% endfor %}", "1000000 characters"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    "classes": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "globals of a function": ("{{ raise_exception.__globals__['os'] }}", "unsafe"),
    "attributes by format": ("{{ '{0.__class__.__mro__}'.format('') }}", "unsafe"),
    "changing its input": ("{{ messages.append(1) }}", "unsafe"),
    "an include": ("{% include '/etc/passwd' %}", "no loader"),
    "bad syntax": ("{% if %}", "Expected an expression"),
}


@pytest.mark.parametrize(("source", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_template_is_refused_within_its_bounds(
    render_pool: RenderPool, source: str, reason: str
) -> None:
    """A checkpoint's template is somebody else's program; it may neither hang, fill nor leave its process."""
    begun = time.monotonic()
    with pytest.raises((FailedPreconditionError, InvalidArgumentError), match=reason):
        await render_pool.render(source, {"messages": []})
    assert time.monotonic() - begun < 2.5
    assert await render_pool.render("{{ 1 + 1 }}", {}) == "2"


async def test_others_are_served_while_a_template_hangs(render_pool: RenderPool) -> None:
    """One bad checkpoint must not take the service from the others."""
    hanging = asyncio.create_task(render_pool.render(ENDLESS, {}))
    for _ in range(20):
        assert await render_pool.render("{{ x }}", {"x": "hello"}) == "hello"
    assert not hanging.done()
    with pytest.raises(FailedPreconditionError):
        await hanging


async def test_a_template_that_refuses_its_input_is_quoted(render_pool: RenderPool) -> None:
    """The template's author wrote that sentence for whoever sends the messages."""
    with pytest.raises(InvalidArgumentError, match="roles must alternate") as caught:
        await render_pool.render("{{ raise_exception('roles must alternate') }}", {})
    assert caught.value.field == "messages"


async def test_a_template_that_fails_on_its_input_is_the_callers_matter(render_pool: RenderPool) -> None:
    """Most templates do not check: a missing field shows as an undefined variable."""
    with pytest.raises(InvalidArgumentError, match="no attribute 'function'"):
        await render_pool.render("{{ messages[0].function.name }}", {"messages": [{}]})


async def test_templates_find_what_transformers_gives_them(render_pool: RenderPool) -> None:
    """Real templates use all of it."""
    source = (
        "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"
        "|{% generation %}{{ d | tojson }}{% endgeneration %}"
        "|{{ d | tojson(indent=1) | length }}|{{ strftime_now('%%') }}"
    )
    assert await render_pool.render(source, {"d": {"b": "<é>", "a": 1}}) == '02|{"b": "<é>", "a": 1}|24|%'


async def test_a_cancelled_caller_leaves_the_process_usable(render_pool: RenderPool) -> None:
    """Its answer must not be given to the next, and impatient callers must not cost a process each."""
    pids = [process.pid for process in render_pool._processes]
    slow = "{% for i in range(99999) %}{% endfor %}{{ x }}"
    for _ in range(4):
        abandoned = asyncio.create_task(render_pool.render(slow, {"x": "abandoned"}))
        for _ in range(3):
            await asyncio.sleep(0)
        assert render_pool._idle.qsize() < len(pids)
        abandoned.cancel()
        assert await asyncio.gather(*(render_pool.render("{{ x }}", {"x": "mine"}) for _ in pids)) == ["mine", "mine"]
    assert [process.pid for process in render_pool._processes] == pids


async def test_more_than_the_bound_is_refused_at_once() -> None:
    """A queue without a bound turns overload into a delay for everybody."""
    pool = RenderPool(num_processes=1, max_pending=2, bounds=RenderBounds(timeout_s=1))
    await pool.start()
    pending = [asyncio.create_task(pool.render("{{ 1 }}", {})) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError) as caught:
        await pool.render("{{ 1 }}", {})
    assert caught.value.retry_after_s
    assert await asyncio.gather(*pending) == ["1", "1"]
    await pool.close()


async def test_half_a_surrogate_pair_is_refused(render_pool: RenderPool) -> None:
    """JSON arguments can smuggle one in; no UTF-8 can carry it to the tokenizer."""
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        await render_pool.render("{{ x }}", {"x": "\ud800"})
    assert await render_pool.render("{{ x }}", {"x": "fine"}) == "fine"


async def test_closing_ends_the_processes() -> None:
    """`penstock down` leaves nothing behind."""
    pool = RenderPool(num_processes=1, max_pending=2, bounds=RenderBounds())
    await pool.start()
    pids = [process.pid for process in pool._processes]
    await pool.close()
    assert [pid for pid in pids if pid is None or psutil.pid_exists(pid)] == []
