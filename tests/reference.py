"""The formulas of the algorithms again, in plain Python and NumPy, in float64.

Loops, `if` and floats on purpose: nothing is shared with the code under test.
Parameters of networks are those of `samg_jax.networks`, one member of an ensemble at a
time. The guidance has its own file beside this one.
"""

import math

import numpy as np


def td_targets(rewards, masks, next_values, discount):
    rows = zip(rewards, masks, next_values, strict=True)
    return [float(r) + (discount * float(v) if m else 0.0) for r, m, v in rows]


def td_loss(q, targets):
    total = 0.0
    for member in q:
        errors = [float(x) - float(y) for x, y in zip(member, targets, strict=True)]
        total += sum(error**2 for error in errors) / len(errors)
    return total


def exponential_weights(advantages, inverse_temperature, max_weight):
    weights = []
    for advantage in advantages:
        exponent = inverse_temperature * float(advantage)
        saturated = exponent >= math.log(max_weight)
        weights.append(max_weight if saturated else math.exp(exponent))
    return weights


def weighted_regression_loss(log_probs, weights):
    rows = list(zip(log_probs, weights, strict=True))
    return -sum(float(w) * float(log_prob) for log_prob, w in rows) / len(rows)


def expectile_loss(values, targets, expectile):
    total = 0.0
    for value, target in zip(values, targets, strict=True):
        weight = expectile if float(target) > float(value) else 1.0 - expectile
        total += weight * (float(target) - float(value)) ** 2
    return total / len(values)


def squared_errors(predictions, targets):
    errors = []
    for row, wanted in zip(predictions, targets, strict=True):
        pairs = list(zip(row, wanted, strict=True))
        errors.append(sum((float(x) - float(y)) ** 2 for x, y in pairs) / len(pairs))
    return errors


def normalized_value_loss(q):
    return -sum(float(x) for x in q) / sum(abs(float(x)) for x in q)


def soft_actor_loss(log_probs, q, temperature):
    rows = list(zip(log_probs, q, strict=True))
    return sum(temperature * float(lp) - float(x) for lp, x in rows) / len(rows)


def temperature_loss(log_temperature, log_probs, target_entropy):
    excess = [float(log_prob) + target_entropy for log_prob in log_probs]
    return -log_temperature * sum(excess) / len(excess)


def conservative_gaps(sampled_q, data_q, log_densities, temperature, clip):
    samples, members, rows = np.shape(sampled_q)
    low, high = clip
    gaps = np.zeros((members, rows))
    for e in range(members):
        for b in range(rows):
            scores = [
                (float(sampled_q[n][e][b]) - float(log_densities[n][b])) / temperature
                for n in range(samples)
            ]
            top = max(scores)
            total = sum(math.exp(score - top) for score in scores)
            gap = temperature * (top + math.log(total)) - float(data_q[e][b])
            gaps[e, b] = min(max(gap, low), high)
    return gaps


def calibrated(q, mc_returns):
    result = np.array(q, np.float64)
    for index in np.ndindex(result.shape):
        bound = float(mc_returns[index[-1]])
        if result[index] < bound:
            result[index] = bound
    return result


def cooled_weight(weight, progress, floor):
    left = weight - weight * progress
    return left if left > floor * weight else floor * weight


def evidence_loss(errors, kl, beta):
    terms = [float(e) + beta * float(k) for e, k in zip(errors, kl, strict=True)]
    return sum(terms) / len(terms)


def gaussian_log_prob(x, mean, log_std):
    total = 0.0
    for value, center, log_scale in zip(x, mean, log_std, strict=True):
        scale = math.exp(log_scale)
        exponent = -((float(value) - float(center)) ** 2) / (2 * scale**2)
        total += exponent - math.log(scale * math.sqrt(2 * math.pi))
    return total


def tanh_gaussian(noise, mean, log_std):
    """One action from standard normal noise, and its log-density; all `[A]`."""
    u = [
        float(m) + math.exp(s) * float(e)
        for m, s, e in zip(mean, log_std, noise, strict=True)
    ]
    log_prob = gaussian_log_prob(u, mean, log_std)
    for value in u:
        # 1 - tanh^2 = 1 / cosh^2, whose logarithm is safe where tanh rounds to 1.
        log_cosh = abs(value) + math.log((1 + math.exp(-2 * abs(value))) / 2)
        log_prob += 2 * log_cosh
    return [math.tanh(value) for value in u], log_prob


def clipped_gaussian(noise, mean, log_std):
    """One clipped action from standard normal noise, `[A]`."""
    rows = zip(mean, log_std, noise, strict=True)
    return [min(max(float(m) + math.exp(s) * float(e), -1.0), 1.0) for m, s, e in rows]


def perturbed(action, noise, std, limit):
    """One action plus clipped noise, from standard normal noise, `[A]`."""
    moved = []
    for value, epsilon in zip(action, noise, strict=True):
        shift = min(max(std * float(epsilon), -limit), limit)
        moved.append(min(max(float(value) + shift, -1.0), 1.0))
    return moved


def mlp(layers, x):
    """`[I]` to `[outputs]`: layers in order, ReLU between them."""
    for index in range(len(layers)):
        layer = layers[f"Dense_{index}"]
        kernel, bias = np.float64(layer["kernel"]), np.float64(layer["bias"])
        x = [
            float(bias[o]) + sum(kernel[:, o] * np.float64(x)) for o in range(len(bias))
        ]
        if index < len(layers) - 1:
            x = [max(value, 0.0) for value in x]
    return x


def adam(gradients, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Returns the sum of the updates for a sequence of gradients of one number."""
    mean = square = moved = 0.0
    for step, gradient in enumerate(gradients, start=1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        corrected = math.sqrt(square / (1 - beta2**step))
        moved -= learning_rate * mean / (1 - beta1**step) / (corrected + epsilon)
    return moved


def soft_update(params, target, tau):
    return [
        (1 - tau) * float(old) + tau * float(new)
        for new, old in zip(params, target, strict=True)
    ]


def periodic_cosine(learning_rate, half_period, step):
    return 0.5 * learning_rate * (1 + math.cos(math.pi * step / half_period))
