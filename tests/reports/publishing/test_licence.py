"""Which words name a licence."""

from __future__ import annotations

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.reports.card import Licence
from vampnet_onnx.reports.publishing.licence import read_licence


@pytest.mark.parametrize("text", ["MIT", "mit", "CC-BY-NC-4.0", "openrail++", "gpl-3.0"])
def test_what_the_hub_knows_is_written_as_the_hub_does(text: str) -> None:
    assert read_licence(text) == Licence(text.lower())


def test_what_only_spdx_knows_is_named_with_its_link() -> None:
    link = "https://spdx.org/licenses/GPL-3.0-only.html"
    assert read_licence("gpl-3.0-ONLY") == Licence("other", "GPL-3.0-only", link)


@pytest.mark.parametrize("text", ["", "mine", "other", "unknown", "none", "mit\nx: y"])
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="names no licence"):
        read_licence(text)


@pytest.mark.parametrize("text", ["[" * 5000, "MIT OR " * 900 + "MIT"])
def test_what_is_long_is_not_told_whole(text: str) -> None:
    with pytest.raises(InputError) as info:
        read_licence(text)
    assert len(str(info.value)) < 300 and "…: " in str(info.value)


def test_one_letter_too_many_is_told() -> None:
    with pytest.raises(InputError, match=r"did you mean 'apache-2\.0'"):
        read_licence("apache2.0")


@pytest.mark.parametrize("text", ["MIT OR Apache-2.0", "GPL-2.0+", "LicenseRef-mine"])
def test_what_says_more_or_less_than_one_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="one identifier"):
        read_licence(text)
