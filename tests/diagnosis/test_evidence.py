"""The diagnosis of a small checkpoint, from the program's flags to its pictures."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from matplotlib import colors
from matplotlib.patches import Patch

import samg_jax
from samg_jax import checks, compilation, provenance
from samg_jax.diagnosis import candidates, diagnosis_plots, evidence, judged_pairs
from samg_jax.experiment import datasets, resolve
from samg_jax.guidance import nearest, weights
from samg_jax.runs import lifecycle
from samg_jax.training import offline_phase, seed_axis
from tests.fixtures import small_disks, small_experiments

ROOT = pathlib.Path(samg_jax.__file__).parents[1]
ONLY_WEIGHT = {"offline.updates": 0, "online.steps": 0, "guidance.cvae.steps": 300}
LABELS = {"checkpoint, tail", "wide, window", "wide, tail"}


def make_checkpoint(name, dataset, workdir, **overrides):
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    config = small_experiments.config(name, dataset, {**ONLY_WEIGHT, **overrides})
    lifecycle.run(config, workdir)
    return str(workdir)


@pytest.fixture(scope="module")
def checkpoint(dataset, tmp_path_factory):
    return make_checkpoint("awac_samg", dataset, tmp_path_factory.mktemp("d") / "run")


@pytest.fixture(scope="module")
def vanilla(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("v") / "run"
    overrides = {"offline.updates": 0, "online.steps": 0}
    lifecycle.run(small_experiments.config("awac", dataset, overrides), folder)
    return str(folder)


@pytest.fixture(scope="module")
def program(checkpoint, tmp_path_factory):
    """What the program printed, and its folder."""
    out = tmp_path_factory.mktemp("out")
    command = [
        *(sys.executable, "-m", "samg_jax.diagnose"),
        *(f"--checkpoint={checkpoint}", f"--out={out}", "--kinds=tail", "--steps=20"),
        "--settings=wide:cvae.latent_size=8,kind=window",
        "--rows=60",
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout, out


def test_the_report_holds_everything_for_every_seed(program):
    report = json.loads((program[1] / "diagnosis.json").read_text())
    assert set(report["weights"]) == LABELS
    assert report["held_out"] == "episodes"
    assert report["seeds"] == [0, 1]
    assert "random, " in report["dataset"] or "random (" in report["dataset"]
    sets = {"uniform actions", "random policy"}
    sets |= {f"noise {level:g}" for level in judged_pairs.NOISE_LEVELS}
    for name, found in [*report["weights"].items(), ("", report["yardstick"])]:
        count = 2 if name else 1
        assert set(found["auroc"]) == sets
        for values in found["auroc"].values():
            assert len(values) == count
            assert all(0 <= value <= 1 for value in values)
        assert np.shape(found["p_by_noise"]) == (
            1 + len(judged_pairs.NOISE_LEVELS),
            count,
        )
        assert set(found["share_zeroed"]) == sets | {"held-out"}
        assert set(found["histograms"]) == sets | {"held-out"}
        if name:
            assert len(found["kl"]) == len(found["collapsed"]) == 2
            assert found["settings"]["cvae"]["holdout"] == 0.05
    assert report["weights"]["wide, window"]["settings"]["cvae"]["latent_size"] == 8
    assert report["weights"]["wide, tail"]["settings"]["cvae"]["steps"] == 20
    assert report["matmul_precision"] == "float32"
    # The same names as every other report has.
    assert set(report["machine"]) == {*provenance.describe(), "scikit-learn"}
    table = (program[1] / "diagnosis.md").read_text()
    assert report["machine"]["processor"] in table
    assert f"; load {report['load_average']:.2f}\n" in table


def test_the_program_prints_the_table_it_writes_and_draws(program):
    printed, out = program
    table = (out / "diagnosis.md").read_text()
    assert table.strip() in printed
    labels = {line.split(" | ")[0].strip("| ") for line in table.splitlines()}
    assert labels >= LABELS
    assert "python -m samg_jax.diagnose" in table
    for name in ("histograms.png", "noise.png", "zeroed.png"):
        assert str(out / name) in printed
        assert (out / name).stat().st_size > 20_000


def test_a_report_that_finds_no_room_is_printed_and_the_old_one_stays(
    program, tmp_path, capsys
):
    report = json.loads((program[1] / "diagnosis.json").read_text())
    (tmp_path / "diagnosis.json").write_text("old")
    full = pytest.raises(checks.UserError, match=r"Cannot write into .*File too large")
    with full, small_disks.limited(4):
        evidence.keep(report, tmp_path)
    assert (program[1] / "diagnosis.md").read_text() in capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    assert path.read_text() == "old"


def test_products_have_the_precision_of_the_checkpoint(
    checkpoint, tmp_path, monkeypatch
):
    read, seen = candidates.read, []
    judge = evidence.judge

    def of_another_precision(workdir):
        found = read(workdir)
        changed = dataclasses.replace(
            found.experiment.settings, matmul_precision="bfloat16"
        )
        experiment = dataclasses.replace(found.experiment, settings=changed)
        return dataclasses.replace(found, experiment=experiment)

    def watched(*args):
        seen.append(jax.config.jax_default_matmul_precision)
        return judge(*args)

    monkeypatch.setattr(candidates, "read", of_another_precision)
    monkeypatch.setattr(evidence, "judge", watched)
    out = str(tmp_path)
    request = evidence.Request(
        checkpoint, out, kinds=("tail",), rows=60, command="the command"
    )
    report = evidence.run(request)
    assert seen == [compilation.PRECISIONS["bfloat16"]]
    assert report["matmul_precision"] == "bfloat16"


@pytest.fixture
def pictures(program, tmp_path, figures):
    """The report, and the figures that are drawn of it, by the names of the files."""
    report = json.loads((program[1] / "diagnosis.json").read_text())
    paths = diagnosis_plots.draw(report, tmp_path)
    return report, {path.stem: one for path, one in zip(paths, figures, strict=True)}


def test_every_axis_of_the_pictures_is_labeled_with_its_unit(pictures):
    report, figures = pictures
    labels = {
        name: {(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes}
        for name, figure in figures.items()
    }
    noise = "std of the Gaussian noise, of actions in [-1, 1]"
    assert labels == {
        "histograms": {("p_int, before the cut", "share of pairs, % per bin")},
        "noise": {(noise, "mean p_int"), (noise, "AUROC, held-out against noisy")},
        "zeroed": {("threshold on p_int", "share of pairs with p = 0, %")},
    }
    titles = ["checkpoint, tail", "wide, window", "nearest neighbors"]
    for name, figure in figures.items():
        assert figure.get_suptitle() == report["dataset"]
        if name != "noise":
            assert [axis.get_title() for axis in figure.axes] == titles


def test_the_legend_of_a_picture_explains_every_line_of_every_panel(pictures):
    report, figures = pictures
    sets = ["held-out", "uniform actions", "noise 0.3", report["other"]]
    weights = ["checkpoint, tail", "wide, window", "nearest neighbors"]
    expected = {
        "histograms": [sets] * 3,
        "noise": [weights, [*weights, "chance"]],
        "zeroed": [[name for name in sets if name != "noise 0.3"]] * 3,
    }
    for name, figure in figures.items():
        (legend,) = figure.legends
        texts = [text.get_text() for text in legend.get_texts()]
        explained = dict(zip(texts, map(look, legend.legend_handles), strict=True))
        assert len(explained) == len(texts) == len(set(explained.values()))
        for axis, labels in zip(figure.axes, expected[name], strict=True):
            assert axis.get_legend() is None
            drawn = [*axis.lines, *axis.patches]
            assert [artist.get_label() for artist in drawn] == labels
            for artist in drawn:
                assert look(artist) == explained[artist.get_label()]
        assert set(texts) == {label for panel in expected[name] for label in panel}


def look(artist):
    """Returns color and dashes of a line, or of the outline of a histogram."""
    color = artist.get_edgecolor if isinstance(artist, Patch) else artist.get_color
    dashes = artist.get_linestyle()
    return colors.to_hex(color()), "-" if dashes == "solid" else dashes


def test_pictures_show_the_numbers_of_the_report(pictures):
    report, figures = pictures
    found = report["weights"]["wide, window"]
    steps = figures["histograms"].axes[1].patches[1].get_data()
    expected = np.multiply(100, found["histograms"]["uniform actions"])
    np.testing.assert_allclose(steps.values, expected)
    assert steps.values.sum() == pytest.approx(100)
    p, scores = (axis.lines[1].get_xydata() for axis in figures["noise"].axes)
    np.testing.assert_allclose(p[:, 0], [0, *judged_pairs.NOISE_LEVELS])
    np.testing.assert_allclose(p[:, 1], np.mean(found["p_by_noise"], axis=1))
    last = np.mean(found["auroc"]["noise 1"])
    np.testing.assert_allclose(scores[-1], [1, last])
    zeroed = figures["zeroed"].axes[1].lines[2].get_xydata()
    cut = found["share_zeroed"][report["other"]]
    np.testing.assert_allclose(zeroed[:, 0], [float(text) for text in cut])
    np.testing.assert_allclose(zeroed[:, 1], [100 * np.mean(x) for x in cut.values()])


def test_p_int_is_the_weight_of_the_run_without_its_cut(checkpoint, dataset):
    read = candidates.read(checkpoint)
    config = read.experiment.guidance
    own, window = candidates.of_state("own", read.experiment, read.state, ["window"])
    data, _, _ = datasets.load(read.experiment)
    sample = judged_pairs.take(data, np.arange(30))
    for candidate in (own, window):
        p_int = candidate.p_int(sample)
        for seed in range(2):
            weight = seed_axis.select(read.state.weight, seed)
            expected = weights.cvae_probabilities(
                candidate.config,
                weight,
                config.delta,
                sample.observations,
                sample.actions,
            )
            np.testing.assert_allclose(p_int[seed], expected, rtol=1e-4, atol=1e-7)
    assert (own.p_int(sample) < config.threshold).any()  # The cut would show.
    assert own.label == "own, tail"


def test_codes_that_a_checkpoint_has_not_are_fitted_to_its_data(checkpoint):
    read = candidates.read(checkpoint)
    data, _, _ = datasets.load(read.experiment)
    split = offline_phase.held_out(read.experiment, data)
    assert not np.asarray(read.state.weight.normals.nearest.distances).any()
    state = candidates.with_codes(read.experiment, read.state, data, split)
    # The model's own fit, where its kind needs them.
    model = dataclasses.replace(read.experiment.model, codes=nearest.REFERENCES)
    columns = data.observations, data.actions, data.next_observations
    expected = model.fit(read.state.model, *columns, split.train)
    jax.tree.map(np.testing.assert_array_equal, state.weight, expected)
    own = candidates.of_state("own", read.experiment, state, ["nearest"])[1]
    known, strange = (
        own.p_int(judged_pairs.take(data, split.train)._replace(actions=actions))
        for actions in (data.actions[split.train], 9 + data.actions[split.train])
    )
    assert known.mean() > 0.3
    assert strange.mean() < known.mean()


def test_weights_without_a_model_are_judged_too(dataset, tmp_path):
    workdir = make_checkpoint("awac_samg", dataset, tmp_path, guidance__weight="random")
    read = candidates.read(workdir)
    (random,) = candidates.of_state("own", read.experiment, read.state, ["joint"])
    data, _, _ = datasets.load(read.experiment)
    sample = judged_pairs.take(data, np.arange(300))
    p_int = random.p_int(sample)
    assert p_int.shape == (2, 300)
    assert p_int.min() < 0.1 < 0.9 < p_int.max()
    assert not np.array_equal(*p_int)
    assert random.health(sample) == {}


def test_the_embedding_is_judged_beside_the_autoencoder(checkpoint, tmp_path):
    request = evidence.Request(
        checkpoint,
        str(tmp_path),
        settings=("siamese:weight=embedding,threshold_quantile=0.4",),
        steps=200,
        kinds=("tail",),
        rows=60,
    )
    report = evidence.run(request)
    assert set(report["weights"]) == {"checkpoint, tail", "siamese, embedding"}
    found = report["weights"]["siamese, embedding"]
    assert found["settings"]["embedding"]["steps"] == 200
    assert np.shape(found["share_explained"]) == (2,)
    assert "kl" not in found
    # A network that reads s' too tells a replaced action even after little training.
    assert np.mean(found["auroc"]["uniform actions"]) > 0.5
    assert "| siamese, embedding" in (tmp_path / "diagnosis.md").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_preset": "best"},
        {"kind": "window", "use_std": True, "fit": "pooled"},
        {"cvae.decoder_input": "latent_and_pair", "cvae.latent_size": 5},
        {"cvae.reconstruct": "next_state_action", "cvae.scale_targets": True},
        {"cvae.beta": 3.0, "cvae.action_weight": 2.0, "weight": "even"},
    ],
)
@pytest.mark.parametrize("name", ["paper", "best"])
def test_a_preset_is_itself_whatever_the_checkpoint_has(dataset, name, changes):
    def guidance(overrides):
        config = small_experiments.config("awac_samg", dataset, overrides)
        experiment = resolve.experiment(config)
        return experiment.record, experiment.guidance

    record, other = guidance({f"guidance.{key}": x for key, x in changes.items()})
    fields = candidates.preset_fields(name)
    found = resolve.from_fields(candidates.with_settings(record, fields, None))
    _, expected = guidance({"guidance.weight_preset": name})
    assert found.guidance == expected
    if changes != {"weight_preset": name}:
        assert other != expected
    assert found.model.cvae.latent_size == {"paper": 6, "best": 24}[name]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"presets": ("bestt",)}, "Did you mean 'best'"),
        ({"settings": ("narrow",)}, "NAME:FIELD=VALUE"),
        ({"settings": ("a:cvae.betta=1",)}, r"Did you mean 'cvae\.beta'"),
        ({"settings": ("a:cvae.beta=-1",)}, "beta is -1"),
        ({"settings": ("a:cvae.hidden_dim=1000000000",)}, "'a': .* GB of memory"),
        ({"settings": ("a:cvae.latent_size=1000000000000",)}, r"'a': .* 2\*\*31"),
        ({"settings": ("a:cvae.batch_size=2000000000",)}, "cvae.batch_size 2000000000"),
        (
            {"settings": ("e:weight=embedding,embedding.hidden_dim=900000000",)},
            "Lower config.guidance.embedding.hidden_dim",
        ),
        ({"settings": ("a:embedding.holdout=0.2",)}, "a field of settings"),
        ({"settings": ("checkpoint:kind=joint",)}, "needs a name of its own"),
        ({"kinds": ("tails",)}, "Did you mean 'tail'"),
        ({"data": "missing.hdf5"}, "No dataset file"),
        ({"other": "missing.hdf5"}, "No dataset file"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(checkpoint, tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        evidence.run(evidence.Request(checkpoint, str(tmp_path), **changes))


def test_a_checkpoint_without_a_weight_is_refused(vanilla, tmp_path):
    with pytest.raises(ValueError, match=r"has no C-VAE.*with presets=paper,best"):
        evidence.run(evidence.Request(vanilla, str(tmp_path)))
    with pytest.raises(ValueError, match=r"no offline checkpoint.*Check checkpoint="):
        evidence.run(evidence.Request(str(tmp_path)))


def test_fresh_weights_need_no_weight_in_the_checkpoint(vanilla):
    read = candidates.read(vanilla)
    request = evidence.Request(vanilla, presets=("paper", "best"), steps=5_000)
    planned = dict(evidence.plan(read, request))
    assert planned["best"].guidance.kind == "nearest"
    assert planned["paper"].guidance.kind == "tail"
    for experiment in planned.values():  # The paper's for the robot, but shorter.
        settings = experiment.guidance.cvae
        assert settings.decoder_layers == 1
        assert (settings.steps, settings.kl_warmup_steps) == (5_000, 1_000)
