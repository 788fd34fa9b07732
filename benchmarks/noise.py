"""What exponents pure noise gets: alpha of Gaussian matrices by the default fit.

    python benchmarks/noise.py

Prints, for each shape, the median of alpha, its 5 % and 95 % quantiles, and the share between 2 and 6.
"""

import numpy as np

from heavytail.spectra.exact import spectrum_of_stack
from heavytail.tails.power_law import fit_power_law

SHAPES = ((64, 64, 400), (128, 128, 400), (256, 256, 200), (512, 512, 100), (1024, 1024, 30), (512, 128, 400))


def alphas(n, m, repeats):
    for seed in range(repeats):
        W = np.random.default_rng([n, m, seed]).standard_normal((1, n, m))
        yield fit_power_law(spectrum_of_stack(W, "float64").evals).alpha


print("| matrix | median alpha | 5 % to 95 % | between 2 and 6 | matrices |\n|---|---|---|---|---|")
for n, m, repeats in SHAPES:
    found = np.array(list(alphas(n, m, repeats)))
    low, middle, high = np.quantile(found, [0.05, 0.5, 0.95])
    share = np.mean((found >= 2) & (found <= 6))
    print(f"| {n} x {m} | {middle:.1f} | {low:.1f} to {high:.1f} | {share:.0%} | {repeats} |")
