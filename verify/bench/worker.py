"""What runs in a contestant's own process.

`verify.bench.contestants` sends this file as it stands to an interpreter, whose version of the
package may be an older one, and talks to it: a request a line (JSON) on standard input, an
answer a line on standard output, arrays in ``.npz`` files.  So it imports nothing but what the
package has had since it could be installed, and only where it is needed; what a process took
part in is all that its memory holds.
"""

from __future__ import annotations

import collections
import gc
import inspect
import itertools
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

Run = Callable[[dict[str, Any]], object]

REMEDY = "its environment must have vampnet-onnx with its tools (vampnet-onnx[export])"

SGEMM_SIDE, SGEMM_PRODUCTS = 1024, 4

# Where a thread is, by the functions it is in: the first line that fits counts, "file" or
# "file:function", ends of paths.
PLACES = {
    "export": (
        ("simplify", ("graph/simplify.py", "/onnxsim/")),
        ("trace", ("/torch/export/", "/torch/onnx/", "/torch/_export/", "/onnxscript/")),
        ("write", ("export/onnx_file.py", "configs/store.py")),
        ("prove", ("passes/base.py:_outputs", "passes/base.py:finite", "export/proof.py")),
        ("cache", ("export/graph_cache.py",)),
        ("passes", ("/export/passes/", "/export/graph/", "export/fingerprint.py")),
        ("read", ("/models/checkpoints/",)),
        ("hash", ("files.py:sha256",)),
        ("build", ("/export/components/",)),
    ),
    "verify": (
        ("audit", ("gates/audit.py",)),
        ("modules", ("gates/modules.py",)),
        ("rounding", ("gates/rounding.py",)),
        ("vacuity", ("gates/vacuity.py",)),
        ("hash", ("files.py:sha256",)),
        ("inputs", ("subjects/random.py",)),
        ("reference", ("sides/models.py",)),
        ("export", ("sides/export.py", "version/session.py", "/pipeline/")),
        ("compare", ("/verify/subjects/", "/verify/numbers/", "verify/gates/")),
        ("read", ("/models/checkpoints/",)),
    ),
}
# So many looks between two at the memory of the processes that this one started.
_LOOKS = 20
# The innermost function of a thread that waits: for another one, or for a process.
_WAITING = ("threading.py", "queue.py", "selectors.py", "connection.py", "subprocess.py")
_WAITS = "wait for others"
_INTERVAL_S = 0.005


