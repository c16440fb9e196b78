"""Fit Hubble's law to the 24 galaxies of his 1929 table with four Metropolis chains.

Model: velocity_i = intercept + slope * distance_i + noise, noise normal with one unknown sigma.
Parameters are (slope, intercept, log sigma), with vague priors on purpose, so that the data speak:

    slope      ~ Normal(0, 2000) km/s/Mpc
    intercept  ~ Normal(0, 2000) km/s
    log sigma  ~ Normal(log 200, 1.5), sigma in km/s

The script knows nothing of labrun: it prints, it writes files, it takes options.

Sources:
    Data: E. Hubble, PNAS 15, 168 (1929), table 1.
    Sampler: N. Metropolis et al., J. Chem. Phys. 21, 1087 (1953).
    Proposal scale 2.38 / sqrt(d): A. Gelman, G. Roberts, W. Gilks, Bayesian Statistics 5, 599 (1996).
    Split R-hat: A. Gelman et al., Bayesian Data Analysis, 3rd edition (2013), section 11.4.
"""

import argparse
import csv
import json
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CHAINS = 4
PARAMETERS = ("slope", "intercept", "sigma")
PRIOR_SCALE = 2000.0  # km/s/Mpc for the slope, km/s for the intercept
PRIOR_LOG_SIGMA = (math.log(200.0), 1.5)


class LeastSquares(NamedTuple):
    """The exact answer of ordinary least squares, the reference for the chains."""

    slope: float
    """km/s/Mpc."""
    intercept: float
    """km/s."""
    sigma: float
    """Residual standard deviation, km/s, with n - 2 degrees of freedom."""
    covariance: FloatArray
    """Of (slope, intercept), shape (2, 2)."""


class Chain(NamedTuple):
    """One random walk after its warm-up."""

    samples: FloatArray
    """Shape (n, 3): slope, intercept, log sigma."""
    log_posterior: FloatArray
    """Shape (n,), up to a constant."""
    acceptance: float
    """Share of accepted proposals, 0 to 1."""


def read_table(path: Path) -> tuple[FloatArray, FloatArray]:
    """Read distances (Mpc) and velocities (km/s), shape (24,) each."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    distances = np.array([float(row["distance_mpc"]) for row in rows])
    velocities = np.array([float(row["velocity_km_s"]) for row in rows])
    return distances, velocities


def fit_least_squares(distances: FloatArray, velocities: FloatArray) -> LeastSquares:
    """Solve the linear problem exactly."""
    design = np.column_stack([distances, np.ones_like(distances)])
    solution, *_ = np.linalg.lstsq(design, velocities, rcond=None)
    residuals = velocities - design @ solution
    variance = float(residuals @ residuals) / (len(velocities) - 2)
    covariance = variance * np.linalg.inv(design.T @ design)
    return LeastSquares(float(solution[0]), float(solution[1]), math.sqrt(variance), covariance)


def log_posterior(theta: FloatArray, distances: FloatArray, velocities: FloatArray) -> float:
    """Give the log posterior density up to a constant.

    Args:
        theta: slope, intercept, log sigma.
        distances: Mpc, shape (n,).
        velocities: km/s, shape (n,).
    """
    slope, intercept, log_sigma = theta
    residuals = velocities - intercept - slope * distances
    log_likelihood = -0.5 * float(residuals @ residuals) * math.exp(-2 * log_sigma) - len(velocities) * log_sigma
    log_prior = -0.5 * ((slope / PRIOR_SCALE) ** 2 + (intercept / PRIOR_SCALE) ** 2)
    log_prior -= 0.5 * ((log_sigma - PRIOR_LOG_SIGMA[0]) / PRIOR_LOG_SIGMA[1]) ** 2
    return float(log_likelihood + log_prior)


def walk(
    distances: FloatArray,
    velocities: FloatArray,
    reference: LeastSquares,
    samples: int,
    step: float,
    random: np.random.Generator,
) -> Chain:
    """Run one chain after a warm-up, thrown away, of a fifth as many steps.

    Args:
        distances: Mpc, shape (n,).
        velocities: km/s, shape (n,).
        reference: Gives the shape of the proposals and where chains begin: far out, so that R-hat means something.
        samples: Samples to keep.
        step: Factor on the proposal scale; 1 is the rule of Gelman et al.
        random: Source of all randomness of this chain.
    """
    # Proposals follow the correlation of slope and intercept, known from the linear fit. The
    # variance of log sigma for n normal residuals is about 1 / 2n.
    shape = np.zeros((3, 3))
    shape[:2, :2] = reference.covariance
    shape[2, 2] = 1 / (2 * len(velocities))
    root = np.linalg.cholesky(shape)
    scale = step * 2.38 / math.sqrt(3)

    centre = np.array([reference.slope, reference.intercept, math.log(reference.sigma)])
    theta = centre + 4 * root @ random.standard_normal(3)
    density = log_posterior(theta, distances, velocities)
    warm_up = samples // 5
    kept = np.empty((samples, 3))
    densities = np.empty(samples)
    accepted = 0
    for i in range(-warm_up, samples):
        proposal = theta + scale * root @ random.standard_normal(3)
        proposed = log_posterior(proposal, distances, velocities)
        if math.log(1.0 - random.random()) < proposed - density:
            theta, density = proposal, proposed
            accepted += i >= 0
        if i >= 0:
            kept[i] = theta
            densities[i] = density
    return Chain(kept, densities, accepted / samples)


def split_r_hat(draws: FloatArray) -> float:
    """Compare the variance between half chains with the variance within; 1 means they agree.

    Args:
        draws: One parameter, shape (chains, samples).

    Source:
        Bayesian Data Analysis, 3rd edition, equations 11.1 to 11.4.
    """
    half = draws.shape[1] // 2
    halves = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    between = half * halves.mean(axis=1).var(ddof=1)
    within = halves.var(axis=1, ddof=1).mean()
    return float(np.sqrt((half - 1) / half + between / (half * within)))


def write_chain(path: Path, chain: Chain) -> None:
    """Write one chain as CSV, sigma instead of its logarithm."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["slope", "intercept", "sigma", "log_posterior"])
        for (slope, intercept, log_sigma), density in zip(chain.samples, chain.log_posterior, strict=True):
            writer.writerow([f"{x:.6g}" for x in (slope, intercept, math.exp(log_sigma), density)])


