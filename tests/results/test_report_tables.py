"""Tables as text, and the published numbers beside ours."""

import numpy as np
import pandas as pd
import pytest

from samg_jax.results import (
    computing,
    markup,
    published_comparisons,
    report_tables,
    seed_outcomes,
    tidy_table,
)
from tests.fixtures import made_suite

TABLE = report_tables.Table(
    name="small_one",
    title="A & B",
    header=("name", "score"),
    rows=(("no_data", "1.0 ± 0.5 %"), ("a|b", "-")),
    note="What it is.",
    disclaimer="Locally collected, not D4RL: x_y",
)


def test_markdown_has_title_caution_and_note_around_the_cells():
    assert report_tables.markdown(TABLE) == (
        "**A & B**\n\n"
        "> **Locally collected, not D4RL: x_y**\n\n"
        "| name    | score       |\n"
        "| ------- | ----------- |\n"
        "| no_data | 1.0 ± 0.5 % |\n"
        "| a\\|b    | -           |\n\n"
        "What it is.\n"
    )


def test_latex_is_escaped_and_complete():
    text = report_tables.latex(TABLE)
    assert r"\caption{A \& B. \textbf{Locally collected, not D4RL: x\_y}. What" in text
    assert r"no\_data & 1.0 $\pm$ 0.5 \% \\" in text
    assert r"\begin{tabular}{ll}" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert markup.latex(r"a\b{c}") == r"a\textbackslash{}b\{c\}"


@pytest.mark.parametrize(
    ("name", "dataset", "column", "cell"),
    [
        ("paper_scores", "hopper-medium", "cal_ql:samg", "112.9 (2.5)"),
        ("paper_scores", "antmaze-large-play-v2", "spot", "81.0 (16.8)"),
        ("paper_regret", "antmaze-umaze-diverse", "awac:samg", "0.378"),
        ("corl_offline", "walker2d-medium-replay", "cql", "73.09 (13.22)"),
        ("corl_before", "antmaze-umaze-diverse", "cql", "9.50 (9.91)"),
        ("corl_offline", "hopper-medium-local", "cql", "59.08 (3.77)"),
        ("corl_finetuned", "antmaze-umaze-diverse", "awac", "0.00 (0.00)"),
        ("corl_regret", "antmaze-large-diverse", "spot", "0.234 (0.077)"),
        ("corl_regret", "hopper-medium", "spot", "-"),
        ("corl_offline", "hopper-medium", "spot", "-"),
    ],
)
def test_published_numbers_are_where_they_belong(name, dataset, column, cell):
    assert published_comparisons.read(name).cell(dataset, column) == cell


def test_published_tables_are_complete_and_average_to_what_was_printed():
    tables = published_comparisons.everything()
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.cells.values())
    sizes = {name: len(table.cells) for name, table in tables.items()}
    assert sizes == {
        "paper_scores": 9,
        "paper_regret": 6,
        "corl_offline": 15,
        "corl_before": 6,
        "corl_finetuned": 6,
        "corl_regret": 6,
    }
    # CORL prints these means too: locomotion and AntMaze offline, AntMaze fine-tuned.
    rows = tables["corl_offline"].cells
    values = np.array([[float(c.split("(")[0]) for c in row] for row in rows.values()])
    means = [[50.40, 76.45, 79.39, 78.28, 81.63], [17.21, 19.33, 18.58, 50.71, 57.17]]
    np.testing.assert_allclose(values[:9].mean(axis=0), means[0], atol=0.006)
    np.testing.assert_allclose(values[9:].mean(axis=0), means[1], atol=0.006)
    rows = tables["corl_finetuned"].cells.values()
    values = np.array([[float(c.split("(")[0]) for c in row] for row in rows])
    means = [16.46, 95.58, 78.50, 92.38, 97.33]
    np.testing.assert_allclose(values.mean(axis=0), means, atol=0.006)


def test_ours_stand_beside_the_published():
    d4rl = {"data_source": "D4RL", "dataset": "antmaze-umaze-v2", "regret": 0.25}
    rows = [
        made_suite.rows("iql", "samg", seed=0, scores=(70.0, 80.0), **d4rl),
        made_suite.rows("iql", "samg", seed=1, scores=(70.0, 84.0), **d4rl),
        made_suite.rows("iql", "offline", scores=(60.0, 71.0), phase="offline", **d4rl),
        made_suite.rows("iql", "samg", scores=(1.0, 2.0)),
    ]
    frame = tidy_table.check(pd.concat(rows), "made")
    ours = seed_outcomes.of(frame), published_comparisons.everything()
    table = published_comparisons.scores(frame, *ours)
    found = dict(zip(table.header, table.rows[0], strict=True))
    assert found["data source"] == "D4RL"
    assert (found["offline: ours"], found["offline: CORL"]) == ("71.0", "77.00 (5.52)")
    assert (found["samg: ours"], found["samg: paper"]) == ("82.0 (2.8)", "95.6 (2.0)")
    assert (found["vanilla: ours"], found["vanilla: paper"]) == ("-", "94.0 (1.0)")
    assert table.rows[1][:2] == ("hopper-local", "locally collected")
    assert table.note.endswith("We have no number of the paper for hopper-local.")
    assert "no baseline for rows with another data source" in table.note
    own = published_comparisons.scores(frame[frame["data_source"] == "D4RL"], *ours)
    assert "We have no number" not in own.note
    whole = ours[1]["paper_scores"].in_full()
    assert "numbers for half-cheetah and walker2d could not be obtained" in whole.note
    assert table.disclaimer == "Locally collected, not D4RL: hopper-local"
    table = published_comparisons.regret(frame, *ours)
    found = dict(zip(table.header, table.rows[0], strict=True))
    assert len(table.rows) == 1
    assert table.disclaimer == ""
    assert found["samg: ours"] == "0.250 (0.000)"
    assert (found["samg: paper"], found["vanilla: CORL"]) == ("0.063", "0.070 (0.004)")
    assert (
        published_comparisons.regret(frame, ours[0][ours[0]["regret"] < 0], ours[1])
        is None
    )


def test_compute_by_hand():
    rows = [
        made_suite.rows(variant="no_data", seed=0, wall_time=20.0),
        made_suite.rows(variant="no_data", seed=1, wall_time=30.0),
        made_suite.rows(variant="samg", seed=0, wall_time=25.0),
        made_suite.rows(variant="samg", seed=1, wall_time=40.0),
        made_suite.rows(variant="samg", seed=2, wall_time=90.0),  # Has no partner.
        made_suite.rows(
            variant="offline", phase="offline", wall_time=10.0, scores=[1.0] * 6
        ),
    ]
    frame = tidy_table.check(pd.concat(rows), "made")
    table = computing.table(frame)
    found = dict(zip(table.header, table.rows[0], strict=True))
    # A thousand steps apart: 5,000 in the 10 s of the whole job.
    assert found["time, s"] == "10"
    assert found["updates/s or steps/s"] == "500"
    costs = computing.costs(frame).set_index(["phase", "variant"])
    assert costs.loc[("online", "no_data"), "per_second"] == (100 + 2000 / 30) / 2
    assert costs.loc[("offline", ""), "per_second"] == 500
    assert (costs["memory"] == 800).all()
