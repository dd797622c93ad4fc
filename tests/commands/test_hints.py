"""Every command that is printed runs as it is pasted, and meets the same numbers."""

from __future__ import annotations

import html
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command_line import Cli, Result, refused
from tests.support.edited import edited
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.reports import Report, read_report

# Around an option of a command, which no line of the page breaks.
_UNBROKEN = re.compile(r'<span class="option">|</span>')
MATRIX = """
model = "mine"
[checkpoint]
path = "{checkpoint}"
[verify]
seeds = [0]
frames = [3, 31]
batches = [1, 2]
threads = 1
"""


def paste(cli: Cli, line: str) -> Result:
    """Run a command line as a shell would read it."""
    words = shlex.split(line)
    assert words[0] == "vampnet-onnx", line
    return cli(*words[1:])


def commands_in(text: str) -> list[str]:
    """Return the command lines that a printed text names."""
    return re.findall(r"vampnet-onnx [a-z-]+ .*$", text, re.MULTILINE)


@pytest.fixture(scope="session")
def folder(exported_a: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name: a version, its checkpoints, a configuration."""
    folder = tmp_path_factory.mktemp("hints") / "my models"
    shutil.copytree(exported_a, folder / "v1")
    shutil.copytree(GOLDEN / "a", folder / "check points")
    text = MATRIX.format(checkpoint=folder / "check points")
    (folder / "my config.toml").write_text(text)
    return folder


@pytest.fixture
def plant(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a copy of the version with one constant of one component changed."""

    def planted(component: str, name: str, change: Callable[[Any], Any]) -> Path:
        target = Path(shutil.copytree(folder / "v1", tmp_path / "a b" / "v1"))
        file = f"{component}.onnx"
        edited(target / file, name, change, tmp_path).replace(target / file)
        return target

    return planted


def verified(cli: Cli, version: Path, folder: Path, *more: object) -> tuple[Report, str]:
    """Verify with a configuration; return the report and what was printed."""
    out = version.parent / "re port"
    result = cli(
        *("verify", version, "--unsealed", "--config", folder / "my config.toml"),
        *("--report", out, *more),
    )
    assert result.code == 1, result
    return read_report(out / "report.json"), result.out


def _no_mask_row(tables: np.ndarray) -> np.ndarray:
    tables = tables.copy()
    tables[0, -1] = 0
    return tables


@pytest.mark.parametrize(
    "component, constant, change",
    [
        ("codec_decoder", "quantizer.tables", _no_mask_row),
        ("audio_processor", "limit_peak/constant_0", lambda x: x * np.float32(0.9)),
        ("mask_generator", "random/constant_1", lambda x: x * np.float32(1.1)),
        ("sampler", "filter.top_k/constant_0", lambda x: x // 2),
    ],
)
def test_a_defect_of_one_setting_is_met_again_by_every_command_that_is_printed(
    cli: Cli,
    folder: Path,
    plant: Callable[..., Path],
    component: str,
    constant: str,
    change: Callable[[Any], Any],
) -> None:
    report, printed = verified(
        cli, plant(component, constant, change), folder, "--component", component
    )
    (part,) = report.components
    (worst,) = (case for case in part.cases if case.id == part.worst_case)
    lines = {*commands_in(printed), *(bad.replay for bad in part.bad_seeds)}
    assert {shlex.split(line)[1] for line in lines} == {"verify", "localise"}
    for line in lines:
        assert part.worst_case in shlex.split(line)
        if shlex.split(line)[1] == "verify":
            again, _ = pasted_report(cli, line, folder)
            assert [c.metrics for c in again.components[0].cases] == [worst.metrics]
        else:
            found = paste(cli, f"{line} --json")
            assert found.code == 1 and found.json["case"] == worst.id
            assert found.json["culprits"][0] == part.causes[0].module


def test_verify_says_by_itself_where_and_what_and_what_follows_from_it(
    cli: Cli, folder: Path, plant: Callable[..., Path]
) -> None:
    module = "transformer.layers.0.self_attn.w_vs"
    version = plant("coarse", f"{module}.weight", lambda x: x * np.float32(1.01))
    both = ("--component", "coarse", "--component", "generation")
    report, printed = verified(cli, version, folder, *both)
    coarse, generation = report.components
    (cause,) = coarse.causes
    assert (cause.module, cause.case) == (module, coarse.worst_case)
    assert cause.error == pytest.approx(0.01, rel=1e-3) and "scaled by 1.01" in cause.what
    assert cause.operator == "MatMul" and module in cause.node and not cause.stopped
    (after,) = generation.causes
    assert after.consequence_of == "coarse" and shlex.split(after.command)[1] == "verify"
    rendered = [printed] + [
        html.unescape(
            _UNBROKEN.sub("", (version.parent / "re port" / name).read_text("utf-8"))
        )
        for name in ("report.html", "report.md", "junit.xml")
    ]
    for text in rendered:
        text = text.replace("\\_", "_")
        for words in (module, cause.node, "own error 0.01", "scaled by 1.01", cause.command):
            assert words in text, words
        assert "a consequence of coarse" in text
    found = paste(cli, f"{cause.command} --json")
    assert found.json["case"] == cause.case and found.json["culprits"] == [module]


def test_causes_can_be_left_out_and_the_command_remains(
    cli: Cli, folder: Path, plant: Callable[..., Path]
) -> None:
    version = plant("codec_decoder", "decoder.model.0.bias", lambda x: x * np.float32(1.5))
    report, _ = verified(cli, version, folder, "--component", "codec_decoder", "--no-localise")
    (cause,) = report.components[0].causes
    assert not cause.module and paste(cli, cause.command).code == 1


def pasted_report(cli: Cli, line: str, folder: Path) -> tuple[Report, str]:
    """Paste a verify command and return the report it writes."""
    out = folder / "again"
    result = paste(cli, f"{line} --report {shlex.quote(str(out))}")
    assert result.code == 1, result
    return read_report(out / "report.json"), result.out


def test_a_command_holds_all_that_was_given_and_quotes_it() -> None:
    given = Given(
        Path("-my models/v1"),
        Path("it's"),
        {"coarse": Path("a b.pth")},
        config=Path("c d.toml"),
        unsealed=True,
        reference="upstream",
        upstream_python=Path("/x y/python"),
        runtime=Runtime(provider="cuda", tf32=True),
    )
    assert shlex.split(given.command("verify", "--case", "a b")) == [
        *("vampnet-onnx", "verify", "./-my models/v1", "--checkpoint", "it's"),
        *("--config", "c d.toml", "--lora", "coarse=a b.pth", "--unsealed"),
        *("--reference", "upstream", "--upstream-python", "/x y/python"),
        *("--report", "report-again", "--provider", "cuda", "--tf32", "--case", "a b"),
    ]
    assert shlex.split(given.command("localise")) == [
        *("vampnet-onnx", "localise", "./-my models/v1", "--checkpoint", "it's"),
        *("--lora", "coarse=a b.pth", "--unsealed", "--provider", "cuda", "--tf32"),
    ]


def test_a_recorded_case_is_met_again_too(
    cli: Cli, folder: Path, plant: Callable[..., Path]
) -> None:
    version = plant("codec_decoder", "decoder.model.0.bias", lambda x: x * np.float32(1.5))
    report, printed = verified(
        cli, version, folder, "--component", "codec_decoder", "--reference", "golden"
    )
    (part,) = report.components
    (worst,) = (case for case in part.cases if case.id == part.worst_case)
    measured = {case.id: case.metrics for case in part.cases}
    for line in {*commands_in(printed), *(bad.replay for bad in part.bad_seeds)}:
        assert "--reference golden" in line
        if shlex.split(line)[1] == "verify":
            again, _ = pasted_report(cli, line, folder)
            (case,) = again.components[0].cases
            assert case.metrics == measured[case.id]
        else:
            assert worst.id in line and paste(cli, line).code == 1


def test_a_case_goes_alone_and_must_be_one_of_the_component(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    case = "coarse/seed=5/batch=2/length=9"
    given = ("--checkpoint", folder / "check points")
    verify = ("verify", folder / "v1", *given, "--report", tmp_path / "r", "--case")
    refused(cli(*verify, case, "--component", "coarse"), "leave components out")
    refused(cli(*verify, case, "--seeds", "1"), "leave seeds out")
    refused(cli(*verify, "cow" + case), "no component 'cowcoarse'")
    refused(cli(*verify, case, "--reference", "golden"), "is no recorded case; there are")
    both = cli(*verify, case, "--case", "sampler/seed=1/batch=1/length=4/codebooks=2/cold")
    assert both.code == 0
    parts = read_report(tmp_path / "r" / "report.json").components
    assert [[case.id for case in part.cases] for part in parts] == [
        [case],
        ["sampler/seed=1/batch=1/length=4/codebooks=2/cold"],
    ]
    walk = ("localise", folder / "v1", *given, "--case")
    refused(cli(*walk, case, "--component", "c2f"), "is no case of c2f")
    refused(cli(*walk, "generation/seed=0/batch=1/length=4/codebooks=5/filtered"), "no file")


def test_a_bundle_s_command_runs(
    cli: Cli, folder: Path, plant: Callable[..., Path], tmp_path: Path
) -> None:
    version = plant("codec_decoder", "decoder.model.0.bias", lambda x: x * np.float32(1.5))
    found = cli(
        *("localise", version, "--unsealed", "--checkpoint", folder / "check points"),
        *("--component", "codec_decoder", "--bundle", tmp_path / "my bundle"),
    )
    assert found.code == 1 and "bundle of decoder.model.0 in" in found.err
    (line,) = commands_in(found.err)
    assert paste(cli, line).code == 1


def test_what_a_rejected_release_prints_runs_on_what_was_kept(
    run: Cli, nano: Path, tmp_path: Path
) -> None:
    text = (
        'model = "my"\n[checkpoint]\n{}\n[export]\ncomponents = ["coarse"]\n'
        "[verify]\nseeds = [0]\nframes = [13]\nbatches = [1]\nthreads = 1\n"
        "[gates.transformer.relative_l2]\nlimit = 0.0\n"
    )
    for name, source in (("of a folder", f'path = "{nano}"'), ("made", 'like = "tiny"')):
        config = tmp_path / f"{name}.toml"
        config.write_text(text.format(source))
        result = run("release", config, "--artifacts", tmp_path / "my store")
        assert result.code == 1
        report = read_report("report/report.json")
        (part,) = report.components
        remade = [line for line in commands_in(result.out) if "make-checkpoint" in line]
        assert len(remade) == (source == 'like = "tiny"')
        for line in remade:
            assert paste(run, line).code == 0
        again, _ = pasted_report(run, part.bad_seeds[0].replay, tmp_path)
        assert [c.metrics for c in again.components[0].cases] == [part.cases[0].metrics]
        assert paste(run, part.causes[0].command).code == 0  # the limit is wrong, not the file
