"""SAMG's theory on random processes: the mathematics, its checks and the program."""

import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from matplotlib import image

import samg_jax
from samg_jax.guidance import guided_target
from samg_jax.paper import markov, random_problems, theory
from tests.fixtures import called_programs

ROOT = pathlib.Path(samg_jax.__file__).parents[1]
SETTINGS = random_problems.Settings(processes=5, states=12, iterations=4_000)


@pytest.fixture(scope="module")
def case():
    """Returns problems and what TD(0) learned on them."""
    found = random_problems.random_problems(jax.random.key(1), SETTINGS)
    return found, random_problems.learn(found, jax.random.key(2), SETTINGS)


def check(case):
    return theory.check_all(*case, jax.random.key(3), SETTINGS)


def broken(case):
    return [one.name for one in check(case) if not one.holds]


def reference_backup(problem, q, offline):
    """Returns Eq. 4 in expectation, pair by pair, in Python floats."""
    process, values = problem.process, []
    for pair, p in enumerate(problem.p):
        total = process.rewards[pair]
        for following, probability in enumerate(process.transitions[pair]):
            mixed = (1 - p) * q[following] + p * offline[following]
            total += process.discount * probability * mixed
        values.append(total)
    return np.array(values)


# The processes.


def test_a_garnet_leads_to_few_states_under_one_policy():
    process = markov.garnet(jax.random.key(0), 7, 3, 2, 0.8)
    chain = process.transitions.reshape(21, 7, 3)
    np.testing.assert_allclose(chain.sum(axis=(1, 2)), 1, rtol=1e-12)
    states = chain.sum(axis=2)
    np.testing.assert_array_equal((states > 0).sum(axis=1), 2)
    policies = chain[states > 0] / states[states > 0][:, None]
    successors = np.nonzero(states)[1]
    for state in range(7):  # From wherever one comes, the policy is the same.
        own = policies[successors == state]
        np.testing.assert_allclose(own, np.broadcast_to(own[:1], own.shape))
    assert ((process.rewards >= 0) & (process.rewards < 1)).all()
    again = markov.garnet(jax.random.key(0), 7, 3, 2, 0.8)
    np.testing.assert_array_equal(again.transitions, process.transitions)
    other = markov.garnet(jax.random.key(1), 7, 3, 2, 0.8)
    assert not np.array_equal(other.transitions, process.transitions)


def test_true_values_are_the_discounted_rewards(case):
    for problem in case[0]:
        process, expected = problem.process, 0.0
        ahead = np.eye(len(problem.q))
        for step in range(400):
            expected += process.discount**step * ahead @ process.rewards
            ahead = ahead @ process.transitions
        np.testing.assert_allclose(problem.q, expected, rtol=1e-10)


def test_the_operator_is_eq_4_and_its_fixed_point_is_where_it_ends(case):
    for problem in case[0]:
        q = np.linspace(-1, 3, len(problem.q))
        actual = markov.backup(problem.process, q, problem.inexact, problem.p)
        expected = reference_backup(problem, q, problem.inexact)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
        trace = markov.iterate(problem.process, q, problem.inexact, problem.p, 400)
        np.testing.assert_array_equal(trace[1], actual)
        end = markov.fixed_point(problem.process, problem.inexact, problem.p)
        np.testing.assert_allclose(trace[-1], end, rtol=1e-10)


def test_after_the_cutoff_there_is_no_guidance(case):
    problem = case[0][0]
    zeros = np.zeros_like(problem.p)
    trace = markov.iterate(problem.process, zeros, problem.inexact, problem.p, 4, 2)
    for number, p in enumerate([problem.p, problem.p, zeros, zeros]):
        following = problem._replace(p=p)
        expected = reference_backup(following, trace[number], problem.inexact)
        np.testing.assert_allclose(trace[number + 1], expected, rtol=1e-12)


def test_offline_values_are_wrong_where_they_should_be(case):
    for problem in case[0]:
        guided = problem.p > 0
        assert 0 < guided.sum() < len(guided)
        assert problem.p[guided].min() >= SETTINGS.threshold
        reached = (problem.process.transitions[guided] > 0).any(axis=0)
        np.testing.assert_array_equal(problem.accurate == problem.q, reached)
        np.testing.assert_array_equal(problem.misplaced == problem.q, guided)
        assert (problem.inexact != problem.q).all()
        assert np.abs(problem.inexact - problem.q).max() <= 1


# The theorems.


def varied(p):
    """Returns weights of as many pairs that all differ, the least of them 0.2."""
    return np.random.default_rng(0).permutation(np.linspace(0.2, 0.9, len(p)))


