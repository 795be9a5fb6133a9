"""What would it cost, how is it kept below a limit, and what has it cost?

python examples/costs_and_budget.py

The estimate is for Modal and needs no account: nothing is sent. The refusal comes before anything is sent, too.
"""

from __future__ import annotations

from ryla_gen import Client, Flux, FluxDev
from ryla_gen.errors import BudgetExceededError

REQUEST = FluxDev(prompt="a lighthouse at dusk", steps=28)


def main() -> None:
    with Client("modal", max_usd=0.001) as modal:  # `ryla-gen config set max_usd_per_day 20` limits a day for every program
        before = modal.estimate(REQUEST)
        print(f"before: ${before.usd.likely:.4f} (${before.usd.low:.4f} to ${before.usd.high:.4f}) on {before.gpu}")
        print(f"  a cold start adds ${before.cold_start_usd.likely:.4f}; {before.basis}")
        try:
            modal.run(REQUEST)
        except BudgetExceededError as error:
            print(f"refused: {error.message} (limit ${error.details['limit_usd']})")

    with Client() as client:  # wherever you run
        generation = client.run(Flux(prompt="a small lighthouse", width=256, height=256), tags=["example"])
        cost = generation.cost
        print(f"this one: ${cost.total_usd:.4f} for {cost.gpu_seconds:.1f} s on {cost.gpu or 'no GPU'}")
        for row in client.costs(by="workflow", since="7d"):
            each = "none succeeded" if row.usd_each is None else f"${row.usd_each:.4f} each"
            print(f"7 days of {row.key}: {row.jobs} jobs, {row.failed} failed, ${row.usd:.4f}, {each}")


if __name__ == "__main__":
    main()
