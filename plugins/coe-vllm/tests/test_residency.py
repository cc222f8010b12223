"""Who is awake: the planner, the turns, the state machine and the simulation."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe_vllm.residency import (
    POLICIES,
    Call,
    Demand,
    Memory,
    Model,
    Residency,
    Waiting,
    next_turn,
    plan,
    simulate,
    victims,
)

NAMES = list("abcdef")


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[Model], Memory]:
    """Models in a memory that holds those that are in it."""
    models: list[Model] = []
    for name in NAMES[: draw(st.integers(1, 6))]:
        gpu_gb = draw(st.integers(1, 8))
        models.append(
            Model(
                name=name,
                tier=draw(st.sampled_from(["gpu", "host", "disk"])),
                gpu_gb=gpu_gb,
                host_gb=draw(st.integers(1, gpu_gb)),
                sleeps=draw(st.booleans()),
                pinned=draw(st.booleans()),
                busy=draw(st.booleans()),
                next_use=draw(st.none() | st.integers(0, 9)),
                rate_per_s=draw(st.floats(0, 10)),
            )
        )
    gpu = sum(m.gpu_gb for m in models if m.tier == "gpu") + draw(st.integers(0, 4))
    host = sum(m.host_gb for m in models if m.tier == "host") + draw(st.integers(0, 4))
    return models, Memory(max(gpu, 1), host)


@given(pools(), st.data())
def test_a_plan_keeps_to_the_memory_and_spares_whom_it_must(
    pool: tuple[list[Model], Memory], data: st.DataObject
) -> None:
    models, memory = pool
    wanted = data.draw(st.sampled_from(models))
    steps = plan(wanted.name, models, memory)
    by_name = {model.name: model for model in models}
    if steps is None:
        free_gb = memory.gpu_gb - sum(m.gpu_gb for m in models if m.tier == "gpu" and (m.pinned or m.busy))
        assert wanted.gpu_gb > free_gb
        return
    if wanted.tier == "gpu":
        assert steps == ()
        return
    after = {"sleep": "host", "stop": "disk", "wake": "gpu", "start": "gpu"}
    for step in steps:
        before = by_name[step.model]
        if step.model != wanted.name:
            assert not before.pinned
            assert before.tier == "host" or not before.busy
        if step.verb == "sleep":
            assert before.sleeps
        assert (step.verb == "wake") == (step.model == wanted.name and before.tier == "host")
        by_name[step.model] = replace(before, tier=after[step.verb])  # type: ignore[arg-type]
        # After every step, not only at the end: memory that is taken before it is free is an error.
        assert sum(m.gpu_gb for m in by_name.values() if m.tier == "gpu") <= memory.gpu_gb
        assert sum(m.host_gb for m in by_name.values() if m.tier == "host") <= memory.host_gb
    assert by_name[wanted.name].tier == "gpu"


@given(pools(), st.integers(0, 20))
def test_no_victim_is_needless(pool: tuple[list[Model], Memory], missing_gb: int) -> None:
    awake = [replace(model, tier="gpu") for model in pool[0]]
    chosen = victims(missing_gb, awake)
    if chosen is None:
        return
    freed = {model.name: model.gpu_gb for model in awake if model.name in chosen}
    assert sum(freed.values()) >= missing_gb
    assert all(sum(freed.values()) - each < missing_gb for each in freed.values())


def awake(name: str, **facts: object) -> Model:
    return Model(name=name, tier="gpu", gpu_gb=1, **facts)  # type: ignore[arg-type]


def test_whom_nobody_waits_for_goes_first_then_the_farthest() -> None:
    soon, late, idle = awake("soon", next_use=0), awake("late", next_use=5), awake("idle", rate_per_s=9)
    assert victims(1, [soon, late, idle]) == ("idle",)
    assert victims(1, [soon, late]) == ("late",)
    assert victims(2, [soon, late, idle]) == ("idle", "late")


def test_among_the_idle_the_cheapest_to_miss_goes_first() -> None:
    rare = awake("rare", rate_per_s=0.1, start_s=60)
    often = awake("often", rate_per_s=1.0, start_s=60)
    quick = awake("quick", rate_per_s=1.0, sleeps=True, wake_s=1)
    assert victims(1, [often, rare, quick]) == ("quick",)
    assert victims(1, [often, rare]) == ("rare",)


def test_a_full_host_memory_keeps_the_worthier() -> None:
    memory = Memory(1, 1)
    out = Model(name="out", tier="gpu", gpu_gb=1, host_gb=1, sleeps=True, rate_per_s=5)
    old = Model(name="old", tier="host", gpu_gb=1, host_gb=1, sleeps=True, rate_per_s=1)
    new = Model(name="new", tier="disk", gpu_gb=1)
    steps = plan("new", [out, old, new], memory)
    assert steps is not None
    assert [(s.verb, s.model) for s in steps] == [("stop", "old"), ("sleep", "out"), ("start", "new")]
    steps = plan("new", [replace(out, rate_per_s=0.5), old, new], memory)
    assert steps is not None
    assert [(s.verb, s.model) for s in steps] == [("stop", "out"), ("start", "new")]


@given(
    st.lists(st.builds(Waiting, st.sampled_from(NAMES), st.integers(0, 9)), min_size=1),
    st.sets(st.sampled_from(NAMES)),
    st.integers(0, 9),
)
def test_a_turn_never_costs_a_switch_that_could_wait(
    queue: list[Waiting], inside: set[str], bound: int
) -> None:
    turn = next_turn(queue, inside, bound)
    if queue[0].overtaken >= bound:
        assert turn == 0
    elif any(waiting.expert in inside for waiting in queue):
        assert queue[turn].expert in inside
    else:
        assert turn == 0


def test_the_expert_served_last_goes_on() -> None:
    queue = [Waiting("a"), Waiting("b"), Waiting("c")]
    assert next_turn(queue, {"b", "c"}, 9, last="c") == 2
    assert next_turn(queue, {"b", "c"}, 9, last="a") == 1


def two_slots(bound: int = 3) -> Residency:
    residency = Residency(Memory(2), bound)
    for name in "abc":
        residency.add(Model(name=name, tier="gpu" if name in "ab" else "disk", gpu_gb=1))
    return residency


def carry_out(residency: Residency) -> list[str]:
    steps = residency.next_steps(0)
    for step in steps:
        residency.done(step)
    residency.finished()
    return [f"{step.verb} {step.model}" for step in steps]


def test_a_request_for_a_sleeping_model_waits_until_it_is_awake() -> None:
    residency = two_slots()
    assert residency.arrive("a", 0)
    assert not residency.arrive("c", 0)
    assert not residency.retry("c")
    assert carry_out(residency) == ["stop b", "start c"]
    assert residency.retry("c")
    assert carry_out(residency) == []


def test_while_models_move_they_take_nothing() -> None:
    residency = two_slots()
    assert not residency.arrive("c", 0)
    steps = residency.next_steps(0)
    assert [step.model for step in steps] == ["a", "c"]
    assert residency.arrive("b", 0)
    assert not residency.arrive("a", 0)
    assert residency.next_steps(0) == ()


def test_nobody_waits_for_ever_behind_busy_models() -> None:
    residency = two_slots(bound=3)
    assert residency.arrive("a", 0)
    assert residency.arrive("b", 0)
    assert not residency.arrive("c", 0)
    admitted = [name for name in "ab" * 20 if residency.arrive(name, 0)]
    # Once three have overtaken it, one of both, always the same, takes no more; the other one goes on.
    (drained,) = {name for name in "ab" if admitted.count(name) < 20}
    assert admitted.count(drained) <= 3
    assert carry_out(residency) == []
    for _ in range(1 + admitted.count(drained)):
        residency.leave(drained)
    assert carry_out(residency) == [f"stop {drained}", "start c"]
    assert residency.retry("c")


def test_a_request_that_gives_up_is_forgotten() -> None:
    residency = two_slots()
    assert not residency.arrive("c", 0)
    residency.give_up("c")
    assert residency.next_steps(0) == ()


def test_only_what_fits_starts_by_itself() -> None:
    residency = Residency(Memory(2), 3)
    for name in "abc":
        residency.add(Model(name=name, tier="disk", gpu_gb=1))
    started: list[str] = []
    for name in "abc":
        if residency.fits(name):
            started.append(name)
            residency.arrive(name, 0)
    assert started == ["a", "b"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_whatever_comes_everybody_is_served_in_the_end(events: list[tuple[str, bool]]) -> None:
    residency = two_slots()
    running: list[str] = []
    waiting: list[str] = []

    def settle() -> None:
        while carry_out(residency):
            pass
        for name in list(waiting):
            if residency.retry(name):
                waiting.remove(name)
                running.append(name)

    for name, ends in events:
        (running if residency.arrive(name, 0) else waiting).append(name)
        if ends and running:
            residency.leave(running.pop(0))
        settle()
        awake_gb = sum(model.gpu_gb for model in residency.models.values() if model.tier == "gpu")
        assert awake_gb <= 2
        assert all(residency.models[each].tier == "gpu" for each in running)
    for _ in range(len(running) + len(waiting) + 5):
        if running:
            residency.leave(running.pop(0))
        settle()
    assert not waiting


def test_demand_fades_fast_at_first_and_slowly_then() -> None:
    demand = Demand()
    for at in range(20_000):
        demand.note("a", at * 0.5)
    rates = [demand.rate_per_s("a", 10_000 + past_s) for past_s in (0, 30, 600)]
    assert rates == pytest.approx([2.0, 0.25 + 1.5 * 0.5**0.05, 0.75], rel=0.02)
    assert demand.rate_per_s("b", 510) == 0


def test_who_was_just_asked_is_kept_before_who_was_asked_as_often_long_ago() -> None:
    demand = Demand()
    for at in range(10):
        demand.note("then", at)
    for at in range(10):
        demand.note("now", 100 + at)
    assert demand.rate_per_s("now", 110) > 1.2 * demand.rate_per_s("then", 110)


def zipf(count: int, seed: int) -> list[Call]:
    random_numbers = random.Random(seed)
    weights = [1 / rank for rank in range(1, 21)]
    at_s, trace = 0.0, []
    for _ in range(count):
        at_s += random_numbers.expovariate(20.0)
        trace.append(Call(at_s, f"e{random_numbers.choices(range(20), weights)[0]:02d}"))
    return trace


def test_the_measured_references_of_zipf_are_met() -> None:
    # Independent requests of Zipf(1) over 20 experts and 4 places: LRU .400, static .541, Belady .606.
    trace = zipf(20_000, 1)
    rates = {
        policy: simulate(trace, policy, slots=4, service_s=0.01, switch_s=0.0).hit_rate
        for policy in ("lru", "static", "belady")
    }
    assert rates["lru"] == pytest.approx(0.400, abs=0.015)
    assert rates["belady"] == pytest.approx(0.606, abs=0.015)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 20))
def test_fairness_is_bounded_and_order_is_kept_where_promised(seed: int, bound: int) -> None:
    trace = zipf(200, seed)
    for policy in POLICIES:
        outcome = simulate(
            trace, policy, slots=4, service_s=0.2, switch_s=1.0, window=16, max_overtaken=bound
        )
        assert 0 <= outcome.hit_rate < 1
        assert outcome.overtaken_max <= (bound if policy == "planned" else 0)
        assert 0 <= outcome.wait_p50_s <= outcome.wait_p95_s <= outcome.wait_max_s


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_nobody_who_keeps_the_order_beats_belady(seed: int) -> None:
    trace = zipf(300, seed)
    switches = {
        policy: simulate(trace, policy, slots=4, service_s=0.2, switch_s=1.0).switches
        for policy in ("lru", "static", "belady", "lookahead")
    }
    assert min(switches.values()) == switches["belady"]