def main() -> None:
    """Answer requests until there are no more."""
    # Libraries print; what they print must not come in between.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    at_work = Work()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(at_work, request.pop("do"))(**request)
        except ImportError as error:
            answer = {"lacks": f"{error}; {REMEDY}"}
        except LacksError as error:
            answer = {"lacks": str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class LacksError(Exception):
    """Something that the environment must have is not there."""


class Work:
    """What a process can be asked for; answers are plain values."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.arrays: dict[str, Any] = {}
        self.given = ""
        self.cores = 1
        self.on: dict[str, Any] = {}

    def start(self, runtime: str, cores: int, **on: Any) -> dict[str, Any]:
        """Take so many cores, and say what is here and how long its imports took.

        Args:
            on: provider and whether TF32 is allowed, where it is not the CPU.
        """
        if hasattr(os, "sched_setaffinity"):
            own = sorted(os.sched_getaffinity(0))[:cores]
            os.sched_setaffinity(0, own)
        self.cores = cores
        began = time.perf_counter()
        import onnxruntime

        import vampnet_onnx.pipeline.vamp  # noqa: F401  how long that takes is told

        what = f"onnxruntime {onnxruntime.__version__}"
        threads = cores
        on_openvino = runtime.startswith("openvino")
        in_bf16 = runtime == "openvino-bf16"
        self.on = {"runtime": "openvino"} if on_openvino else on
        if in_bf16:
            self.on["bf16"] = True
        if self.on:
            _require_runtime(self._runtime())
        if on:
            what += f" on {on['provider']}{', TF32 allowed' if on['tf32'] else ''}"
        if on_openvino:
            import openvino

            version = openvino.__version__.partition("-")[0]
            what = f"openvino {version}, {'transformers in bf16' if in_bf16 else 'in float32'}"
        elif runtime != "onnx":
            import torch

            torch.set_num_threads(cores)
            what, threads = f"torch {torch.__version__}", torch.get_num_threads()
        if runtime == "torch-compile":
            _require_compiler()
        seconds = time.perf_counter() - began
        return {
            "what": what,
            "python": platform.python_version(),
            "threads": threads,
            "cores": _cores(),
            "source": _source(),
            "seconds": seconds,
        }

    def load(self, kind: str, runtime: str, **where: Any) -> dict[str, Any]:
        """Load what is timed next, and let go of what was."""
        self.run = None
        gc.collect()
        _forget_peak()
        began = time.perf_counter()
        if runtime == "torch-compile":
            where["compiled"] = True
        way = "torch" if runtime.startswith("torch") else "graph"
        self.run = getattr(self, f"_{kind}_{way}")(**where)
        return {"seconds": time.perf_counter() - began}

    def time(self, inputs: str = "") -> dict[str, Any]:
        """Run once what was loaded, on the arrays of a file."""
        assert self.run is not None
        if inputs != self.given:
            import numpy as np

            self.given = inputs
            _forget_peak()
            with np.load(inputs) as found:
                self.arrays = dict(found)
        began = time.perf_counter()
        self.run(self.arrays)
        return {"seconds": {"total": time.perf_counter() - began}, "memory": _peak()}

    def _runtime(self) -> Any:
        """Return what was asked for, where it is not the CPU of ONNX Runtime."""
        try:
            from vampnet_onnx.configs.runtime import Runtime
        except ImportError as error:
            raise LacksError(
                "its version of vampnet-onnx knows ONNX Runtime's CPU alone; leave it out, or"
                " --provider and --runtime"
            ) from error
        named = {"name" if key == "runtime" else key: value for key, value in self.on.items()}
        return Runtime(threads=self.cores, **named)

    # Components and steps: as graphs on a runtime, and in PyTorch.

    def _graph_graph(self, files: str, component: str) -> Run:
        from vampnet_onnx.configs.artifacts import open_artifacts
        from vampnet_onnx.pipeline.version import session

        artifacts = open_artifacts(Path(files))
        (record,) = [c for c in artifacts.manifest.components if c.id == component]
        if self.on:
            return session.open_session(artifacts, record, self._runtime()).run
        try:
            from vampnet_onnx.configs.runtime import Runtime
        except ImportError:  # a version that knows of one runtime only
            alone: Any = session.Session
            run: Run = alone(artifacts.path(record), threads=self.cores).run
            return run
        return session.open_session(artifacts, record, Runtime(threads=self.cores)).run

    def _graph_torch(
        self, files: str, component: str, codec: str | None, compiled: bool = False
    ) -> Run:

        from vampnet_onnx.export.components.component import TracedComponent
        from vampnet_onnx.export.components.registry import (
            build_component,
            required_checkpoint,
        )
        from vampnet_onnx.models import Checkpoints

        name, _, variant = component.partition(".")
        checkpoints = Checkpoints(Path(files), codec=Path(codec) if codec else None)
        models = checkpoints.models_for(required_checkpoint(name), merged=True)
        built = build_component(name, models, variant=variant)
        assert isinstance(built, TracedComponent)
        return _in_torch(built.module.eval(), compiled)

    def _encode_graph(self, files: str) -> Run:
        from vampnet_onnx import VampPipeline
        from vampnet_onnx.pipeline.steps.preparation import Prepared

        pipeline = VampPipeline.open(files, threads=self.cores, **self.on)

        def run(arrays: dict[str, Any]) -> object:
            audio = arrays["audio"]
            return pipeline.encode(Prepared(lambda: [audio], audio[:, 0, 0]))

        return run

    def _encode_torch(self, files: str, codec: str | None, compiled: bool = False) -> Run:
        return _in_torch(_networks(files, codec)["codec"].encode, compiled)

    def _decode_graph(self, files: str) -> Run:
        from vampnet_onnx import VampPipeline

        pipeline = VampPipeline.open(files, threads=self.cores, **self.on)
        return lambda arrays: pipeline.decode(arrays["codes"])

    def _decode_torch(self, files: str, codec: str | None, compiled: bool = False) -> Run:
        return _in_torch(_networks(files, codec)["codec"].decode_requantised, compiled)

    def _sgemm_torch(self) -> Run:
        """Multiply matrices, with whichever library does it sooner here."""
        import numpy as np
        import torch

        side = np.random.default_rng(0).random((SGEMM_SIDE, SGEMM_SIDE), np.float32)
        session, tensor = _product(self.cores), torch.from_numpy(side)
        ways: list[Run] = [
            lambda _: session.run(None, {"a": side, "b": side}),
            lambda _: tensor @ tensor,
        ]

        def seconds(way: Run) -> float:
            taken = []
            for _ in range(4):
                began = time.perf_counter()
                way({})
                taken.append(time.perf_counter() - began)
            return min(taken[1:])

        fastest = min(ways, key=seconds)
        return lambda arrays: [fastest(arrays) for _ in range(SGEMM_PRODUCTS)]

    # Whole jobs: each in a process that does nothing else.

    def vamp(self, runtime: str, inputs: str, files: str, **more: Any) -> dict[str, Any]:
        """Make a variation of audio with the published options, from opening to audio."""
        import numpy as np

        with np.load(inputs) as found:
            audio, rate = found["audio"], int(found["rate"])
        _forget_peak()
        clock = Clock()
        if not runtime.startswith("torch"):
            # A version before this one knows neither forms nor runtimes.
            _vamp_onnx(clock, files, audio, rate, self.cores, **self.on, **more)
        else:
            _vamp_torch(clock, files, audio, rate, compiled=runtime != "torch", **more)
        return {"seconds": clock.seconds, "memory": _peak()}

    def export(
        self, checkpoint: str, codec: str | None, out: str, **chosen: Any
    ) -> dict[str, Any]:
        """Export a folder of checkpoints; says where to."""
        from vampnet_onnx import export_checkpoints

        _forget_peak()
        with _sampled("export") as found:
            made = export_checkpoints(checkpoint, out, model="bench", codec=codec, **chosen)
        return {**found, "folder": str(made.folder)}

    def verify(self, checkpoint: str, codec: str | None, files: str) -> dict[str, Any]:
        """Verify a version over the cases of one seed."""
        from vampnet_onnx import verify_export

        _forget_peak()
        with _sampled("verify") as found:
            report = verify_export(
                files, checkpoint, codec=codec, seeds=[0], localise=False, **self.on
            )
        return {**found, "verdict": report.verdict.value}


class Clock:
    """Seconds by phase, one phase after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def ends(self, phase: str) -> None:
        """Say that what ran since the last phase was this one."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._began
        self._began = now


def _vamp_onnx(
    clock: Clock, files: str, audio: Any, rate: int, cores: int, **chosen: Any
) -> None:
    from vampnet_onnx import VampPipeline
    from vampnet_onnx.pipeline.steps.noise import PhiloxNoise

    def told(name: str, done: int, total: int) -> None:
        if done == total:
            clock.ends(name)

    pipeline = VampPipeline.open(files, threads=cores, **chosen)
    clock.ends("open")
    # What is not needed yet loads beside the work, where a version can do that.
    begin = getattr(pipeline, "begin", pipeline.require)
    known = {"sample_rate": rate, "seconds": audio.shape[-1] / rate}
    taken = inspect.signature(begin).parameters  # other versions take less
    begin(**{name: value for name, value in known.items() if name in taken})
    clock.ends("load")
    prepared = pipeline.prepare(audio, rate)
    clock.ends("prepare")
    codes = pipeline.encode(prepared)
    clock.ends("encode")
    mask = pipeline.build_mask(codes, seed=0)
    made = pipeline.vamp(codes, mask, noise=PhiloxNoise(0), progress=told)
    clock.ends("c2f")
    pipeline.decode(made.tokens)
    clock.ends("decode")


def _vamp_torch(
    clock: Clock, files: str, audio: Any, rate: int, *, compiled: bool, codec: str | None
) -> None:
    import torch

    from vampnet_onnx.configs.settings import mask_settings, vamp_settings
    from vampnet_onnx.models.behaviour.audio import preprocess
    from vampnet_onnx.models.behaviour.generate import token_model
    from vampnet_onnx.models.behaviour.interface import vamp
    from vampnet_onnx.models.behaviour.mask_plan import build_mask
    from vampnet_onnx.models.behaviour.masks import steps_of
    from vampnet_onnx.models.behaviour.noise import TorchNoise

    settings = vamp_settings()
    networks = _networks(files, codec)
    network = networks["codec"]
    dims = network.dims
    with _without_gradients(compiled):
        if compiled:  # and each graph is made, so that it counts as loading
            network.encoder = torch.compile(network.encoder)
            network.decoder = torch.compile(network.decoder)
            samples = audio.shape[-1] * dims.sample_rate // rate
            codes = network.encode(torch.zeros(1, 1, samples)).codes
            network.decode_requantised(codes)
            for name, seconds in (
                ("coarse", settings.coarse_chunk_s),
                ("c2f", settings.c2f_chunk_s),
            ):
                model = networks[name]
                model.forward_codes = torch.compile(model.forward_codes)
                steps = min(codes.shape[-1], steps_of(seconds, dims))
                books = model.dims.n_codebooks
                model.forward_codes(
                    torch.zeros(1, books, steps, dtype=torch.int64), network.quantizer
                )
        clock.ends("load")
        prepared = preprocess(torch.from_numpy(audio)[None], rate, dims)
        clock.ends("prepare")
        codes = network.encode(prepared).codes
        clock.ends("encode")
        mask = build_mask(codes, mask_settings(), dims, generator=torch.Generator())
        coarse = token_model("coarse", networks["coarse"], network.quantizer)
        c2f = token_model("c2f", networks["c2f"], network.quantizer)
        chunks = -(-codes.shape[-1] // steps_of(settings.coarse_chunk_s, dims))
        left = settings.feedback_steps * chunks * settings.coarse.steps

        def on_step(_step: int, _result: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                clock.ends("coarse")

        made = vamp(
            codes,
            mask,
            coarse=coarse,
            c2f=c2f,
            dims=dims,
            settings=settings,
            noise=TorchNoise(0),
            on_step=on_step,
        )
        clock.ends("c2f")
        network.decode_requantised(made.tokens)
        clock.ends("decode")


def _networks(files: str, codec: str | None) -> dict[str, Any]:
    """Open the networks as a program would: no hash, no look at the weights."""
    from vampnet_onnx.models import load_codec, load_vampnet, read_checkpoint
    from vampnet_onnx.models.checkpoints.found import find_files
    from vampnet_onnx.models.networks.layers import merge_lora

    found: dict[str, Any] = {}
    for name, path in find_files(Path(files), Path(codec) if codec else None).files.items():
        checkpoint = read_checkpoint(path, weights_checked=True)
        if name == "codec":
            found[name] = load_codec(checkpoint)
        else:
            found[name] = load_vampnet(checkpoint)
            merge_lora(found[name])
    return found


def _require_compiler() -> None:
    """Refuse where torch.compile cannot compile, before hours of measuring."""
    import torch

    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2))
    except Exception as error:
        why = str(error).strip().splitlines()[0]
        raise LacksError(
            f"torch.compile does not work there ({why}); install a C++ compiler (g++, say), or"
            " leave torch-compile out of --against"
        ) from error


def _require_runtime(runtime: Any) -> None:
    """Refuse a runtime that is not there, before hours of measuring."""
    from vampnet_onnx.configs.errors import EnvironmentLacksError
    from vampnet_onnx.pipeline.version.providers import require_runtime

    try:
        require_runtime(runtime)
    except EnvironmentLacksError as error:
        raise LacksError(str(error)) from error


def _in_torch(function: Callable[..., object], compiled: bool) -> Run:
    """Return what hands arrays to a function of tensors, compiled where that is asked for."""
    import torch

    forward = torch.compile(function) if compiled else function

    def run(arrays: dict[str, Any]) -> object:
        with _without_gradients(compiled):
            return forward(*(torch.from_numpy(array) for array in arrays.values()))

    return run


def _without_gradients(compiled: bool) -> AbstractContextManager[object]:
    """Return the mode that costs least; the compiler does not take every network in it."""
    import torch

    return torch.no_grad() if compiled else torch.inference_mode()


def _product(threads: int) -> Any:
    """Return a session of ONNX Runtime that multiplies two matrices."""
    import onnxruntime
    from onnx import TensorProto, helper

    def side(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "n"])

    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", [side("a"), side("b")], [side("c")])
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@contextmanager
def _sampled(job: str) -> Iterator[dict[str, Any]]:
    """Give seconds by phase and memory of what runs in the block, by looking at its threads.

    Phases of several threads overlap; the total is that of the clock.  What other processes
    do is their time to wait here; their memory is added.
    """
    seconds: dict[str, float] = collections.defaultdict(float)
    memory = [0]
    ended, began = threading.Event(), time.perf_counter()
    found: dict[str, Any] = {}
    arguments = (job, seconds, memory, ended)
    watcher = threading.Thread(target=_watch, args=arguments, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        total = time.perf_counter() - began
        ended.set()
        watcher.join()
        own = _peak()
        found["seconds"] = {**seconds, "total": total}
        found["memory"] = None if own is None else max(own, *memory)


def _watch(
    job: str, seconds: dict[str, float], memory: list[int], ended: threading.Event
) -> None:
    own, last = threading.get_ident(), time.perf_counter()
    for look in itertools.count():
        if ended.wait(_INTERVAL_S):
            return
        now = time.perf_counter()
        others = [frame for i, frame in sys._current_frames().items() if i != own]
        places = {_place(job, frame) for frame in others}
        # Who waits for a thread that is at work does nothing of its own.
        for place in places - {"", _WAITS} or places - {""} or {"other"}:
            seconds[place] += now - last
        last = now
        if look % _LOOKS == 0:
            memory.append(_of_family(os.getpid()))


def _of_family(process: int) -> int:
    """Return the bytes that a process and those it started have now, where that is told."""
    place, total = Path(f"/proc/{process}"), 0
    try:
        for line in (place / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total = int(line.split()[1]) * 1024
        listed = [task.read_text() for task in place.glob("task/*/children")]
    except OSError:  # it has ended, or there is no such place
        return total
    return total + sum(_of_family(int(child)) for text in listed for child in text.split())


def _place(job: str, frame: Any) -> str:
    """Return the phase of a thread, of whose functions the innermost is given."""
    if frame.f_code.co_filename.endswith(_WAITING):
        return _WAITS
    stack = []
    while frame is not None:
        stack.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}".replace("\\", "/"))
        frame = frame.f_back
    for place, marks in PLACES[job]:
        if any(mark in at for at in stack for mark in marks):
            return place
    return ""


def _source() -> str:
    """Return the hash of our source, where that can be had."""
    try:
        from vampnet_onnx.export.toolchain import source_hash
    except ImportError:  # without the tools to export there is none
        return ""
    return str(source_hash())[:12]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _forget_peak() -> None:
    """Let the peak of the memory begin anew, where the system can."""
    place = Path("/proc/self/clear_refs")
    if place.exists():
        place.write_text("5")


def _peak() -> int | None:
    """Return the most bytes that this process had since then; None where no count is kept."""
    place = Path("/proc/self/status")  # what getrusage says begins with the parent's
    if not place.exists():
        return None
    lines = dict(line.split(":", 1) for line in place.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    main()
