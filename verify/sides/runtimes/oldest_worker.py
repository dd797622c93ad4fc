"""Runs graphs on whatever ONNX Runtime its interpreter has; `process` says how it is asked.

It stands alone: NumPy, ONNX Runtime and Python 3.8 are all it takes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

INPUTS, OUTPUTS = "in.bin", "out.bin"


class Worker:
    """The graphs that are open."""

    def __init__(self) -> None:
        self._folder, self._threads = Path(), 0
        self._graphs: dict[int, Any] = {}

    def start(self, folder: str, threads: int) -> dict[str, Any]:
        """Say what this is."""
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            return {"lacks": f"{sys.executable}: {error}"}
        self._folder, self._threads = Path(folder), threads
        python, version = platform.python_version(), onnxruntime.__version__
        return {
            "what": f"ONNX Runtime {version}, NumPy {numpy.__version__}, Python {python}",
            "version": version,
        }

    def open(self, graph: int, path: str) -> dict[str, Any]:
        """Load a graph."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors come as exceptions
        providers = ["CPUExecutionProvider"]
        self._graphs[graph] = onnxruntime.InferenceSession(path, options, providers=providers)
        return {}

    def run(self, graph: int, arrays: list[dict[str, Any]]) -> dict[str, Any]:
        """Compute every output."""
        import numpy

        data, feeds = (self._folder / INPUTS).read_bytes(), {}
        for item in arrays:
            count = int(numpy.prod(item["shape"], dtype="int64"))
            flat = numpy.frombuffer(data, item["dtype"], count, item["offset"])
            feeds[item["name"]] = flat.reshape(item["shape"])
        session, described, offset = self._graphs[graph], [], 0
        names = [item.name for item in session.get_outputs()]
        with (self._folder / OUTPUTS).open("wb") as file:
            for i, array in enumerate(session.run(names, feeds)):
                file.write(numpy.ascontiguousarray(array).tobytes())
                described.append(
                    {
                        "name": names[i],
                        "dtype": array.dtype.name,
                        "shape": list(array.shape),
                        "offset": offset,
                    }
                )
                offset += array.nbytes
        return {"arrays": described}

    def close(self, graph: int) -> dict[str, Any]:
        """Let a graph go."""
        self._graphs.pop(graph, None)
        return {}


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # ONNX Runtime's errors share no other base
            answer = {"error": " ".join(str(error).split()) or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
