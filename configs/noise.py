"""The noise of a seed: its numbers, which NumPy and graphs make alike.

`pipeline.steps.noise` is the definition, in NumPy; `export.components.noise` builds the same
operations into graphs.  What both are made of is here.
"""

SEEDS = 1 << 64
"""How many seeds there are."""

TOKENS = 0  # stream of the generation
MASK = 1  # stream of the mask

# Coefficients of log((1 + s) / (1 - s)) - 2s in powers of s**2, and ln 2 in two parts of which
# the first has zeros at its end.  Source: FreeBSD msun, e_log.c (Sun Microsystems, 1993).
LOG_SERIES = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
