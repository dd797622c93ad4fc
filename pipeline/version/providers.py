"""The providers of ONNX Runtime: which package brings one, and what it really runs.

ONNX Runtime runs on the CPU whatever a provider does not take, and all of a graph where the
provider does not load, without a word; the list of a session's providers says nothing of it.
So a session on a provider runs once, on a small input, with a profile, which names every
node and the provider that ran it.  What is not there and should be is refused.
"""

import contextlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime as ort

from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import GENERATOR, TRANSFORMERS
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.configs.runtime import ProviderName, Runtime

CPU = "CPUExecutionProvider"
_FILE = "providers.toml"
_SHOWN = 6  # operators named before the rest is counted


@dataclass(frozen=True)
class Provider:
    """One provider.

    Attributes:
        name: that ONNX Runtime knows it by.
        package: that brings it.
    """

    name: str
    package: str

    def options(self, runtime: Runtime) -> dict[str, str]:
        """Return its options, of ONNX Runtime's names."""
        if self.name != "CUDAExecutionProvider":
            return {}
        return {
            # On unless it is refused: products then keep 10 bits, three digits.
            "use_tf32": str(int(runtime.tf32)),
            # The default times every algorithm anew for every length.
            "cudnn_conv_algo_search": "HEURISTIC",
        }


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider(CPU, "onnxruntime"),
    # With the libraries that it loads, which are packages, too.
    "cuda": Provider("CUDAExecutionProvider", "'onnxruntime-gpu[cuda,cudnn]'"),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime"),
    "directml": Provider("DmlExecutionProvider", "onnxruntime-directml"),
}


@dataclass(frozen=True)
class Node:
    """A node that ran.

    Attributes:
        floats: whether it takes or gives a tensor of floats.
    """

    operator: str
    provider: str
    floats: bool


def runtime_for(component: str, asked: Runtime) -> Runtime:
    """Return where a component runs: where it was asked for, or the CPU on purpose.

    See ``configs/providers.toml`` for what runs where, and why.  bf16 is for the transformers
    alone: of its three digits the codec's encoder makes other codes.

    Args:
        component: with variant.
    """
    kind = _kind(component)
    if asked.is_usual or kind in TRANSFORMERS:
        return asked
    if kind in shipped(_FILE)["on_device"]["components"]:
        return replace(asked, bf16=False)
    return Runtime(threads=asked.threads)


def _kind(component: str) -> str:
    """Return what ``configs/providers.toml`` calls a component."""
    name, _, variant = component.partition(".")
    return GENERATOR if variant == GENERATOR else name


def require_runtime(runtime: Runtime) -> None:
    """Refuse a runtime or a provider that is not installed here, or bf16 that is not there.

    Raises:
        EnvironmentLacksError: with the line that installs it, or how to do without.
    """
    if runtime.name == "openvino":
        require_optional("openvino")
        if runtime.bf16:
            from .openvino import require_bf16_here

            require_bf16_here()
        return
    wanted = PROVIDERS[runtime.provider]
    if wanted.name == CPU:
        return
    there, way = installed_runtimes(), remedy(runtime.provider)
    if len(there) > 1:
        raise EnvironmentLacksError(
            f"--provider {runtime.provider}: {' and '.join(there)} are both installed, into"
            f" one folder, where one overwrites the other; {way}"
        )
    if wanted.name not in ort.get_available_providers():
        raise EnvironmentLacksError(
            f"--provider {runtime.provider}: {', '.join(there) or 'onnxruntime'}"
            f" {ort.__version__} does not bring it here; {way}"
        )
    if runtime.provider == "cuda":
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            ort.preload_dlls()


def installed_runtimes() -> list[str]:
    """Return the packages here that bring ONNX Runtime; more than one is one too many."""
    return sorted(set(metadata.packages_distributions().get("onnxruntime", [])))


def providers_here() -> list[str]:
    """Return the providers that the installed ONNX Runtime brings, by our names."""
    there = ort.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider.name in there]


