"""How one array departs from another, in words: transposed, scaled by 1.01, row 3 all zero.

A claim is made only after it has been tried on the arrays themselves: bit for bit, or within
the last bits of their type.  Where none holds, the words say by how much they differ and where
most.  An axis of two is called rows and columns; of more, slices of that axis.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .metrics import relative_l2

# A product or a sum in float32 is right to half a unit of the last place; a factor that was
# itself rounded costs as much again.
_LAST_BITS = 4
# The corner that a claim is tried on before the whole: most are refused by it.
_CORNER = 16
# Where many rows are alike, only so many starting points of a roll are tried.
_ROLLS = 16
_LISTED = 4
_FEW_VALUES = 8


@np.errstate(invalid="ignore")  # a NaN may be of the signalling kind
def describe_change(
    expected: np.ndarray, found: np.ndarray, others: Mapping[str, np.ndarray] = {}
) -> str:
    """Say how an array departs from what it should be.

    Args:
        expected: of any shape and type.
        others: arrays by name that may have been taken instead; those equal to `expected`
            are left aside.

    Returns:
        Words to be read after the array's name; empty if they are equal bit for bit.
    """
    if same_bits(expected, found):
        return ""
    taken = _taken_instead(expected, found, others)
    if taken:
        return taken
    kind = _types(expected, found)
    if _same_but_for_type(expected, found):
        return kind
    expected, found = _of_one_type(_plain(expected), _plain(found))
    if expected.shape != found.shape:
        return ", ".join(filter(None, (_other_shape(expected, found), kind)))
    words = _departs(expected, found)
    return " and ".join(filter(None, (kind, words)))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether type, shape and every bit are the same; NaN is then like NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "OSU":
        return bool((a == b).all())
    return bool(np.array_equal(_bits(a), _bits(b)))


def _bits(array: np.ndarray) -> np.ndarray:
    """Return an array as unsigned integers; a complex one gets an axis more."""
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], axis=-1)
    return np.ascontiguousarray(array).reshape(array.shape).view(f"u{array.itemsize}")


def _plain(array: np.ndarray) -> np.ndarray:
    """Widen types that NumPy does not know, such as bfloat16."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _of_one_type(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give two float arrays the coarser type of the two."""
    if a.dtype.kind == b.dtype.kind == "f":
        kind = min(a.dtype, b.dtype, key=lambda dtype: dtype.itemsize)
        with np.errstate(over="ignore"):
            return a.astype(kind, copy=False), b.astype(kind, copy=False)
    return a, b


def _types(expected: np.ndarray, found: np.ndarray) -> str:
    same = expected.dtype == found.dtype
    return "" if same else f"of type {found.dtype}, expected {expected.dtype}"


def _same_but_for_type(expected: np.ndarray, found: np.ndarray) -> bool:
    if expected.dtype == found.dtype or expected.shape != found.shape:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array_equal(expected.astype(found.dtype), found)


def _taken_instead(
    expected: np.ndarray, found: np.ndarray, others: Mapping[str, np.ndarray]
) -> str:
    """Say which other array it equals; what has one value only is like many."""
    if found.size < 2 or _one_value(found):
        return ""
    for name, other in others.items():
        if other.dtype != found.dtype or other.size != found.size:
            continue
        for turned, note in ((other, ""), (other.T, ", transposed")):
            if turned.shape == found.shape and _equal(turned, found):
                if same_bits(other, expected):
                    break
                return f"equals {name}{note}"
            if other.ndim < 2:
                break
    return ""


def _one_value(array: np.ndarray) -> bool:
    first = array.reshape(-1)[:1]
    return bool((_corner(array) == first).all()) and bool((array == first).all())


def _other_shape(expected: np.ndarray, found: np.ndarray) -> str:
    shapes = f"of shape {list(found.shape)}, expected {list(expected.shape)}"
    if expected.ndim == found.ndim:
        for axes in _orders(expected.ndim):
            turned = expected.transpose(axes)
            if turned.shape == found.shape and _near(turned, found):
                return f"{_turned(axes)} ({shapes})"
    if expected.size == found.size and _near(expected.reshape(found.shape), found):
        return f"reshaped ({shapes})"
    return shapes


