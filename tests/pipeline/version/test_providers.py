"""A provider runs a network wholly, or it is an error: where each node ran is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest

from tests.support.command_line import Cli
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.export.components.registry import COMPONENTS
from vampnet_onnx.pipeline.version import session
from vampnet_onnx.pipeline.version.providers import (
    CPU,
    PROVIDERS,
    Node,
    Provider,
    profiled,
    require_placed,
    require_runtime,
    where_it_runs,
)
from vampnet_onnx.pipeline.version.session import open_session
from vampnet_onnx.verify import jobs
from vampnet_onnx.verify.causes.locate import localise_error
from vampnet_onnx.verify.jobs import verify_export

CUDA = PROVIDERS["cuda"]
ASKED = Runtime(provider="cuda")


def ran(path: Path) -> list[Node]:
    """Return what ran where on the CPU."""

    def opened(options: ort.SessionOptions) -> ort.InferenceSession:
        return ort.InferenceSession(str(path), options, providers=[CPU])

    return profiled(opened, ort.SessionOptions())[1]


def placed(nodes: Sequence[Node], *left: str) -> list[Node]:
    """Return nodes as if CUDA ran those that see floats, but for some operators."""
    return [
        replace(node, provider=CUDA.name)
        if node.floats and node.operator not in left
        else node
        for node in nodes
    ]


def test_a_profile_names_every_node_that_runs(exported_a: Path, tmp_path: Path) -> None:
    path, optimised = exported_a / "codec_encoder.onnx", tmp_path / "optimised.onnx"
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 4
    ort.InferenceSession(str(path), options, providers=[CPU])
    operators = sorted(node.op_type for node in onnx.load(optimised).graph.node)
    assert sorted(node.operator for node in ran(path)) == operators


def test_a_provider_that_takes_nothing_is_refused_though_it_is_listed(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's provider comes with the usual package and runs no node of any network."""
    azure = Provider("AzureExecutionProvider", "onnxruntime")
    if azure.name not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime comes without it")
    monkeypatch.setitem(PROVIDERS, "cuda", azure)
    opened = open_artifacts(exported_a)
    record = opened.manifest.component("coarse")
    assert record is not None
    with pytest.raises(EnvironmentLacksError, match=r"coarse.onnx: Azure.* runs none of its"):
        open_session(opened, record, ASKED)


@pytest.mark.parametrize(
    ("name", "operator"),
    [("coarse", "MatMul"), ("codec_encoder", "Sin"), ("codec_encoder", "ArgMax")],
)
def test_a_node_that_sees_floats_and_falls_to_the_cpu_is_named(
    exported_a: Path, name: str, operator: str
) -> None:
    nodes = ran(exported_a / f"{name}.onnx")
    count = sum(node.operator == operator for node in nodes)
    assert count
    with pytest.raises(EnvironmentLacksError, match=rf"{count} {operator}.* fell to the CPU"):
        require_placed(placed(nodes, operator), CUDA, name)