def draw_figure(
    path: Path, distances: FloatArray, velocities: FloatArray, pooled: FloatArray, reference: LeastSquares
) -> None:
    """Draw data, posterior mean with its 95 % band, and least squares.

    Args:
        path: PNG file to write.
        distances: Mpc.
        velocities: km/s.
        pooled: Samples of all chains, shape (n, 3): slope, intercept, sigma.
        reference: Least squares.
    """
    import matplotlib as mpl  # slow to import: only when everything else worked

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    grid = np.linspace(0, 2.2, 100)
    thinned = pooled[:: max(1, len(pooled) // 2000)]
    lines = thinned[:, 1, None] + thinned[:, 0, None] * grid
    low, high = np.percentile(lines, [2.5, 97.5], axis=0)
    mean_slope, mean_intercept = pooled[:, :2].mean(axis=0)

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    axes.fill_between(grid, low, high, alpha=0.2, color="tab:blue", linewidth=0, label="95 % of the lines")
    axes.plot(grid, mean_intercept + mean_slope * grid, color="tab:blue", label=f"posterior mean, {mean_slope:.0f}")
    label = f"least squares, {reference.slope:.0f}"
    axes.plot(grid, reference.intercept + reference.slope * grid, "--", color="tab:orange", label=label)
    axes.plot(distances, velocities, "o", color="black", markersize=4, label="Hubble 1929")
    axes.set(xlabel="distance, Mpc", ylabel="velocity, km/s", title="Hubble's law, slope in km/s/Mpc", xlim=(0, 2.2))
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fit Hubble's law to his 24 galaxies of 1929.")
    parser.add_argument("--samples", type=int, default=20_000, help="kept samples of each chain (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1929, help="same seed, same chains (default %(default)s)")
    parser.add_argument("--step", type=float, default=1.0, help="factor on the proposal scale (default %(default)s)")
    options = parser.parse_args()
    if options.samples < 10:
        parser.error("--samples must be at least 10")
    if not options.step > 0:
        parser.error("--step must be positive")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    return options


def main() -> None:
    """Fit, write, report."""
    options = parse_options()
    output = Path(os.environ.get("LAB_OUTPUT_PATH", "outputs"))
    (output / "chains").mkdir(parents=True, exist_ok=True)

    distances, velocities = read_table(Path(__file__).with_name("hubble1929.csv"))
    reference = fit_least_squares(distances, velocities)
    print(f"{len(distances)} galaxies; least squares: slope {reference.slope:.2f} km/s/Mpc,", end=" ")
    print(f"intercept {reference.intercept:.2f} km/s", flush=True)

    chains: list[Chain] = []
    seeds = np.random.SeedSequence(options.seed).spawn(CHAINS)  # independent streams from one number
    for number, seed in enumerate(seeds, start=1):
        chain = walk(distances, velocities, reference, options.samples, options.step, np.random.default_rng(seed))
        write_chain(output / "chains" / f"chain-{number}.csv", chain)
        chains.append(chain)
        print(f"chain {number}/{CHAINS}: slope {chain.samples[:, 0].mean():.1f}", end=" ")
        print(f"± {chain.samples[:, 0].std():.1f}, {chain.acceptance:.0%} accepted", flush=True)

    draws = np.stack([chain.samples for chain in chains])
    draws[:, :, 2] = np.exp(draws[:, :, 2])
    pooled = draws.reshape(-1, 3)
    summary = {
        "parameters": {
            name: {
                "mean": float(pooled[:, i].mean()),
                "sd": float(pooled[:, i].std(ddof=1)),
                "r_hat": split_r_hat(draws[:, :, i]),
            }
            for i, name in enumerate(PARAMETERS)
        },
        "acceptance": [chain.acceptance for chain in chains],
        "least_squares": {"slope": reference.slope, "intercept": reference.intercept, "sigma": reference.sigma},
        "galaxies": len(distances),
        "chains": CHAINS,
        "samples": options.samples,
        "seed": options.seed,
        "step": options.step,
    }
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    draw_figure(output / "hubble.png", distances, velocities, pooled, reference)

    slope = pooled[:, 0]
    worst = max(split_r_hat(draws[:, :, i]) for i in range(3))
    print(f"posterior mean: slope {slope.mean():.1f} ± {slope.std(ddof=1):.1f} km/s/Mpc,", end=" ")
    print(f"intercept {pooled[:, 1].mean():.1f} km/s; worst R-hat {worst:.4f}")
    print(f"wrote chains/, hubble.png and summary.json to {output}")


if __name__ == "__main__":
    main()
