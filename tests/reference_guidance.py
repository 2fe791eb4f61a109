"""The formulas of the guidance again, in plain NumPy and SciPy, in float64."""

import math

import numpy as np
from scipy import stats


def blend(online, offline, weights):
    rows = zip(online, offline, weights, strict=True)
    return np.array(
        [(1 - float(w)) * float(x) + float(w) * float(y) for x, y, w in rows]
    )


def kl(means, stds):
    """By definition: the expected log ratio, one Gauss-Hermite sum per dimension."""
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(40)
    node_weights = node_weights / node_weights.sum()
    rows = []
    for row_means, row_stds in zip(means, stds, strict=True):
        terms = []
        for mean, std in zip(row_means, row_stds, strict=True):
            x = float(mean) + float(std) * nodes
            log_ratio = stats.norm.logpdf(x, float(mean), float(std))
            log_ratio = log_ratio - stats.norm.logpdf(x)
            terms.append(np.sum(node_weights * log_ratio))
        rows.append(np.mean(terms))
    return np.array(rows)


def dense(layer, x):
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    return x @ kernel + bias


def encode(params, observations, actions, layers):
    params = params["encoder"]["params"]
    x = np.concatenate([observations, actions], axis=1).astype(np.float64)
    for i in range(layers):
        x = np.maximum(dense(params[f"Dense_{i}"], x), 0.0)
    log_stds = np.minimum(np.maximum(dense(params["log_std"], x), -4.0), 15.0)
    return dense(params["mean"], x), np.exp(log_stds)


def decode(params, inputs, layers):
    params = params["decoder"]["params"]
    x = np.asarray(inputs, np.float64)
    for i in range(layers):
        x = np.maximum(dense(params[f"Dense_{i}"], x), 0.0)
    return dense(params["target"], x)


def negative_bound(predictions, targets, scale, means, stds, beta):
    total = 0.0
    for predicted, target, divergence in zip(
        predictions, targets, kl(means, stds), strict=True
    ):
        errors = [
            s * (p - t) ** 2 for s, p, t in zip(scale, predicted, target, strict=True)
        ]
        total += sum(errors) / len(errors) + beta * divergence
    return total / len(predictions)


def normal(values, pooled):
    values = np.asarray(values, np.float64)
    if pooled:
        size = values.shape[1]
        return np.full(size, values.mean()), np.full(size, values.std())
    return values.mean(axis=0), values.std(axis=0)


def probability(kind, values, mu, sigma, delta):
    """One row of latent values `[Z]` against per-dimension normals."""
    shares = []
    for value, m, s in zip(values, mu, sigma, strict=True):
        if kind == "tail":
            distance = abs(value - m)
            shares.append(stats.norm.cdf(m - distance, m, s) * 2)
        else:
            low, high = value - delta * s, value + delta * s
            shares.append(stats.norm.cdf(high, m, s) - stats.norm.cdf(low, m, s))
    return sum(shares) / len(shares)


def joint_probability(values, mu, covariance):
    offset = np.asarray(values, np.float64) - mu
    squared = offset @ np.linalg.inv(covariance) @ offset
    return stats.chi2.sf(squared, df=len(mu))


def cut(p_int, threshold, mode, temperature):
    cut_values = []
    for p in p_int:
        p = float(p)
        if mode == "hard":
            cut_values.append(p if p >= threshold else 0.0)
        else:
            cut_values.append(p / (1.0 + math.exp(-(p - threshold) / temperature)))
    return np.array(cut_values)
