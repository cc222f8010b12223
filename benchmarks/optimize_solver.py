"""How long exact maps take: 200 categories and 50 experts under each kind of budget.

    python benchmarks/optimize_solver.py [--seeds 24]

Random instances in which larger experts are better on average and every cell differs. Limits lie well below
what the unlimited map spends, so that they bind. The last column counts instances over two seconds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from coe_routers.mapping import Budget, Latency, Problem, solve

CATEGORIES, EXPERTS, LATENCIES = 200, 50, 20_000


def instance(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(2.5, 1, EXPERTS))
    able = 0.5 + 0.08 * np.log(size) + rng.normal(0, 0.05, EXPERTS)
    hard = rng.normal(0, 0.2, (CATEGORIES, 1))
    category = rng.integers(0, CATEGORIES, LATENCIES)
    seconds = size[None] * 0.05 * np.exp(rng.normal(0, 0.5, (LATENCIES, EXPERTS)))
    return Problem(
        categories=tuple(f"c{number}" for number in range(CATEGORIES)),
        experts=tuple(f"e{number}" for number in range(EXPERTS)),
        share=rng.dirichlet(np.ones(CATEGORIES)),
        value=np.clip(able + hard + rng.normal(0, 0.06, (CATEGORIES, EXPERTS)), 0, 1),
        allowed=np.ones((CATEGORIES, EXPERTS), dtype=bool),
        active_params_b=size,
        total_params_b=size,
        usd_per_1k=size[None] * 0.02 * np.exp(rng.normal(0, 0.4, (CATEGORIES, 1))),
        latency=Latency(seconds.astype(np.float32), category),
        tie_cost=np.tile(size, (CATEGORIES, 1)),
    )


def budgets(free: dict[str, float]) -> dict[str, Budget]:
    return {
        "none": Budget(),
        "active parameters / 2": Budget(active_params_b=free["active_params_b"] / 2),
        "USD / 2": Budget(usd_per_1k=free["usd_per_1k"] / 2),
        "p95 latency x 0.6": Budget(p95_latency_s=free["p95_latency_s"] * 0.6),
        "at most 5 experts": Budget(max_experts=5),
        "at most 15 experts": Budget(max_experts=15),
        "total parameters x 0.3": Budget(total_params_b=free["total_params_b"] * 0.3),
        "USD x 0.6, 8 experts": Budget(usd_per_1k=free["usd_per_1k"] * 0.6, max_experts=8),
        "all five": Budget(
            active_params_b=free["active_params_b"] * 0.7,
            usd_per_1k=free["usd_per_1k"] * 0.6,
            p95_latency_s=free["p95_latency_s"] * 0.8,
            total_params_b=free["total_params_b"] * 0.4,
            max_experts=8,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24)
    problems = [instance(seed) for seed in range(parser.parse_args().seeds)]
    plans = [budgets(solve(problem).spends) for problem in problems]
    print(f"{CATEGORIES} categories, {EXPERTS} experts; CPU seconds over {len(problems)} instances")
    print(f"{'budget':<24} {'median':>7} {'worst':>7} {'value':>8} {'> 2 s':>6}")
    for name in plans[0]:
        taken, values = list[float](), list[float]()
        for problem, plan in zip(problems, plans, strict=True):
            started = time.process_time()
            values.append(solve(problem, plan[name]).value)
            taken.append(time.process_time() - started)
        print(
            f"{name:<24} {np.median(taken):7.2f} {max(taken):7.2f} {np.mean(values):8.4f}"
            f" {sum(seconds > 2 for seconds in taken):6d}",
            flush=True,
        )


if __name__ == "__main__":
    main()