def test_verify_refuses_before_its_work_and_names_what_does_run(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_but_the_decoder(
        nodes: Sequence[Node], provider: Provider, who: str
    ) -> dict[str, int]:
        return require_placed(placed(nodes, *(["Sin"] if "decoder" in who else [])), CUDA, who)

    began = list[str]()
    monkeypatch.setattr(session, "require_placed", all_but_the_decoder)
    monkeypatch.setitem(PROVIDERS, "cuda", Provider(CPU, "onnxruntime"))
    monkeypatch.setattr(jobs, "require_runtime", lambda _: None)
    with pytest.raises(EnvironmentLacksError, match=r"decoder.*Sin") as refused:
        verify_export(
            exported_a,
            GOLDEN / "a",
            provider="cuda",
            progress=lambda name, *_: began.append(name),
        )
    last = str(refused.value).splitlines()[-1]
    assert last.startswith("what runs there: --component codec_encoder --component coarse")
    assert "decoder" not in last and "generation" not in last
    assert not {"codec_encoder", "coarse"} & set(began)


@pytest.mark.parametrize("name", ["coarse", "c2f", "codec_encoder", "codec_decoder"])
def test_what_computes_lengths_may_stay_on_the_cpu(exported_a: Path, name: str) -> None:
    nodes = ran(exported_a / f"{name}.onnx")
    found = require_placed(placed(nodes, "Shape"), CUDA, name)
    whole = sum(not node.floats or node.operator == "Shape" for node in nodes)
    assert found == {CUDA.name: len(nodes) - whole, CPU: whole} and whole


def test_a_part_that_sees_no_floats_may_be_on_the_cpu_whole() -> None:
    lengths = [Node("Add", CPU, floats=False), Node("Shape", CPU, floats=True)]
    assert require_placed(lengths, CUDA, "part") == {CPU: 2}
    with pytest.raises(EnvironmentLacksError, match=r"part: CUDA.* runs none of its 3 nodes"):
        require_placed([*lengths, Node("Mul", CPU, floats=True)], CUDA, "part")


def test_a_part_of_a_walk_that_falls_to_the_cpu_ends_it(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no module that the file lacks."""
    azure = Provider("AzureExecutionProvider", "onnxruntime")
    if azure.name not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime comes without it")
    monkeypatch.setitem(PROVIDERS, "coreml", azure)
    with pytest.raises(EnvironmentLacksError, match=r"coarse.onnx: Azure.* runs none of its"):
        localise_error(exported_a, new=exported_a, runtime=Runtime(provider="coreml"))


def test_every_component_has_one_place_and_a_reason() -> None:
    places = shipped("providers.toml")
    every = {*COMPONENTS, "generator"}  # a variant of two, with a place of its own
    assert {*places["on_device"]["components"]} | {*places["on_cpu"]} == every
    assert not {*places["on_device"]["components"]} & {*places["on_cpu"]}


@pytest.mark.parametrize("name", ["sampler", "mask_generator", "audio_processor"])
def test_what_runs_on_the_cpu_on_purpose_says_so(exported_a: Path, name: str) -> None:
    opened = open_artifacts(exported_a)
    record = opened.manifest.component(name)
    assert record is not None
    session = open_session(opened, record, ASKED)  # where no GPU is
    assert not session.placement
    told = where_it_runs(record, ASKED, session.placement)
    assert told == f"{name} on the CPU, {shipped('providers.toml')['on_cpu'][name]}"


def test_tf32_is_off_unless_asked_for() -> None:
    assert CUDA.options(ASKED)["use_tf32"] == "0"
    assert CUDA.options(replace(ASKED, tf32=True))["use_tf32"] == "1"


@pytest.mark.parametrize(
    "words",
    [
        "vamp in out.wav --artifacts {}",
        "encode in out.npz --artifacts {}",
        "decode in out.wav --artifacts {}",
        "verify {0} --checkpoint {0}",
        "compare {0} {0}",
        "localise {0} {0}",
        "replay {0}",
        "bench {0}",
    ],
    ids=lambda words: words.partition(" {")[0].split()[0],
)
def test_a_provider_that_is_not_installed_ends_with_3_and_the_line_that_installs_it(
    cli: Cli, exported_a: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    given = [word.format(exported_a) for word in words.split()]
    result = cli(*given, "--provider", "cuda")
    assert result.code == 3 and "Traceback" not in result.err
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in result.err


def test_two_packages_of_onnx_runtime_are_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {
        **metadata.packages_distributions(),
        "onnxruntime": ["onnxruntime-gpu", "onnxruntime"],
    }
    monkeypatch.setattr(metadata, "packages_distributions", lambda: both)
    with pytest.raises(
        EnvironmentLacksError, match="onnxruntime and onnxruntime-gpu are both"
    ):
        require_runtime(ASKED)
    (found,) = [f for f in cli("doctor", "--json").json if f["what"] == "providers"]
    assert (
        not found["ok"]
        and "pip uninstall --yes onnxruntime onnxruntime-gpu" in found["remedy"]
    )
