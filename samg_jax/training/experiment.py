"""An experiment from its config to its closing table: offline, freeze + fit, online."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from tqdm import tqdm

from samg_jax.analysis import curves, statistics
from samg_jax.data import transitions
from samg_jax.envs import vector
from samg_jax.guidance import collapse
from samg_jax.training import (
    checkpoints,
    evaluation,
    forking,
    logs,
    metrics,
    offline,
    online,
    schedule,
    validation,
)
from samg_jax.training import parts as parts_lib
from samg_jax.training import seeds as seeds_lib
from samg_jax.training.parts import Parts

# Fields that may change between the runs of one workdir: they change no result.
FREE_FIELDS = (
    "logging.progress",
    "logging.tensorboard",
    "compilation_cache",
    "evaluation.threads",
)


@dataclasses.dataclass
class Run:
    """What the phases of one run share on the host.

    Attributes:
        config: resolved.
        parts: built from it.
        workdir: where everything is written.
        offline_store: checkpoints of the offline phase.
        online_store: checkpoints of the online phase.
        evaluate: plays the evaluation episodes.
        data_source: what the offline data are, in words.
        writer: set once it is known where the tables continue.
    """

    config: ml_collections.ConfigDict
    parts: Parts
    workdir: pathlib.Path
    offline_store: checkpoints.Store
    online_store: checkpoints.Store
    evaluate: Any = None
    data_source: str = ""
    writer: metrics.Writer | None = None

    def score(self, phase: str, steps: tuple[int, int], state: Any) -> str:
        """Evaluates, writes the scores down, and returns them for the bar."""
        scores = self.evaluate(state.agent, state.preprocessing)
        self.writer.evaluation(phase, steps, scores, np.asarray(state.alive))
        text = ", ".join(f"{value:.1f}" for value in best_scale(scores))
        logs.LOGGER.info("%s %s: %s", phase, steps, text)
        return text

    def bar(self, phase: str, done: int, total: int, unit: str) -> tqdm:
        """Returns the progress bar of a phase."""
        return tqdm(
            desc=phase,
            initial=done,
            total=total,
            unit=unit,
            disable=not self.config.logging.progress,
            dynamic_ncols=True,
        )


def best_scale(scores: evaluation.Scores) -> np.ndarray:
    """Returns normalised scores `[S]`, or mean returns where there is no reference."""
    if np.isnan(scores.normalized).all():
        return scores.returns.mean(axis=1)
    return scores.normalized


def run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Runs an experiment, or what is left of it, in its workdir.

    Raises:
        ValueError: before any compute is spent, where config, data, environment or
            checkpoint cannot be used.
        data.download.DownloadError: where a D4RL file is missing and cannot be had.
    """
    parts = prepare(config, workdir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(logs.to_file(workdir / "log.txt"))
        offline_store = checkpoints.Store(workdir / "offline")
        stack.callback(offline_store.close)
        online_store = checkpoints.Store(workdir / "online")
        stack.callback(online_store.close)
        this = Run(config, parts, workdir, offline_store, online_store)
        plan = plan_phases(this)
        write_config(config, workdir)  # Only now: a refused run may be corrected.
        this.evaluate = evaluation.make_evaluator(
            parts, config.evaluation.episodes, config.evaluation.threads
        )
        this.writer = metrics.Writer(
            workdir, parts.seeds, plan.table_lengths, config.logging.tensorboard
        )
        stack.callback(this.writer.close)
        pretrained = None
        if plan.online_meta is None:
            pretrained = run_offline(this, plan)
        if config.online.steps:
            run_online(this, plan, pretrained)
    report(this)


def variant(config: ml_collections.ConfigDict) -> str:
    """Returns what the experiment is called among those of its algorithm."""
    weight = config.guidance.weight
    if weight == "none":
        return "no_data" if config.online.data == "buffer" else "vanilla"
    return "samg" if weight == "cvae" else f"samg_{weight}"


def default_workdir(config: ml_collections.ConfigDict) -> str:
    """Returns a folder under `runs/` that names algorithm, variant, data and seeds."""
    dataset = config.dataset.name
    if config.dataset.path:
        dataset = pathlib.Path(config.dataset.path).stem
    last = config.seed + config.num_seeds - 1
    seeds = f"seed{config.seed}" + (f"-{last}" if config.num_seeds > 1 else "")
    name = f"{config.algorithm}_{variant(config)}"
    return str(pathlib.Path("runs", name, dataset, seeds))


def prepare(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Parts:
    """Checks config and workdir; returns the parts."""
    validation.check(config)
    parts = parts_lib.resolve(config)
    with config.unlocked():
        config.env_id = parts.task.env_id
        config.physics = parts.physics
    validation.check_folder(workdir, "--workdir=FOLDER")
    check_same_config(config, workdir)
    return parts


def check_same_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses a workdir that holds a run of another config."""
    path = workdir / "config.json"
    if path.exists():
        before = validation.flatten(json.loads(path.read_text()))
        after = validation.flatten(json.loads(json.dumps(config.to_dict())))
        different = [
            f"  {name}: {before.get(name)!r} before, {after.get(name)!r} now"
            for name in sorted(before | after)
            if before.get(name) != after.get(name) and name not in FREE_FIELDS
        ]
        if different:
            raise ValueError(
                f"The workdir {str(workdir)!r} holds a run of another config:\n"
                + "\n".join(different)
                + "\nA workdir is resumed by the same command. Give another one with "
                "--workdir=FOLDER, or the same values."
            )


def write_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `config.json`, whole or not at all."""
    path = workdir / "config.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    temporary.replace(path)


@dataclasses.dataclass
class Plan:
    """Where the run stands and what it needs, found before any compute.

    Attributes:
        offline_meta: of the checkpoint to continue from, None to begin.
        online_meta: likewise for the online phase.
        source: offline folder to fork from, None to train offline.
        dataset: on the host, None where the run does not open it.
        preprocessing: fitted to it.
        table_lengths: bytes of both tables to keep.
    """

    offline_meta: dict | None = None
    online_meta: dict | None = None
    source: pathlib.Path | None = None
    dataset: transitions.Dataset | None = None
    preprocessing: Any = None
    table_lengths: tuple[int, int] = (0, 0)


def plan_phases(this: Run) -> Plan:
    """Returns the plan; raises ValueError where something is missing."""
    config, plan = this.config, Plan()
    if this.online_store.latest() is not None:
        plan.online_meta = this.online_store.meta()
    elif this.offline_store.latest() is not None:
        plan.offline_meta = this.offline_store.meta()
    needs_data = online.needs_dataset(config.online)
    if plan.online_meta is None:
        if config.offline.restore:
            plan.source = checkpoints.find_offline(config.offline.restore)
            needs_data |= forking.needs_dataset(config, this.parts, plan.source)
        elif plan.offline_meta is not None:
            needs_data |= not plan.offline_meta["complete"]
        else:
            needs_data = True
    if needs_data:
        plan.dataset, plan.preprocessing, this.data_source = parts_lib.load_dataset(
            config, this.parts.task, logs.LOGGER.info
        )
    meta = plan.online_meta or plan.offline_meta
    if not needs_data:
        this.data_source = (meta or forking.meta(plan.source))["data_source"]
    logs.LOGGER.info("offline data: %s", this.data_source)
    if meta is not None:
        plan.table_lengths = tuple(meta["table_lengths"])
        logs.LOGGER.info("resuming %s at step %s", this.workdir, meta["step"])
    return plan


def run_offline(this: Run, plan: Plan) -> offline.State:
    """Returns the pre-trained state: trained, resumed or forked."""
    config, parts = this.config, this.parts
    if plan.source is not None:
        state, start = forking.restore(parts, plan.source, target_scale(parts, plan))
        if plan.offline_meta is not None:  # Stopped while its own C-VAE trained.
            state, _ = this.offline_store.restore(state)
            start = plan.offline_meta["cvae_step"]
        return state if start is None else fit_guidance(this, plan, state, start)
    start = fitted = 0
    if plan.dataset is None:
        state = forking.template(parts)
    else:
        state = offline.init(parts, plan.preprocessing, target_scale(parts, plan))
    if plan.offline_meta is not None:
        state, _ = this.offline_store.restore(state)
        start, fitted = (
            plan.offline_meta["offline_step"],
            plan.offline_meta["cvae_step"],
        )
        if plan.offline_meta["complete"]:
            return state
    dataset = jax.device_put(plan.dataset)
    state = train_offline(this, state, dataset, start)
    if parts.cvae is None:
        save_offline(this, state, config.offline.updates, 0, complete=True)
        return state
    return fit_guidance(this, plan, state, fitted)


def target_scale(parts: Parts, plan: Plan) -> Any:
    """Returns the scale of the C-VAE's targets, None where no C-VAE is trained."""
    if parts.cvae is None or plan.dataset is None:
        return None
    return parts.cvae.measure_target_scale(
        plan.dataset.actions, plan.dataset.next_observations
    )


def train_offline(this: Run, state, dataset, start: int) -> offline.State:
    """Returns the state after the rest of the pre-training."""
    phase, total = this.config.offline, this.config.offline.updates
    updates = offline.make_updates(this.parts, phase.batch_size)
    with this.bar("offline", start, total, "update") as bar:
        for begin, end in schedule.segments(start, total, schedule.periods(phase)):
            began = time.perf_counter()
            state, values = updates(state, dataset, begin, length=end - begin)
            if schedule.due(end, phase.log_every, total):
                values = jax.device_get(values)
                this.writer.training("offline", (end, 0), values)
                rate = (end - begin) / (time.perf_counter() - began)
                this.writer.rate("offline", (end, 0), rate)
                report_failures(this.parts, state, "update")
            if schedule.due(end, phase.eval_every, total):
                bar.set_postfix_str("score " + this.score("offline", (end, 0), state))
            if schedule.due(end, phase.checkpoint_every, total):
                save_offline(this, state, end, 0)
            bar.update(end - begin)
    return state


def fit_guidance(this: Run, plan: Plan, state, start: int) -> offline.State:
    """Returns the state with a trained C-VAE and its fitted normals."""
    config, parts = this.config, this.parts
    settings = parts.guidance.cvae
    trained = 0 if plan.source else config.offline.updates
    dataset = jax.device_put(plan.dataset)
    rows, _ = offline.held_out(parts, len(dataset.rewards))
    updates = offline.make_cvae_updates(parts)
    with this.bar("C-VAE", start, settings.steps, "update") as bar:
        for begin, end in schedule.segments(
            start, settings.steps, schedule.periods(config.offline)
        ):
            state, values = updates(state, dataset, rows, begin, length=end - begin)
            if schedule.due(end, config.offline.log_every, settings.steps):
                values = jax.device_get(values)
                steps = (trained + end, 0)
                this.writer.training("cvae", steps, values)
                bar.set_postfix_str(f"KL {np.mean(values['kl']):.3f}")
                report_failures(parts, state, "C-VAE update")
            last = end == settings.steps
            if not last and schedule.due(end, config.offline.checkpoint_every, -1):
                save_offline(this, state, trained, end)
            bar.update(end - begin)
    state, findings = offline.fit_weight(parts, state, plan.dataset)
    report_health(this, findings, trained + settings.steps)
    if not plan.source:
        save_offline(this, state, trained, settings.steps, True, findings)
    return state


def report_health(this: Run, findings: dict[str, np.ndarray], step: int) -> None:
    """Writes the examination of the C-VAE down; warns of a collapse, loudly."""
    this.writer.training("fit", (step, 0), findings)
    for index, seed in enumerate(this.parts.seeds):
        finding = {name: float(value[index]) for name, value in findings.items()}
        logs.LOGGER.info(
            "C-VAE of seed %d on held-out data: KL %.3f (the paper aims at about "
            "0.03), std of the latent means %.3f, p_int median %.3f, share active %.2f",
            seed,
            finding["kl"],
            finding["mean_std"],
            finding["p_int_q50"],
            finding["share_active"],
        )
        if finding["collapsed"]:
            text = collapse.message(finding, this.parts.guidance.cvae)
            logs.LOGGER.warning("%s\nSeed %d: %s\n%s", "!" * 72, seed, text, "!" * 72)


def save_offline(
    this: Run,
    state: offline.State,
    offline_step: int,
    cvae_step: int,
    complete: bool = False,
    findings: dict | None = None,
) -> None:
    """Saves the offline phase; the last checkpoint is what runs fork from."""
    # The last checkpoint may follow one of the same step; it needs its own number.
    step = offline_step + cvae_step + int(complete)
    meta = {
        "step": step,
        "offline_step": offline_step,
        "cvae_step": cvae_step,
        "complete": complete,
        "seeds": [int(seed) for seed in this.parts.seeds],
        "config": this.config.to_dict(),
        "observation_size": this.parts.task.observation_size,
        "action_size": this.parts.task.action_size,
        "data_source": this.data_source,
        "table_lengths": this.writer.lengths(),
        "findings": {k: v.tolist() for k, v in (findings or {}).items()},
    }
    this.offline_store.save(step, state, {"empty": np.zeros(1)}, meta)


def run_online(this: Run, plan: Plan, pretrained: offline.State | None) -> None:
    """Fine-tunes to the end, from the switch or from a checkpoint."""
    config, parts = this.config, this.parts
    env = vector.make(
        parts.task.env_id,
        len(parts.seeds),
        seeds_lib.host_seeds(parts.seeds, "training"),
        parts.physics,
        config.evaluation.threads or None,
    )
    episodes = Episodes.empty(len(parts.seeds))
    first = env.reset()
    start = 0
    if plan.online_meta is None:
        state = online.init(parts, config.online, pretrained, first)
        offline_step = config.offline.updates if plan.source is None else 0
        if plan.source is not None:
            offline_step = forking.meta(plan.source)["offline_step"]
        this.score("online", (offline_step, 0), state)
    else:
        offline_step, start = plan.online_meta["offline_step"], plan.online_meta["step"]
        like = jax.eval_shape(
            lambda empty: online.init(parts, config.online, empty, first),
            forking.template(parts),
        )
        state, host = this.online_store.restore(like)
        episodes = Episodes(host.pop("episode_sums"), host.pop("episode_counts"))
        env.set_state(host)
    if start < config.online.steps:
        dataset = None
        if online.needs_dataset(config.online):
            dataset = jax.device_put(plan.dataset)
        fine_tune(this, state, env, episodes, dataset, offline_step)
    env.close()


@dataclasses.dataclass
class Episodes:
    """Training episodes finished since the last log.

    Attributes:
        sums: `[S]` of their returns.
        counts: `[S]`.
    """

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Episodes:
        return cls(np.zeros(count), np.zeros(count))

    def add(self, step: vector.Step) -> None:
        """Counts the episodes that end in this step."""
        self.sums += np.where(step.dones, step.episode_returns, 0.0)
        self.counts += step.dones

    def take(self) -> dict[str, np.ndarray]:
        """Returns the mean return, NaN where no episode ended, and forgets."""
        with np.errstate(invalid="ignore"):
            result = {"episode_return": self.sums / self.counts}
        self.sums[:] = 0
        self.counts[:] = 0
        return result


def fine_tune(this: Run, state, env, episodes, dataset, offline_step: int) -> None:
    """Takes the remaining environment steps, each with its updates."""
    phase, total = this.config.online, this.config.online.steps
    step = online.make_step(this.parts, phase)
    diagnose = online.make_diagnostics(this.parts, phase)
    guided = this.parts.guidance.weight != "none"
    taken = int(state.count)
    with this.bar("online", taken, total, "step") as bar:
        for begin, end in schedule.segments(
            taken, total, [*schedule.periods(phase), max(phase.warmup_steps, 1)]
        ):
            began = time.perf_counter()
            for count in range(begin, end):
                outcome = env.step(np.asarray(state.actions))
                episodes.add(outcome)
                turns = phase.updates_per_step * (count >= phase.warmup_steps)
                state = step(state, online.to_feedback(outcome), dataset, turns)
            steps = (offline_step, end)
            first = guided and end == max(phase.warmup_steps, 1)
            if first or schedule.due(end, phase.log_every, total):
                values = jax.device_get(diagnose(state)) if guided else {}
                state, means = take_means(state)
                this.writer.training("online", steps, {**values, **means})
            if schedule.due(end, phase.log_every, total):
                this.writer.training("online", steps, episodes.take())
                rate = (end - begin) / (time.perf_counter() - began)
                this.writer.rate("online", steps, rate)
                report_failures(this.parts, state, "environment step")
            if schedule.due(end, phase.eval_every, total):
                bar.set_postfix_str("score " + this.score("online", steps, state))
            if schedule.due(end, phase.checkpoint_every, total):
                save_online(this, state, env, episodes, offline_step)
            bar.update(end - begin)


def take_means(state: online.State) -> tuple[online.State, dict[str, np.ndarray]]:
    """Returns the state with its sums at 0, and their means so far."""
    sums, summed = jax.device_get((state.sums, state.summed))
    zeros = jax.tree.map(jnp.zeros_like, (state.sums, state.summed))
    state = state.replace(sums=zeros[0], summed=zeros[1])
    if summed == 0:
        return state, {}
    return state, {name: value / summed for name, value in sums.items()}


def save_online(this: Run, state, env, episodes, offline_step: int) -> None:
    """Saves all that a resume needs, simulators included."""
    host = {
        **env.get_state(),
        "episode_sums": episodes.sums,
        "episode_counts": episodes.counts,
    }
    meta = {
        "step": int(state.count),
        "offline_step": offline_step,
        "data_source": this.data_source,
        "table_lengths": this.writer.lengths(),
    }
    this.online_store.save(int(state.count), state, host, meta)


def report_failures(parts: Parts, state: Any, unit: str) -> None:
    """Names the seeds that are no longer finite."""
    for index in np.flatnonzero(~np.asarray(state.alive)):
        logs.LOGGER.error(
            "Seed %d became non-finite at %s %d. It is frozen at its last finite "
            "state; the other seeds go on.",
            parts.seeds[index],
            unit,
            int(state.failed_step[index]),
        )


def report(this: Run) -> None:
    """Prints the closing table and draws the learning curves."""
    rows = curves.read(this.workdir / "metrics.csv")
    print(f"offline data: {this.data_source}; physics {this.parts.physics}")
    print(statistics.closing_table(rows, this.parts.task.ref_min is not None))
    title = f"{this.config.algorithm} {variant(this.config)}, {this.data_source}"
    picture = curves.draw(rows, this.workdir / "curve.png", title)
    print(f"learning curves: {picture}")
