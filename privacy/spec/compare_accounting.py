"""Privacy accounting by another hand: the PyPI package dp-accounting.

    python3 -m venv venv && venv/bin/pip install dp-accounting==0.6.0
    venv/bin/python privacy/spec/compare_accounting.py > privacy/vectors/accounting.csv

Each line is a list of Gaussian releases, as squared L2 sensitivity and variance, a delta of
10^-exponent, and two epsilons of all of them together: by Renyi divergence at many orders, which is
what zero-concentrated accounts convert to, and by privacy loss distributions, which is exact for
Gaussian noise up to discretisation and can only be smaller. A test of the crate reads the file:
costs add up to the same, its epsilon is no larger than the first and no smaller than the second.
"""

import importlib.metadata
import math

import dp_accounting
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

# (squared sensitivity, variance) of each release
RELEASES = {
    "one query, large": [(1, 555_556)],
    "a year, large": [(1, 555_556)] * 31,
    "one query, standard": [(25, 41_667)],
    "a year, standard": [(25, 41_667)] * 33,
    "one query, trial": [(25, 2_500)],
    "a year, trial": [(25, 2_500)] * 30,
    "two columns, other bounds": [(12_500, 1_250_000), (6_250_000_000_000, 3_125_000_000_000_000)],
    "many small and one large": [(2, 1_000)] * 12 + [(9, 90)],
}
EXPONENTS = [5, 6, 9]
ORDERS = [1 + math.exp(x / 100) for x in range(-600, 1400)]


def epsilons(releases, delta):
    multipliers = [math.sqrt(variance / squared) for squared, variance in releases]
    found = []
    for accountant in (RdpAccountant(orders=ORDERS), PLDAccountant()):
        for multiplier in multipliers:
            accountant.compose(dp_accounting.GaussianDpEvent(multiplier))
        found.append(accountant.get_epsilon(delta))
    return found


print("# name; squared sensitivity/variance, ...; delta exponent; epsilon by Renyi orders; by privacy loss")
print(f"# dp-accounting {importlib.metadata.version('dp-accounting')}")
for name, releases in RELEASES.items():
    parts = " ".join(f"{squared}/{variance}" for squared, variance in releases)
    for exponent in EXPONENTS:
        renyi, loss = epsilons(releases, 10.0**-exponent)
        print(f"{name}; {parts}; {exponent}; {renyi:.9f}; {loss:.9f}")