def _departs(expected: np.ndarray, found: np.ndarray) -> str:
    """Say how an array of the same shape departs; empty where all values are equal."""
    if expected.dtype.kind not in "fiub" or found.dtype.kind not in "fiub":
        return f"{int((expected != found).sum())} of {found.size} elements differ"
    differs = _differing(expected, found)
    count = int(np.count_nonzero(differs))
    if not count:
        zeros = expected.dtype == found.dtype
        return "differs in the signs of zeros or the bits of NaN only" if zeros else ""
    lost = _not_finite(expected, found)
    if lost:
        return lost
    if (
        found.size == 1
        or count == 1
        or (found.size <= _FEW_VALUES and found.dtype.kind != "f")
    ):
        return _values(expected, found, differs, count)
    whole = _whole(expected, found)
    if whole:
        return whole
    axis, inside = _narrowest(differs)
    if 2 * len(inside) > found.shape[axis]:
        return _by_how_much(expected, found, differs, count)
    parts = [np.take(array, inside, axis) for array in (expected, found)]
    if len(inside) == 1:
        parts = [part.squeeze(axis) for part in parts]
    where = _where(axis, inside, found.ndim, found.shape[axis])
    copied = _copied(expected, parts[1], axis) if len(inside) == 1 else ""
    return f"{where} {copied or _departs(*parts)}"


