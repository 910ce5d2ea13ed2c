"""Constants of the random numbers that all twins share: Philox4x32-10, and polynomials."""

from __future__ import annotations

M0, M1 = 0xD2511F53, 0xCD9E8D57  # multipliers of the two lanes
W0, W1 = 0x9E3779B9, 0xBB67AE85  # key increments: the golden ratio and sqrt(3) - 1
ROUNDS = 10
LOG2 = 0.6931471805599453
SQRT_HALF = 0.7071067811865476
# log((1 + s) / (1 - s)) / s = 2 + 2/3 s^2 + 2/5 s^4 + ..., where |s| <= (sqrt(2) - 1) /
# (sqrt(2) + 1) = 0.1716. What follows 11 terms is below 2^-52 of the sum.
LOG_TERMS = tuple(2.0 / n for n in range(21, 0, -2))
# Taylor coefficients of sin(pi t) / t and cos(pi t) in t^2, the highest power first, for
# |t| <= 1/4. The first term left out is below 2^-52 of the sum.
SIN_TERMS = (
    7.952054001475513e-07,
    -2.1915353447830217e-05,
    0.00046630280576761255,
    -0.0073704309457143504,
    0.08214588661112823,
    -0.5992645293207921,
    2.5501640398773455,
    -5.16771278004997,
    3.141592653589793,
)
COS_TERMS = (
    4.303069587032947e-06,
    -0.0001046381049248457,
    0.0019295743094039231,
    -0.02580689139001406,
    0.2353306303588932,
    -1.3352627688545895,
    4.0587121264167685,
    -4.934802200544679,
    1.0,
)