def remedy(provider: ProviderName) -> str:
    """Return how to install a provider."""
    package = PROVIDERS[provider].package
    if package == "onnxruntime":
        return f"install a {package} that has it (for coreml, on macOS): pip install {package}"
    there = " ".join(installed_runtimes())
    return f"install it with: pip uninstall --yes {there} && pip install {package}"


def where_it_runs(
    record: ComponentRecord, asked: Runtime, placement: Mapping[str, int]
) -> str:
    """Say where a component runs, in words.

    Args:
        placement: nodes by provider, as its session has it.
    """
    runs = runtime_for(record.id, asked)
    if runs.is_usual and not asked.is_usual:
        return f"{record.id} on the CPU, {shipped(_FILE)['on_cpu'][_kind(record.id)]}"
    if not placement:
        return f"{record.id} on {runs}"
    wanted = PROVIDERS[asked.provider].name
    others = sum(placement.values()) - placement[wanted]
    rest = f", and {others} that see no floats on the CPU" if others else ""
    return f"{record.id} on {asked}: {placement[wanted]} nodes{rest}"


def read_profile(path: Path) -> list[Node]:
    """Return every node that ran while a profile of ONNX Runtime was written."""
    found = []
    for event in json.loads(path.read_text("utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            facts = event["args"]
            tensors = [*facts["input_type_shape"], *facts["output_type_shape"]]
            floats = any(_is_float(kind) for tensor in tensors for kind in tensor)
            found.append(Node(facts["op_name"], facts["provider"], floats))
    return found


def require_placed(nodes: Sequence[Node], provider: Provider, who: str) -> dict[str, int]:
    """Refuse a graph of which a provider does not run every node that sees floats.

    Args:
        who: the file, for the message.

    Returns:
        How many nodes ran on each provider.

    Raises:
        EnvironmentLacksError: naming the operators that ran elsewhere.
    """
    of_shapes = shipped(_FILE)["shapes"]["operators"]
    wanted = provider.name
    elsewhere = Counter(
        node.operator
        for node in nodes
        if node.provider != wanted and node.floats and node.operator not in of_shapes
    )
    if elsewhere and not any(node.provider == wanted for node in nodes):
        raise EnvironmentLacksError(
            f"{who}: {wanted} runs none of its {len(nodes)} nodes, all of them fell to the"
            " CPU; what it needs (drivers, libraries) is missing, or it takes no such graph"
        )
    if elsewhere:
        named = ", ".join(f"{n} {operator}" for operator, n in elsewhere.most_common(_SHOWN))
        more = sum(elsewhere.values()) - sum(n for _, n in elsewhere.most_common(_SHOWN))
        raise EnvironmentLacksError(
            f"{who}: {wanted} does not run {sum(elsewhere.values())} of its {len(nodes)} nodes"
            f" ({named}{f' and {more} more' if more else ''}); they fell to the CPU."
            " Networks run on a provider wholly or not at all: leave --provider out"
        )
    return dict(Counter(node.provider for node in nodes))


def profiled(
    open_session: Callable[[ort.SessionOptions], ort.InferenceSession],
    options: ort.SessionOptions,
    sample: Mapping[str, np.ndarray] | None = None,
) -> tuple[ort.InferenceSession, list[Node]]:
    """Open a session, run it once, and return it with what ran where.

    Args:
        open_session: opens it under the options.
        options: a profile is added to them; it ends with the first run.
        sample: what it runs on; its smallest input if left out.
    """
    with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(options)
        try:
            session.run(None, smallest_input(session) if sample is None else dict(sample))
        finally:
            profile = Path(session.end_profiling())
        return session, read_profile(profile)


def smallest_input(session: ort.InferenceSession) -> dict[str, np.ndarray]:
    """Return zeros for every input, every free axis of length one."""
    return {
        item.name: np.zeros(
            [axis if isinstance(axis, int) else 1 for axis in item.shape], kind
        )
        for item in session.get_inputs()
        for kind in [_NUMPY[item.type]]
    }


# Element types of what networks take, and NumPy's name.
_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
}


def _is_float(kind: str) -> bool:
    return kind.startswith(("float", "double", "bfloat"))
