"""The README's figure and table, from the results of the suite `demo`.

    python launch/readme_results.py [FOLDER]

FOLDER holds the suite's results.csv or results.parquet, by default launch/results/demo;
configs/suites/demo.py has the commands that make them. Prints the table as Markdown.
"""

import pathlib
import sys

import pandas as pd

from samg_jax.results import (
    figures,
    learning_curves,
    pictures,
    seed_statistics,
    tidy_table,
)

ROOT = pathlib.Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "pages" / "images" / "fine_tuning.png"
NAMES = {
    "vanilla": "vanilla: keeps the offline data",
    "no_data": "p = 0: online data only",
    "samg": "SAMG: online data only, guided",
}


def main(folder: str = str(ROOT / "launch" / "results" / "demo")) -> None:
    """Draws the picture and prints the table."""
    frame = tidy_table.read(pathlib.Path(folder))
    online = frame[frame["phase"] == "online"]
    print(table(online))
    print(f"picture: {draw(online, PICTURE)}")


def table(online: pd.DataFrame) -> str:
    """Scores per variant, and SAMG minus the others paired by seed, as Markdown.

    Args:
        online: rows of the online phase.
    """
    last = online["step"].max()
    warm_up = sorted(online["step"].unique())[1]  # Until then nothing is learned.
    scores = {
        "offline": _by_seed(online[online["step"] == 0]),
        "final": _by_seed(online[online["step"] == last]),
        "mean after warm-up": _by_seed(online[online["step"] > warm_up]),
    }
    lines = [
        f"| | {' | '.join(scores)} |",
        "| --- " * (len(scores) + 1) + "|",
    ]
    for variant, name in NAMES.items():
        cells = [
            seed_statistics.interval_text(column[variant]) for column in scores.values()
        ]
        lines.append(f"| {name.split(':')[0]} | {' | '.join(cells)} |")
    for other in ("vanilla", "no_data"):
        cells = [
            seed_statistics.interval_text(own["samg"] - own[other], sign="+")
            for own in scores.values()
        ]
        name = NAMES[other].split(":")[0]
        lines.append(f"| SAMG minus {name} | {' | '.join(['', *cells[1:]]).strip()} |")
    return "\n".join(lines)


def _by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean score, one row per seed and one column per variant."""
    return rows.groupby(["seed", "variant"])["score"].mean().unstack()


def draw(online: pd.DataFrame, path: pathlib.Path) -> pathlib.Path:
    """Draws mean and 95 % band of every variant after the switch."""
    figure, axes = figures.subplots(1, width=7.5, height=3.4)
    axis = axes[0, 0]
    for variant, name in NAMES.items():
        rows = online[online["variant"] == variant]
        look = pictures.style(variant, list(NAMES))
        label = f"{name} ({rows['seed'].nunique()} seeds)"
        learning_curves.draw(axis, rows, {**look, "label": label})
    axis.set_xlabel("environment steps after the switch from offline to online")
    axis.set_ylabel("normalized score, 95 % band")
    axis.legend(loc="lower right", fontsize="small", frameon=False)
    axis.set_title(
        "AWAC fine-tuned from one pre-training; half-cheetah data collected locally",
        fontsize="medium",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    return figures.save(figure, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
