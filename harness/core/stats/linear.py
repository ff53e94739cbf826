"""Least squares in pure Python, for the few unknowns the judge has: straight lines with correlated noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

MAX_RHO = 0.9  # above this correlation every trend is insignificant anyway


@dataclass(frozen=True, slots=True)
class Line:
    """slopes and errors: one per column. rho: correlation of successive residuals, bias-corrected.
    sigma: standard deviation of the residuals. free: degrees of freedom."""

    slopes: tuple[float, ...]
    errors: tuple[float, ...]
    rho: float
    sigma: float
    free: int


def solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """x of matrix·x = right by elimination with pivots; None for a singular matrix."""
    found = solve_all(matrix, [right])
    return found[0] if found else None


def solve_all(
    matrix: Sequence[Sequence[float]], rights: Sequence[Sequence[float]]
) -> list[list[float]] | None:
    """The same for several right sides, with one elimination: it costs more than all of them."""
    size = len(matrix)
    rows = [[*map(float, row), *map(float, values)] for row, *values in zip(matrix, *rights, strict=True)]
    for column in range(size):
        # Partial pivoting: dividing by the largest element keeps rounding errors small.
        pivot = max(range(column, size), key=lambda index: abs(rows[index][column]))
        if abs(rows[pivot][column]) < 1e-12:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        first = rows[column]
        for index, row in enumerate(rows):
            if index != column and row[column]:
                share = row[column] / first[column]
                rows[index] = [a - share * b for a, b in zip(row, first, strict=True)]
    return [[row[size + k] / row[index] for index, row in enumerate(rows)] for k in range(len(rights))]


def line(levels: Sequence[float], columns: Sequence[Sequence[float]], floor: float = 0.0) -> Line | None:
    """Fit levels = c + Σ slope × column with autocorrelated residuals (AR(1)).

    Ordinary least squares; the standard errors are widened by √((1+ρ)/(1−ρ)), with ρ corrected for its downward bias
    (1+4ρ)/n (Kendall 1954, Marriott and Pope 1954). floor: smallest residual deviation assumed. None when the columns
    do not differ enough, or with too few levels.
    """
    size = len(levels)
    scales = [max(map(abs, column), default=0.0) for column in columns]
    if size < len(columns) + 2 or not all(scales):
        return None
    # Columns are scaled to 1, because bytes beside counts would make the normal equations ill-conditioned.
    table = [[1.0] * size] + [[v / s for v in column] for column, s in zip(columns, scales, strict=True)]
    solved = _normal(table, table, levels)
    if solved is None:
        return None
    found, variances = solved
    rest = [
        y - math.fsum(map(mul, found, row)) for y, row in zip(levels, zip(*table, strict=True), strict=True)
    ]
    free = size - len(table)
    square = math.fsum(e * e for e in rest)
    sigma = max(floor, math.sqrt(square / free))
    # A negative correlation is not used: it would make the interval narrower than independent residuals do.
    raw = math.fsum(map(mul, rest, rest[1:])) / square if square > 0 else 0.0
    rho = min(MAX_RHO, max(0.0, raw + (1 + 4 * raw) / size))
    wide = sigma * math.sqrt((1 + rho) / (1 - rho))
    errors = [wide * math.sqrt(each) / s for each, s in zip(variances[1:], scales, strict=True)]
    return Line(tuple(c / s for c, s in zip(found[1:], scales, strict=True)), tuple(errors), rho, sigma, free)


@dataclass(frozen=True, slots=True)
class Weighted:
    """coefficients and errors: one per column, the errors for the covariance as given. dispersion: weighted
    squares of the residuals per degree of freedom, 1 where the covariance is true. free: those degrees."""

    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    dispersion: float
    free: int


def weighted(
    values: Sequence[float], columns: Sequence[Sequence[float]], covariance: Sequence[Sequence[float]]
) -> Weighted | None:
    """Generalised least squares (Aitken 1935): values = Σ coefficient × column, whose errors have this
    covariance. None if the columns are linearly dependent, or there are not more values than columns."""
    free = len(values) - len(columns)
    scales = [max(map(abs, column), default=0.0) for column in columns]
    if free < 1 or not all(scales):
        return None
    table = [[v / s for v in column] for column, s in zip(columns, scales, strict=True)]
    # Each column and the values times the inverse of the covariance, without computing that inverse.
    white = solve_all(covariance, [*table, values])
    if white is None:
        return None
    *sides, right = white
    solved = _normal(table, sides, right)
    if solved is None:
        return None
    found, variances = solved
    fitted = [
        math.fsum(c * column[i] for c, column in zip(found, table, strict=True)) for i in range(len(values))
    ]
    rest = [y - mean for y, mean in zip(values, fitted, strict=True)]
    whitened = solve(covariance, rest)
    chi = math.fsum(map(mul, rest, whitened)) if whitened else 0.0
    errors = [math.sqrt(each) / s for each, s in zip(variances, scales, strict=True)]
    return Weighted(tuple(c / s for c, s in zip(found, scales, strict=True)), tuple(errors), chi / free, free)


def _normal(
    table: Sequence[Sequence[float]], sides: Sequence[Sequence[float]], right: Sequence[float]
) -> tuple[list[float], list[float]] | None:
    """Coefficients of normal equations and, in units of the residuals', their variances; None for singular ones."""
    normal = [[math.fsum(map(mul, a, b)) for b in sides] for a in table]
    units = [[float(i == k) for i in range(len(table))] for k in range(len(table))]
    solved = solve_all(normal, [[math.fsum(map(mul, a, right)) for a in table], *units])
    if solved is None:
        return None
    found, *inverse = solved
    return found, [max(0.0, unit[k]) for k, unit in enumerate(inverse)]