def test_every_bound_holds_on_every_process(case):
    for index, problem in enumerate(case[0]):
        one = random_problems.Estimates(
            *(array[index : index + 1] for array in case[1])
        )
        checks = theory.check_all([problem], one, jax.random.key(index), SETTINGS)
        assert len(checks) == 16
        assert [found.name for found in checks if not found.holds] == []


def test_the_modulus_is_the_norm_of_the_operators_matrix(case):
    for problem in case[0]:
        process = problem.process
        for p in (problem.p, varied(problem.p)):
            matrix = process.discount * (1 - p)[:, None] * process.transitions
            norm = np.linalg.norm(matrix, np.inf)
            np.testing.assert_allclose(markov.modulus(process.discount, p), norm)


def test_weights_that_are_positive_everywhere_contract_faster_than_the_discount(case):
    rng = np.random.default_rng(0)
    for problem in case[0]:
        one = problem._replace(p=varied(problem.p))
        modulus = markov.modulus(problem.process.discount, one.p)
        assert modulus < 0.9 * problem.process.discount
        first, second = rng.normal(size=(2, len(one.p)))
        distances = [np.abs(first - second).max()]
        for _ in range(6):
            first, second = (
                reference_backup(one, q, one.inexact) for q in (first, second)
            )
            distances.append(np.abs(first - second).max())
        distances = np.array(distances)
        assert (distances[1:] <= modulus * distances[:-1]).all()


def test_td_ends_at_the_values_and_leaves_them_with_an_inexact_model(case):
    for index, problem in enumerate(case[0]):
        biased = markov.fixed_point(problem.process, problem.inexact, problem.p)
        first = np.abs(problem.q).max()
        plain, accurate, inexact = (array[index] for array in case[1])
        for estimates, target in [
            (plain, problem.q),
            (accurate, problem.q),
            (inexact, biased),
        ]:
            errors = np.abs(estimates - target).max(axis=1)
            # As the root of the samples: a hundredfold gives a tenth, on the whole.
            assert errors[-20:].mean() < 0.35 * errors[0]
            assert errors[-20:].mean() < 0.02 * first
        # The bias is no noise: the end is far nearer to the biased point.
        bias = np.abs(biased - problem.q).max()
        assert np.abs(inexact[-1] - biased).max() < 0.5 * bias


def test_guided_pairs_are_learnt_with_fewer_samples(case):
    found, estimates = case
    q = np.stack([problem.q for problem in found])[:, None]
    guided = np.stack([problem.p > 0 for problem in found])
    plain, accurate = (
        np.abs(values - q).mean(axis=1)[guided].mean()
        for values in (estimates.plain, estimates.accurate)
    )
    assert accurate < 0.7 * plain


# Whatever is wrong is found.


@pytest.mark.parametrize(
    ("name", "wrong", "found"),
    [
        ("modulus", lambda d, p: d * (1 - p).mean(), "contraction, random Q, p cut"),
        ("modulus", lambda d, p: d * (1 - p).mean(), "constant, p uncut"),
        ("modulus", lambda d, p: 1.01 * d * (1 - p).max(), "constant, p cut"),
        # Right but where p varies and is positive everywhere.
        ("modulus", lambda d, p: d * (1 - 2 * p.min() % 1), "constant, p uncut"),
        ("step_bounds", lambda d, p, e, o: d * (1 - p) * e, "after one step"),
        ("step_bounds", lambda d, p, e, o: d * (1 - p) * e + p * o * 0.5, "one step"),
        ("bias_bound", lambda d, p, o: d * p.mean() * o, "bias, inexact"),
        ("bias_bound", lambda d, p, o: d * p.max() * o / (1 - d), "constant p"),
    ],
)
def test_a_wrong_bound_is_broken(name, wrong, found, case, monkeypatch):
    monkeypatch.setattr(markov, name, wrong)
    names = broken(case)
    assert any(found in one for one in names), names


def test_a_target_that_blends_the_wrong_way_is_found(case, monkeypatch):
    blend = guided_target.blend
    monkeypatch.setattr(
        guided_target,
        "blend",
        lambda on, off, p: blend(on, off, 0.5 * (p == 0) + 0.5 * p),
    )
    found = case[0], random_problems.learn(case[0], jax.random.key(2), SETTINGS)
    assert "Theorem 1, TD guided, accurate Q_off" in broken(found)


@pytest.mark.parametrize(
    "rate",
    [
        lambda discount, iteration: 0.5,  # Noise stays.
        lambda discount, iteration: 0.9**iteration,  # Their sum is too small to arrive.
    ],
)
def test_rates_that_fall_too_slowly_or_too_fast_are_found(rate, case, monkeypatch):
    monkeypatch.setattr(markov, "learning_rate", rate)
    found = case[0], random_problems.learn(case[0], jax.random.key(2), SETTINGS)
    assert set(broken(found)) >= {
        "Theorem 1, TD plain: last error over first",
        "Theorem 1, TD guided, accurate Q_off",
        "TD guided, inexact Q_off, to biased point",
    }


