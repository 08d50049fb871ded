"""Go's `math` functions. Where Python raises, Go returns an infinity or NaN, and so do these."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from statistics import NormalDist

from eventrunner.rules.bessel import bessel

__all__ = [
    "BINARY",
    "UNARY",
    "float_bits",
    "float_from_bits",
    "ilogb",
    "ldexp",
    "pow10",
]

_INF, _NAN = math.inf, math.nan


def _quiet(function: Callable[[float], float], overflow: float = _INF) -> Callable[[float], float]:
    def compute(x: float) -> float:
        try:
            return float(function(x))
        except ValueError:
            return _NAN
        except OverflowError:
            return overflow

    return compute


def _cosh(x: float) -> float:
    """As Go computes it, so that it is infinite as soon as exp(x) is."""
    return _quiet(math.exp)(abs(x)) * 0.5 if abs(x) > 21 else math.cosh(x)


def _sinh(x: float) -> float:
    return math.copysign(_cosh(x), x) if abs(x) > 21 else math.sinh(x)


def _logarithm(function: Callable[[float], float], pole: float = 0.0) -> Callable[[float], float]:
    def compute(x: float) -> float:
        if x == pole:
            return -_INF
        return function(x) if x > pole or math.isnan(x) else _NAN

    return compute


def _integral(function: Callable[[float], float]) -> Callable[[float], float]:
    """Of a rounding function; keeps infinities, NaN and the sign of zero."""

    def compute(x: float) -> float:
        return math.copysign(float(function(x)), x) if math.isfinite(x) else x

    return compute


def _round(x: float) -> float:
    whole = math.floor(abs(x))
    return whole + 1 if abs(x) - whole >= 0.5 else whole


def _atanh(x: float) -> float:
    return math.copysign(_INF, x) if abs(x) == 1 else _quiet(math.atanh)(x)


def _gamma(x: float) -> float:
    if x == 0:
        return math.copysign(_INF, x)
    if x == -_INF:
        return _NAN
    return _quiet(math.gamma)(x)


def _logb(x: float) -> float:
    if x == 0:
        return -_INF
    return float(math.frexp(x)[1] - 1) if math.isfinite(x) else abs(x)


def ilogb(x: float) -> int:
    if x == 0:
        return -(1 << 31)
    return math.frexp(x)[1] - 1 if math.isfinite(x) else (1 << 31) - 1


def _erfinv(x: float) -> float:
    if math.isnan(x) or abs(x) > 1:
        return _NAN
    if abs(x) == 1:
        return math.copysign(_INF, x)
    guess = NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2) if 0 < (x + 1) / 2 < 1 else math.copysign(5.8, x)
    for _ in range(2):
        guess -= (math.erf(guess) - x) / (2 / math.sqrt(math.pi) * math.exp(-guess * guess))
    return guess


def _pow(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        return -_INF if x < 0 and y % 2 == 1 else _INF
    except ValueError:
        if x == 0:
            return math.copysign(_INF, x) if y % 2 == 1 else _INF
        return _NAN


def _dim(x: float, y: float) -> float:
    if math.isnan(x) or math.isnan(y) or (math.isinf(x) and x == y):
        return _NAN
    return max(x - y, 0.0)


def _fmod(x: float, y: float) -> float:
    try:
        return math.fmod(x, y)
    except ValueError:
        return _NAN


def _ieee_remainder(x: float, y: float) -> float:
    try:
        return math.remainder(x, y)
    except ValueError:
        return _NAN


def pow10(exponent: int) -> float:
    if exponent > 308:
        return _INF
    return float(f"1e{exponent}") if exponent >= -323 else 0.0


def ldexp(fraction: float, exponent: int) -> float:
    try:
        return math.ldexp(fraction, max(-5000, min(5000, exponent)))
    except OverflowError:
        return math.copysign(_INF, fraction)


def float_bits(x: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", x))[0])


def float_from_bits(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


UNARY: dict[str, Callable[[float], float]] = {
    "Abs": abs,
    "Acos": _quiet(math.acos),
    "Acosh": _quiet(math.acosh),
    "Asin": _quiet(math.asin),
    "Asinh": math.asinh,
    "Atan": math.atan,
    "Atanh": _atanh,
    "Cbrt": math.cbrt,
    "Ceil": _integral(math.ceil),
    "Cos": _quiet(math.cos),
    "Cosh": _cosh,
    "Erf": math.erf,
    "Erfc": math.erfc,
    "Erfcinv": lambda x: _erfinv(1 - x),
    "Erfinv": _erfinv,
    "Exp": _quiet(math.exp),
    "Exp2": _quiet(math.exp2),
    "Expm1": _quiet(math.expm1),
    "Floor": _integral(math.floor),
    "Gamma": _gamma,
    "J0": lambda x: bessel(0, x),
    "J1": lambda x: bessel(1, x),
    "Log10": _logarithm(math.log10),
    "Log1p": _logarithm(math.log1p, -1.0),
    "Log2": _logarithm(math.log2),
    "Logb": _logb,
    "MathLog": _logarithm(math.log),
    "Round": _integral(_round),
    "RoundToEven": _integral(round),
    "Sin": _quiet(math.sin),
    "Sinh": _sinh,
    "Sqrt": _quiet(math.sqrt),
    "Tan": _quiet(math.tan),
    "Tanh": math.tanh,
    "Trunc": _integral(math.trunc),
}

BINARY: dict[str, Callable[[float, float], float]] = {
    "Atan2": math.atan2,
    "Copysign": math.copysign,
    "Dim": _dim,
    "Hypot": math.hypot,
    "Mod": _fmod,
    "Pow": _pow,
    "Remainder": _ieee_remainder,
}
