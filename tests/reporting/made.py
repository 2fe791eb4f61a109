"""A suite's table made up: enough of everything that a report shows."""

import numpy as np
import pandas as pd

OFFLINE, ONLINE = 20_000, 10_000


def rows(
    algorithm="awac",
    variant="samg",
    dataset="hopper-local",
    seed=0,
    scores=(40.0, 30.0, 45.0),
    **changes,
):
    """Returns the online rows of a seed with these scores, a thousand steps apart."""
    steps = 1000 * np.arange(len(scores))
    made = {
        "algorithm": algorithm,
        "variant": variant,
        "dataset": dataset,
        "data_source": "locally collected",
        "seed": seed,
        "phase": "online",
        "step": steps,
        "return": 32.0 * np.array(scores),
        "normalized_score": scores,
        "success": np.nan,
        "regret": np.nan,
        "wall_time": 100.0,
        "peak_memory": 800e6,
        "physics": "d4rl",
        "versions": "jax 0.10.2, mujoco 3.4.0",
        "git_commit": "abc1234",
    }
    return pd.DataFrame({**made, **changes})


def suite(
    algorithms=("awac", "iql"),
    datasets=("hopper-local", "halfcheetah-local"),
    variants=("vanilla", "no_data", "samg", "samg_even"),
    seeds=5,
    evaluations=21,
    **changes,
):
    """Returns the table of a whole suite, with noise and a dip at the switch."""
    rng = np.random.default_rng(0)
    tables = []
    gains = {"vanilla": 4.0, "no_data": 6.0, "samg": 14.0, "samg_even": 9.0}
    time = np.linspace(0, 1, evaluations)
    for algorithm in algorithms:
        for dataset in datasets:
            for seed in range(seeds):
                level = rng.uniform(30, 50)
                before = level * (1 - np.exp(-5 * time)) + rng.normal(0, 1, evaluations)
                before[-1] = level
                tables.append(
                    rows(
                        algorithm,
                        "offline",
                        dataset,
                        seed,
                        before,
                        phase="offline",
                        step=np.linspace(0, OFFLINE, evaluations),
                        wall_time=60.0,
                        **changes,
                    )
                )
                for variant in variants:
                    depth = 12 if variant == "no_data" else 5
                    after = level + gains[variant] * time + rng.normal(0, 2, len(time))
                    after -= depth * np.exp(-(((time - 0.05) / 0.03) ** 2))
                    after[0] = level
                    seconds = 130 if variant.startswith("samg") else 110
                    tables.append(
                        rows(
                            algorithm,
                            variant,
                            dataset,
                            seed,
                            after,
                            step=np.linspace(0, ONLINE, evaluations),
                            wall_time=seconds,
                            **changes,
                        )
                    )
    return pd.concat(tables, ignore_index=True)