# The program.


def run(*flags):
    """Runs `python -m samg_jax.paper.tabular`; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "samg_jax.paper.tabular", *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_the_program_prints_its_table_and_draws_its_picture(tmp_path):
    path = tmp_path / "new" / "theory.png"
    process = run("--processes=3", "--states=12", "--iterations=4000", f"--out={path}")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0].split() == ["measured", "bound"]
    assert sum(line.endswith(("holds", "attained")) for line in lines) == 16
    assert lines[-1] == f"picture: {path}"
    assert image.imread(path).shape[1] == 2025


@pytest.mark.parametrize("name", ["theory.txt", "theory", "folder.png"])
def test_a_picture_that_cannot_be_written_is_refused_before_any_work(
    name, tmp_path, monkeypatch
):
    (tmp_path / "folder.png").mkdir()
    path = tmp_path / name
    with called_programs.running("paper.tabular", out=str(path)) as program:
        # Fails if reached.
        monkeypatch.setattr(program.random_problems, "random_problems", None)
        with pytest.raises(SystemExit, match=r"error: .*\.png"):
            program.main(["tabular"])
    assert {file.name for file in tmp_path.iterdir()} == {"folder.png"}


def test_the_bound_on_the_bias_is_named_at_its_line(case, tmp_path, figures):
    with called_programs.running("paper.tabular") as program:
        program.draw(*case, SETTINGS, tmp_path / "theory.png")
    biased = figures[0].axes[2]
    (words,) = biased.texts
    assert words.get_text() == "bound on the bias that stays"
    line = biased.lines[-1]
    assert line.get_ydata()[0] == words.xy[1]
    # What is guided for ever ends below it, but not by much.
    guided = biased.lines[0].get_ydata()[-1]
    assert 0.3 * words.xy[1] < guided <= words.xy[1]


def test_every_axis_is_labeled_and_every_line_is_in_its_legend(case, tmp_path, figures):
    with called_programs.running("paper.tabular") as program:
        program.draw(*case, SETTINGS, tmp_path / "theory.png")
    (figure,) = figures
    error = r"largest error $|Q - Q^\pi|$, "
    backup = "iteration (one backup of all pairs)"
    sample = "iteration (one sample of each pair)"
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes] == [
        (backup, f"{error}pairs with p > 0"),
        (sample, f"{error}all pairs"),
        (backup, f"{error}all pairs"),
    ]
    for axis in figure.axes:
        assert axis.get_title()
        named = {
            line.get_label(): line.get_color()
            for line in axis.lines
            if line.get_linestyle() == "-"
        }
        legend = axis.get_legend()
        texts = [text.get_text() for text in legend.get_texts()]
        colors = [line.get_color() for line in legend.get_lines()]
        assert dict(zip(texts, colors, strict=True)) == named
        assert len(texts) == len(set(colors)) == 2
        # It lies inside the axes.
        window = legend.get_window_extent()
        assert axis.get_window_extent().containsx(window.x0)
        assert axis.get_window_extent().containsy(window.y0)
        assert axis.get_window_extent().containsx(window.x1)
        assert axis.get_window_extent().containsy(window.y1)


def test_a_broken_bound_is_named_in_the_table():
    lines = theory.table(
        [
            theory.Check("one", 0.5, 0.4),
            theory.Check("two", 0.4, 0.5),
            theory.Check("three", 0.4, 0.5, attained=True),
            theory.Check("four", 0.5, 0.5, attained=True),
        ]
    ).splitlines()
    verdicts = [line.split()[-1] for line in lines[1:]]
    assert verdicts == ["BROKEN", "holds", "BROKEN", "attained"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"branching": 9, "states": 8}, "branching is 9, but there are 8 states"),
        (
            {"discount": 1.0},
            r"discount is 1.0. .* between 0 and 1, both excluded",
        ),
        ({"iterations": 10}, "iterations is 10. It must be an integer of at least 200"),
        ({"threshold": 1.5}, r"threshold is 1.5. .* between 0 and 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        random_problems.Settings(**settings)


def test_a_threshold_that_guides_nothing_is_refused():
    settings = random_problems.Settings(states=2, actions=1, branching=1, threshold=1.0)
    with pytest.raises(ValueError, match="None of 2 pairs has a weight of 1 or more"):
        random_problems.random_problem(jax.random.key(0), settings)
