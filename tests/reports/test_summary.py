"""The words and numbers that all renderings share."""

from __future__ import annotations

import math

import pytest

from tests.support.report_samples import forms, gate_of, matrix_report, passing_report
from vampnet_onnx.reports.pages import render_html, render_markdown
from vampnet_onnx.reports.summary import (
    describe_speed,
    format_number,
    headroom,
    headroom_factor,
    likelihood,
    of_float32,
    runtime_table,
    share_of_gate,
    tell_apart,
)


def test_the_speed_of_a_form_is_told_with_its_interval_or_not() -> None:
    plain, fast, unclear = forms().points
    assert describe_speed(plain) == "1"
    assert describe_speed(fast) == "2.6 (2.5 to 2.7)"
    assert describe_speed(unclear) == "no difference measured"
    unsure = unclear.model_copy(update={"faster_low": 1.1})
    assert describe_speed(unsure) == "unsure, 1.1 to 1.4"
    assert of_float32(forms(), fast) == "27%"


def test_the_matrix_tells_of_every_cell_what_became_of_it() -> None:
    report = matrix_report()
    (failing, (on_default, on_oldest, on_openvino)), (passing, cells) = runtime_table(report)
    assert (failing, on_default.word, on_openvino.word) == ("c2f", "not run", "skipped")
    assert on_oldest.word == "FAIL" and "the error comes from" in on_oldest.text
    assert (passing, cells[0].word) == ("codec_decoder.fp16", "PASS")
    assert cells[0].text == "22.4 dB to spare (snr)"
    assert (cells[1].word, cells[1].text) == ("not supported", "no kernel")
    assert (on_oldest.number, cells[0].number, cells[1].number) == (1, 2, 0)
    assert runtime_table(passing_report()) == []
    for text in (render_html(report), render_markdown(report)):
        assert "c2f on oldest" in text and "pip install openvino" in text


def test_the_likelihood_of_music_is_told_where_some_was_made() -> None:
    report = passing_report()
    assert likelihood(report, "coarse", "int8") == ""
    music = {"coarse_likelihood_mean": -0.0123, "coarse_likelihood_error": 0.0049}
    part = report.components[0].model_copy(update={"variant": "int8", "metrics": music})
    made = report.model_copy(update={"components": [part]})
    assert likelihood(made, "coarse", "int8") == "-0.012 ± 0.005"
    assert likelihood(made, "c2f", "int8") == likelihood(made, "coarse", "w8") == ""


@pytest.mark.parametrize("heard", [False, True])
def test_a_column_of_likelihoods_is_there_where_there_are_some(heard: bool) -> None:
    report = passing_report()
    if heard:
        music = {"likelihood_shift": 0.02}
        first, *others = report.components
        parts = [first.model_copy(update={"metrics": music}), *others]
        report = report.model_copy(update={"components": parts})
    html, markdown = render_html(report), render_markdown(report)
    assert ("Likelihood, nats a code" in html) == heard
    assert ("| other best tokens | likelihood, nats a code |" in markdown) == heard
    lines = [line for line in markdown.splitlines() if line.startswith(("| form ", "| int8 "))]
    assert {line.count("|") for line in lines} == {9 if heard else 8}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not measured"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (-0.0, "0"),
        (31.0, "31"),
        (0.0123456, "0.0123"),
        (118.43, "118"),
        (1.23456e-7, "1.23e-7"),
        (1e38, "1e38"),
        (0.99996, "1 - 4e-5"),
        (0.99999999999998, "1 - 2e-14"),
        (-0.99996, "-1 + 4e-5"),
    ],
)
def test_numbers_have_three_digits_and_never_pretend_to_be_one(
    value: float | None, text: str
) -> None:
    assert format_number(value) == text


def test_a_value_just_beyond_its_limit_does_not_look_equal_to_it() -> None:
    assert tell_apart(1.00004e-5, 1e-5) == ("1.00004e-5", "1e-5")
    assert tell_apart(1e-5, 1e-5) == ("1e-5", "1e-5")


@pytest.mark.parametrize(
    ("direction", "unit", "value", "limit", "share", "words"),
    [
        ("at most", "", 1e-6, 1e-5, 0.1, "10x to spare"),
        ("at most", "", 3e-5, 1e-5, 3.0, "3x the limit"),
        ("at most", "", 0.0, 0.0, 0.0, "exact"),
        ("at most", "", 3.0, 3.0, 1.0, "at the limit"),
        ("at most", "", 2.0, 0.0, math.inf, "beyond the limit"),
        ("at most", "", math.inf, 1.0, math.inf, "beyond the limit"),
        ("at most", "", math.nan, 1.0, math.inf, "NaN"),
        ("at most", "", None, 1.0, math.inf, "not measured"),
        ("at least", "", 0.999, 0.99, 0.1, "10x to spare"),
        ("at least", "", 1.0, 1.0, 0.0, "exact"),
        ("at least", "", 0.9, 1.0, math.inf, "beyond the limit"),
        ("at least", "", 0.5, 0.001, 0.002, "500x to spare"),
        ("at least", "", 0.0, 0.001, math.inf, "beyond the limit"),
        ("at least", "dB", 110.0, 90.0, 0.1, "20 dB to spare"),
        ("at least", "dB", 70.0, 90.0, 10.0, "20 dB beyond"),
        ("at least", "dB", math.inf, 90.0, 0.0, "exact"),
    ],
)
def test_headroom_is_the_share_of_the_limit_that_is_used(
    direction: str, unit: str, value: float | None, limit: float, share: float, words: str
) -> None:
    gate = gate_of(value, limit, direction, unit)
    assert share_of_gate(gate) == pytest.approx(share)
    assert headroom(gate) == words
    expected = None if value is None or math.isnan(value) else 1 / share if share else math.inf
    assert headroom_factor(gate) == (expected if expected is None else pytest.approx(expected))
