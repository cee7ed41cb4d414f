#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The interval in which a mean is by 95 percent (Student's t).

Ratios on stdin, one a line: prints their geometric mean and how far the interval reaches on each
side, as a part of it. What is known of fewer than MIN values is no interval.
"""
import math
import statistics
import sys

MIN = 5


def quantile(freedom):
    """0.975 of Student's t, to a hundredth from four degrees of freedom on (Cornish-Fisher)."""
    z = 1.959964
    return (z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3))


def interval(ratios):
    """(mean, half of the width); infinite if there are too few."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = math.exp(statistics.mean(logs))
    if len(logs) < MIN:
        return mean, math.inf
    return mean, quantile(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))


if __name__ == "__main__":
    print(*interval([float(line) for line in sys.stdin]))
