"""What a transformer's variant says."""

from __future__ import annotations

import pytest

from vampnet_onnx.configs.names import (
    BFLOAT16,
    FORMS,
    entry_and_form,
    variant_of,
    variant_of_file,
)


@pytest.mark.parametrize("form", ["", *FORMS, BFLOAT16])
@pytest.mark.parametrize("entry", ["", "latents"])
def test_a_variant_is_an_entry_and_a_form(entry: str, form: str) -> None:
    assert entry_and_form(variant_of(entry, form)) == (entry, form)
    file = variant_of(entry, "" if form == BFLOAT16 else form)
    assert variant_of_file(variant_of(entry, form)) == file


def test_what_is_no_form_is_an_entry() -> None:
    assert entry_and_form("int9") == ("int9", "")
    assert entry_and_form("latents.int9") == ("latents.int9", "")
    assert variant_of("latents", "int8") == "latents.int8"