def _differing(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    differs: np.ndarray = expected != found
    if expected.dtype.kind == found.dtype.kind == "f":
        differs &= ~(np.isnan(expected) & np.isnan(found))
    return differs


def _not_finite(expected: np.ndarray, found: np.ndarray) -> str:
    if found.dtype.kind != "f":
        return ""
    lost = ~np.isfinite(found)
    if expected.dtype.kind == "f":
        lost &= np.isfinite(expected)
    count = int(np.count_nonzero(lost))
    if not count:
        return ""
    first = tuple(int(i) for i in np.argwhere(lost)[0])
    if found.size == 1:
        return f"is {found.reshape(-1)[0]!s}, expected {expected.reshape(-1)[0]!s}"
    kinds = "NaN" if np.isnan(found[lost]).all() else "not finite"
    return f"{kinds} in {count} of {found.size} elements, the first at {list(first)}"


def _values(expected: np.ndarray, found: np.ndarray, differs: np.ndarray, count: int) -> str:
    """Say both values of a scalar, of one element, or of a few whole numbers."""
    if found.size == 1:
        value, wanted = found.reshape(-1)[0], expected.reshape(-1)[0]
        return f"is {value!s}, expected {wanted!s}"
    if count == 1:
        at = tuple(int(i) for i in np.argwhere(differs)[0])
        place = f"element {at[0] if len(at) == 1 else list(at)}"
        ratio = _ratio(expected[at], found[at])
        return f"{place} is {found[at]!s}, expected {expected[at]!s}{ratio}"
    return f"is {found.tolist()}, expected {expected.tolist()}"


def _ratio(expected: np.generic, found: np.generic) -> str:
    """Say the sign or the share by which one number is off, where that tells more."""
    if expected.dtype.kind != "f" or not expected or not np.isfinite(found):
        return ""
    share = float(found) / float(expected) - 1
    if share == -2:
        return " (sign flipped)"
    return f" (off by {_percent(abs(share))})" if 0 < abs(share) <= 0.5 else ""


def _whole(expected: np.ndarray, found: np.ndarray) -> str:
    """Say what was done to all of an array; empty where nothing fits."""
    if not found.any():
        return "all zero"
    if _near(expected, found):
        share = relative_l2(expected, found)
        return f"differs in the last bits only (relative L2 {share:.1e})"
    return (
        _moved(expected, found)
        or _rounded(expected, found)
        or _scaled(expected, found)
        or _shifted(expected, found)
        or _scaled_by_axis(expected, found)
    )


def _moved(expected: np.ndarray, found: np.ndarray) -> str:
    """Say how the same values stand at other places."""
    for axes in _orders(expected.ndim):
        turned = expected.transpose(axes)
        if turned.shape == found.shape and _near(turned, found):
            return _turned(axes)
    for axis in range(found.ndim):
        if found.shape[axis] < 2:
            continue
        name, rows = _names(axis, found.ndim), np.moveaxis(expected, axis, 0)
        made = np.moveaxis(found, axis, 0)
        words = _rolled(rows, made) or _permuted(rows, made)
        if words:
            return f"{name} {words}"
    if found.ndim > 1 and _near(np.flip(expected), found):
        return "reversed along every axis"
    return ""


def _rolled(rows: np.ndarray, made: np.ndarray) -> str:
    """Say how rows were rolled, reversed or swapped."""
    count = len(rows)
    swapped = _pair(rows, made)
    if swapped:
        return swapped
    if _near(rows[::-1], made):
        return "reversed"
    first = _like(rows, made[0])
    # The row that stands first came from `at`: all moved by that towards the start.
    steps = sorted((-int(at) % count for at in first if at), key=lambda k: min(k, count - k))
    for step in steps[:_ROLLS]:
        if _near(rows[-step:], made[:step]) and _near(rows[:-step], made[step:]):
            return f"rolled by {step if 2 * step <= count else step - count}"
    return ""


def _pair(rows: np.ndarray, made: np.ndarray) -> str:
    """Say which two rows have changed places, if that is all."""
    differs = _differing(rows, made).reshape(len(rows), -1).any(axis=1)
    changed = np.flatnonzero(differs)
    if len(changed) != 2:
        return ""
    one, two = changed
    same = np.array_equal(rows[one], made[two]) and np.array_equal(rows[two], made[one])
    return f"{one} and {two} swapped" if same else ""


def _permuted(rows: np.ndarray, made: np.ndarray) -> str:
    """Say that rows stand in another order, bit for bit."""
    firsts = [np.sort(side.reshape(len(rows), -1)[:, 0]) for side in (rows, made)]
    if not np.array_equal(firsts[0], firsts[1]):
        return ""
    before, after = ([row.tobytes() for row in side] for side in (rows, made))
    if sorted(before) != sorted(after):
        return ""
    moved = sum(a != b for a, b in zip(before, after, strict=True))
    return f"in another order ({moved} of {len(rows)} moved)"


def _rounded(expected: np.ndarray, found: np.ndarray) -> str:
    if expected.dtype.kind != "f":
        return ""
    for name, rounded in (
        ("float32", _to_single),
        ("float16", _to_half),
        ("bfloat16", _to_bfloat16),
        ("bfloat16, cut off", _cut_off),
    ):
        if np.array_equal(rounded(_corner(expected)), _corner(found)):
            made = rounded(expected)
            if not np.array_equal(made, expected) and np.array_equal(made, found):
                return f"rounded to {name}"
    return ""


def _to_single(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float32).astype(array.dtype)


def _to_half(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(array.dtype)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Round to the upper half of a float32, to even where it is in the middle."""
    bits = array.astype(np.float32).view(np.uint32)
    bits = bits + (0x7FFF + (bits >> 16 & 1)).astype(np.uint32)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32).astype(array.dtype)


def _cut_off(array: np.ndarray) -> np.ndarray:
    bits = array.astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32).astype(array.dtype)


def _scaled(expected: np.ndarray, found: np.ndarray) -> str:
    factor = _factor(expected, found)
    if factor is None or not _near(expected.astype(np.float64) * factor, found):
        return ""
    return "sign flipped" if abs(factor + 1) < 1e-6 else f"scaled by {factor:.7g}"


def _factor(expected: np.ndarray, found: np.ndarray) -> float | None:
    """Return what to scale by, from the largest elements; None where there are none."""
    at = int(np.argmax(np.abs(expected)))
    largest = float(expected.reshape(-1)[at])
    return float(found.reshape(-1)[at]) / largest if largest and np.isfinite(largest) else None


def _shifted(expected: np.ndarray, found: np.ndarray) -> str:
    at = int(np.argmin(np.abs(expected)))
    step = float(found.reshape(-1)[at]) - float(expected.reshape(-1)[at])
    if not np.isfinite(step):
        return ""
    made = expected.astype(np.float64) + step
    if not _near(made, found, scale=np.abs(expected).astype(np.float64) + abs(step)):
        return ""
    return f"shifted by {step:.7g}"


def _scaled_by_axis(expected: np.ndarray, found: np.ndarray) -> str:
    """Say that every row, or column, has a factor of its own."""
    if found.ndim < 2 or expected.dtype.kind != "f":
        return ""
    for axis in range(found.ndim):
        if found.shape[axis] < 2 or found.size // found.shape[axis] < 3:
            continue
        rows = np.moveaxis(expected, axis, 0).reshape(found.shape[axis], -1)
        made = np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1)
        at = np.abs(rows).argmax(axis=1)[:, None]
        largest = np.take_along_axis(rows, at, 1).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = np.take_along_axis(made, at, 1) / largest
        factors = np.where(largest == 0, 1.0, factors)
        few = 2 * np.count_nonzero(factors != 1) <= len(factors)  # which are named one by one
        if not few and _near(rows.astype(np.float64) * factors, made):
            low, high = float(factors.min()), float(factors.max())
            names = _names(axis, found.ndim)
            return f"{names} scaled by factors of their own, {low:.4g} to {high:.4g}"
    return ""


def _copied(expected: np.ndarray, part: np.ndarray, axis: int) -> str:
    """Say which other row a row is a copy of."""
    if part.ndim == 0 or part.size < 2 or _one_value(part):
        return ""
    like = _like(np.moveaxis(expected, axis, 0), part, exact=True)
    return f"is a copy of {_name(axis, expected.ndim, int(like[0]))}" if len(like) else ""


def _like(rows: np.ndarray, row: np.ndarray, *, exact: bool = False) -> np.ndarray:
    """Return the indices of the rows that are like one, within the last bits."""
    flat, wanted = rows.reshape(len(rows), -1), np.asarray(row).reshape(-1)
    near = np.flatnonzero(_close(flat[:, 0], wanted[:1]))
    fits = np.array_equal if exact else _near
    return np.array([i for i in near if fits(flat[i], wanted)], np.int64)


def _narrowest(differs: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the axis along which the fewest indices differ, and these."""
    found = []
    for axis in range(differs.ndim):
        others = tuple(other for other in range(differs.ndim) if other != axis)
        inside = np.flatnonzero(differs.any(axis=others))
        found.append((len(inside) / differs.shape[axis], axis, inside))
    _, axis, inside = min(found, key=lambda item: item[:2])
    return axis, inside


def _by_how_much(
    expected: np.ndarray, found: np.ndarray, differs: np.ndarray, count: int
) -> str:
    wide = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(differs, np.abs(wide[1] - wide[0]), 0.0)
        shares = error[differs] / np.abs(wide[0][differs])
    at = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    share = relative_l2(*wide)
    largest = float(shares.max())
    by = f"differs by up to {_percent(largest)}, " if largest <= 0.5 else "differs: "
    place = at[0] if len(at) == 1 else list(at)
    return (
        f"{by}relative L2 {share:.2g}, {count} of {found.size} elements, the most at {place}:"
        f" {found[at]!s}, expected {expected[at]!s}"
    )


def _near(expected: np.ndarray, found: np.ndarray, scale: np.ndarray | None = None) -> bool:
    """Return whether two arrays of one shape agree within the last bits, everywhere.

    Args:
        scale: what the last bits are those of; the larger of the two values if left out.
    """
    if expected.shape != found.shape:
        return False
    small = None if scale is None else _corner(scale)
    if not _close(_corner(expected), _corner(found), small).all():
        return False
    return bool(_close(expected, found, scale).all())


def _close(
    expected: np.ndarray, found: np.ndarray, scale: np.ndarray | None = None
) -> np.ndarray:
    same: np.ndarray = expected == found
    if found.dtype.kind != "f":
        return same
    unit = _LAST_BITS * float(np.finfo(found.dtype).eps)
    with np.errstate(invalid="ignore", over="ignore"):
        if scale is None:
            scale = np.maximum(np.abs(expected), np.abs(found))
        close: np.ndarray = np.abs(expected - found) <= unit * scale
    same |= close
    return same


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(_corner(a), _corner(b)) and np.array_equal(a, b)


def _corner(array: np.ndarray) -> np.ndarray:
    return array[tuple(slice(0, _CORNER) for _ in range(array.ndim))]


def _orders(ndim: int) -> Iterator[Sequence[int]]:
    """Yield every order of axes but their own, the last two exchanged first."""
    if ndim < 2 or ndim > 4:
        return
    last = [*range(ndim - 2), ndim - 1, ndim - 2]
    yield last
    for axes in itertools.permutations(range(ndim)):
        if list(axes) not in (last, [*range(ndim)]):
            yield axes


def _turned(axes: Sequence[int]) -> str:
    return "transposed" if len(axes) == 2 else f"transposed by {list(axes)}"


def _names(axis: int, ndim: int) -> str:
    if ndim == 1:
        return "elements"
    return ("rows", "columns")[axis] if ndim == 2 else f"slices of axis {axis}"


def _name(axis: int, ndim: int, index: int) -> str:
    if ndim == 1:
        return f"element {index}"
    if ndim == 2:
        return f"{('row', 'column')[axis]} {index}"
    return f"slice {index} of axis {axis}"


def _where(axis: int, inside: np.ndarray, ndim: int, extent: int) -> str:
    if len(inside) == 1:
        return _name(axis, ndim, int(inside[0]))
    names = _names(axis, ndim)
    if int(inside[-1] - inside[0]) == len(inside) - 1 and len(inside) > 2:
        return f"{names} {inside[0]} to {inside[-1]} (of {extent}):"
    if len(inside) <= _LISTED:
        listed = ", ".join(map(str, inside[:-1]))
        return f"{names} {listed} and {inside[-1]}:"
    return f"{len(inside)} of {extent} {names} (the first {inside[0]}):"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
