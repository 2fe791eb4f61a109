r"""Updates per second of eager PyTorch, written as CORL's scripts are.

    python launch/torch_baseline.py --algorithm=awac --threads=2

One class per algorithm, one optimizer per network, one `train(batch)` per update; the
order of the steps and the repeated observations of CQL are CORL's. Random data of a
task's shapes; nothing is logged. With `--serve` it waits for lines on its input, each a
number of seconds, and answers each with what it did: `samg_jax.benchmark` runs it so,
in turns with its own updates. Needs the extra `torch`.
"""

import copy
import json
import math
import sys
import time

import torch
from absl import app, flags
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F  # noqa: N812

ALGORITHM = flags.DEFINE_enum(
    "algorithm", None, ["awac", "iql", "td3_bc", "cql"], "What is trained."
)
OBSERVATION_SIZE = flags.DEFINE_integer("observation_size", 17, "Of a task.", 1)
ACTION_SIZE = flags.DEFINE_integer("action_size", 6, "Of a task.", 1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Rows of an update.", 1)
ROWS = flags.DEFINE_integer("rows", 200_000, "Of the random data.", 1)
THREADS = flags.DEFINE_integer("threads", 2, "Of PyTorch.", 1)
DEVICE = flags.DEFINE_string("device", "cpu", "`cpu` or `cuda`.")
SECONDS = flags.DEFINE_float("seconds", 5.0, "To measure for.", 0.0)
SERVE = flags.DEFINE_bool("serve", False, "Measure when told to, see above.")
flags.mark_flag_as_required("algorithm")

DISCOUNT, TAU, LEARNING_RATE, WIDTH = 0.99, 0.005, 3e-4, 256
CLOCK_EVERY = 5  # Updates between two looks at the clock.


def mlp(inputs: int, outputs: int, layers: int) -> nn.Sequential:
    """Returns a network with hidden layers of `WIDTH` and ReLU."""
    modules, size = [], inputs
    for _ in range(layers):
        modules.extend((nn.Linear(size, WIDTH), nn.ReLU()))
        size = WIDTH
    return nn.Sequential(*modules, nn.Linear(size, outputs))


class Critic(nn.Module):
    """Q(s, a)."""

    def __init__(self, observation_size: int, action_size: int, layers: int):
        super().__init__()
        self.net = mlp(observation_size + action_size, 1, layers)

    def forward(self, observations, actions):
        return self.net(torch.cat((observations, actions), dim=-1)).squeeze(-1)


class GaussianActor(nn.Module):
    """A Gaussian policy whose network gives mean and log-std."""

    def __init__(self, observation_size: int, action_size: int, layers: int):
        super().__init__()
        self.net = mlp(observation_size, 2 * action_size, layers)

    def forward(self, observations):
        mean, log_std = self.net(observations).chunk(2, dim=-1)
        return mean, log_std.clamp(-20.0, 2.0).exp()

    def clipped(self, observations):
        """Returns a sample, clipped to the bounds of the actions."""
        mean, std = self(observations)
        return (mean + std * torch.randn_like(mean)).clamp(-1.0, 1.0)

    def squashed(self, observations):
        """Returns a sample through tanh, and its log-density."""
        mean, std = self(observations)
        raw = mean + std * torch.randn_like(mean)
        correction = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
        log_density = (Normal(mean, std).log_prob(raw) - correction).sum(-1)
        return raw.tanh(), log_density


class ReplayBuffer:
    """The offline data as tensors on the device."""

    def __init__(self, observation_size, action_size, rows, device):
        def normal(*shape):
            return torch.randn(*shape, device=device)

        self.rows, self.device = rows, device
        self.columns = (
            normal(rows, observation_size),
            normal(rows, action_size).clamp(-1.0, 1.0),
            normal(rows),
            normal(rows, observation_size),
            torch.ones(rows, device=device),
        )

    def sample(self, batch_size: int):
        """Returns observations, actions, rewards, next observations and masks."""
        chosen = torch.randint(self.rows, (batch_size,), device=self.device)
        return [column[chosen] for column in self.columns]


class Trainer:
    """What the algorithms share: two critics, their targets, their optimizers."""

    layers = 2

    def __init__(self, observation_size: int, action_size: int, device):
        self.device, self.action_size = device, action_size
        self.critics = [
            Critic(observation_size, action_size, self.layers).to(device)
            for _ in range(2)
        ]
        self.targets = [copy.deepcopy(critic) for critic in self.critics]
        self.actor = self.make_actor(observation_size, action_size).to(device)
        self.critic_optimizers = [self.adam(critic) for critic in self.critics]
        self.actor_optimizer = self.adam(self.actor)

    def make_actor(self, observation_size, action_size) -> nn.Module:
        return GaussianActor(observation_size, action_size, self.layers)

    @staticmethod
    def adam(network: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    @staticmethod
    def lower(critics, observations, actions):
        """Returns the lesser of both critics' values."""
        first, second = (critic(observations, actions) for critic in critics)
        return torch.min(first, second)

    @staticmethod
    def step(optimizers, loss) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    def fit_critics(self, observations, actions, values) -> None:
        """Takes a step of both critics toward the same targets."""
        loss = sum(
            F.mse_loss(critic(observations, actions), values) for critic in self.critics
        )
        self.step(self.critic_optimizers, loss)

    @staticmethod
    @torch.no_grad()
    def follow(targets, networks) -> None:
        """Moves targets toward their networks."""
        for target, network in zip(targets, networks, strict=True):
            pairs = zip(target.parameters(), network.parameters(), strict=True)
            for slow, fast in pairs:
                slow.data.copy_((1.0 - TAU) * slow.data + TAU * fast.data)

    def train(self, batch) -> None:
        raise NotImplementedError


class AWAC(Trainer):
    """Advantage-weighted actor-critic."""

    layers = 3

    def train(self, batch) -> None:
        observations, actions, rewards, next_observations, masks = batch
        with torch.no_grad():
            following = self.actor.clipped(next_observations)
            bootstrap = self.lower(self.targets, next_observations, following)
            values = rewards + DISCOUNT * masks * bootstrap
        self.fit_critics(observations, actions, values)
        with torch.no_grad():
            own = self.lower(
                self.critics, observations, self.actor.clipped(observations)
            )
            advantages = self.lower(self.critics, observations, actions) - own
            weights = (advantages / 0.3333).exp().clamp(max=100.0)
        log_density = Normal(*self.actor(observations)).log_prob(actions).sum(-1)
        self.step([self.actor_optimizer], -(weights * log_density).mean())
        self.follow(self.targets, self.critics)


class IQL(Trainer):
    """Implicit Q-learning."""

    def __init__(self, observation_size, action_size, device):
        super().__init__(observation_size, action_size, device)
        self.value = mlp(observation_size, 1, self.layers).to(device)
        self.value_optimizer = self.adam(self.value)

    def train(self, batch) -> None:
        observations, actions, rewards, next_observations, masks = batch
        with torch.no_grad():
            next_values = self.value(next_observations).squeeze(-1)
            data_values = self.lower(self.targets, observations, actions)
        advantages = data_values - self.value(observations).squeeze(-1)
        asymmetry = (0.7 - (advantages < 0).float()).abs()
        self.step([self.value_optimizer], (asymmetry * advantages.square()).mean())
        self.fit_critics(
            observations, actions, rewards + DISCOUNT * masks * next_values
        )
        self.follow(self.targets, self.critics)
        weights = (3.0 * advantages.detach()).exp().clamp(max=100.0)
        mean, std = self.actor(observations)
        log_density = Normal(mean.tanh(), std).log_prob(actions).sum(-1)
        self.step([self.actor_optimizer], -(weights * log_density).mean())


class TD3BC(Trainer):
    """TD3 with behavior cloning; the policy moves at every second update."""

    def __init__(self, observation_size, action_size, device):
        super().__init__(observation_size, action_size, device)
        self.target_actor = copy.deepcopy(self.actor)
        self.updates = 0

    def make_actor(self, observation_size, action_size) -> nn.Module:
        return nn.Sequential(mlp(observation_size, action_size, self.layers), nn.Tanh())

    def train(self, batch) -> None:
        observations, actions, rewards, next_observations, masks = batch
        self.updates += 1
        with torch.no_grad():
            noise = (0.2 * torch.randn_like(actions)).clamp(-0.5, 0.5)
            following = (self.target_actor(next_observations) + noise).clamp(-1.0, 1.0)
            bootstrap = self.lower(self.targets, next_observations, following)
            values = rewards + DISCOUNT * masks * bootstrap
        self.fit_critics(observations, actions, values)
        if self.updates % 2:
            return
        policy = self.actor(observations)
        q = self.critics[0](observations, policy)
        scale = 2.5 / q.abs().mean().detach()
        loss = F.mse_loss(policy, actions) - scale * q.mean()
        self.step([self.actor_optimizer], loss)
        self.follow([self.target_actor], [self.actor])
        self.follow(self.targets, self.critics)


class CQL(Trainer):
    """Conservative Q-learning on SAC; all losses before the first step, as in CORL."""

    layers, samples, weight = 3, 10, 10.0

    def __init__(self, observation_size, action_size, device):
        super().__init__(observation_size, action_size, device)
        self.log_temperature = torch.zeros((), device=device, requires_grad=True)
        self.temperature_optimizer = torch.optim.Adam(
            [self.log_temperature], lr=LEARNING_RATE
        )

    def train(self, batch) -> None:
        observations, actions, rewards, next_observations, masks = batch
        policy, log_density = self.actor.squashed(observations)
        excess = (log_density - self.action_size).detach()
        temperature_loss = -(self.log_temperature * excess).mean()
        temperature = self.log_temperature.exp().detach()
        q = self.lower(self.critics, observations, policy)
        actor_loss = (temperature * log_density - q).mean()
        with torch.no_grad():
            following, _ = self.actor.squashed(next_observations)
            bootstrap = self.lower(self.targets, next_observations, following)
            values = rewards + DISCOUNT * masks * bootstrap
        critic_loss = self.critic_loss(observations, actions, next_observations, values)
        self.step([self.temperature_optimizer], temperature_loss)
        self.step([self.actor_optimizer], actor_loss)
        self.step(self.critic_optimizers, critic_loss)
        self.follow(self.targets, self.critics)

    def critic_loss(self, observations, actions, next_observations, values):
        repeated, next_repeated = (
            rows.unsqueeze(1).expand(-1, self.samples, -1)
            for rows in (observations, next_observations)
        )
        with torch.no_grad():
            shape = (len(actions), self.samples, self.action_size)
            uniform = 2.0 * torch.rand(shape, device=self.device) - 1.0
            current, current_density = self.actor.squashed(repeated)
            following, following_density = self.actor.squashed(next_repeated)
        proposals = (
            (uniform, -self.action_size * math.log(2.0)),
            (following, following_density),
            (current, current_density),
        )
        loss = 0.0
        for critic in self.critics:
            data = critic(observations, actions)
            scores = [critic(repeated, a) - density for a, density in proposals]
            gap = torch.logsumexp(torch.cat(scores, dim=1), dim=1) - data
            loss = loss + F.mse_loss(data, values) + self.weight * gap.mean()
        return loss


TRAINERS = {"awac": AWAC, "iql": IQL, "td3_bc": TD3BC, "cql": CQL}


def main(argv: list[str]) -> None:
    """Measures once, or whenever a line on the input says so."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(argv[1:])}")
    torch.manual_seed(0)
    torch.set_num_threads(THREADS.value)
    device = torch.device(DEVICE.value)
    sizes = OBSERVATION_SIZE.value, ACTION_SIZE.value
    buffer = ReplayBuffer(*sizes, ROWS.value, device)
    trainer = TRAINERS[ALGORITHM.value](*sizes, device)

    def measure(seconds: float) -> dict[str, float]:
        began, updates, passed = time.perf_counter(), 0, 0.0
        while updates == 0 or passed < seconds:
            for _ in range(CLOCK_EVERY):
                trainer.train(buffer.sample(BATCH_SIZE.value))
            if device.type == "cuda":
                torch.cuda.synchronize()
            updates += CLOCK_EVERY
            passed = time.perf_counter() - began
        return {"updates": updates, "seconds": passed}

    measure(0.0)  # The first updates allocate.
    if SERVE.value:
        print(json.dumps({"torch": torch.__version__}), flush=True)
        for line in sys.stdin:
            print(json.dumps(measure(float(line))), flush=True)
        return
    measured = measure(SECONDS.value)
    rate = measured["updates"] / measured["seconds"]
    print(f"{ALGORITHM.value} {rate:.1f} updates/s")


if __name__ == "__main__":
    app.run(main)
