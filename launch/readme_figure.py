"""Draws the README's figure from the results of the suite `demo`.

    python launch/readme_figure.py FOLDER [PICTURE]

FOLDER holds the suite's results.csv or results.parquet; see configs/suites/demo.py.
"""

import pathlib
import sys

from matplotlib import pyplot as plt

from samg_jax.analysis import figures
from samg_jax.reporting import learning_curves, pictures, results

SHOWN = ("vanilla", "no_data", "samg")
NAMES = {
    "vanilla": "vanilla: keeps the offline data",
    "no_data": "p = 0: online data only",
    "samg": "SAMG: online data only, guided",
}


def main(folder: str, picture: str = "docs/images/fine_tuning.png") -> None:
    """Draws mean and 95 % band of every variant around the switch."""
    frame = results.read(pathlib.Path(folder))
    frame = frame[frame["variant"].isin(SHOWN)]
    figure, axes = figures.subplots(1, width=7.5, height=3.4)
    axis = axes[0, 0]
    online = frame[frame["phase"] == "online"]
    for variant in SHOWN:
        rows = online[online["variant"] == variant]
        look = pictures.style(variant, list(SHOWN))
        count = rows["seed"].nunique()
        label = f"{NAMES[variant]} ({count} seeds)"
        learning_curves.draw(axis, rows, {**look, "label": label})
    axis.set_xlabel("environment steps after the switch from offline to online")
    axis.set_ylabel("normalized score, 95 % band")
    axis.legend(loc="lower right", fontsize="small", frameon=False)
    axis.set_title(
        "AWAC fine-tuned from one pre-training; half-cheetah data collected locally",
        fontsize="medium",
    )
    path = pathlib.Path(picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"picture: {figures.save(figure, path)}")
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
