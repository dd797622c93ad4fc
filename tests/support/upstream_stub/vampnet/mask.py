"""Stand-in for ``vampnet.mask`` on our own masks; see the README beside it."""

from __future__ import annotations

from vampnet_onnx.models.behaviour import masks
from vampnet_onnx.models.behaviour.masks import codebook_unmask, inpaint, mask_and, mask_or  # noqa: F401


def random(x, r):
    mask = masks.random(x, r)
    return mask, mask.bool()  # some versions say which codes to ignore, too


def linear_random(x, r):
    return masks.linear_random(x, r).int()


def periodic_mask(x, period, width=1, random_roll=False):
    return masks.periodic_mask(x, period, width, random_roll=random_roll)


def codebook_mask(mask, val1, val2):
    assert val2 is None
    return masks.codebook_mask(mask, val1)


def dropout(mask, p):
    return masks.dropout(mask, p)


def time_stretch_mask(x, stretch_factor):
    return masks.time_stretch_mask(x, stretch_factor)


def onset_mask(sig, z, interface, width=1):
    print("onsets at every seventh step")
    return masks.onset_mask(z, list(range(3, z.shape[-1], 7)), width)
