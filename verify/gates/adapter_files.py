"""The adapter files of a component against what their LoRA files give.

Cases run with the adapters of the LoRA files that were given, and see no others.  What stands
in a file is compared value by value, and what could not be is said.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from vampnet_onnx.export.adapters import adapter_tensors, adapter_values
from vampnet_onnx.models import VampNet
from vampnet_onnx.reports.summary import counted
from vampnet_onnx.verify.numbers.changes import describe_change

from .audit import Origin
from .measured import Measured


def audit_adapter(
    base: VampNet, overlay: Mapping[str, Tensor], path: Path, *, origin: Origin
) -> Measured:
    """Hold an adapter file to what its LoRA file gives, bit for bit.

    Args:
        base: the model of the graph, a low-rank update of its own not merged.
        overlay: tensors of the LoRA file.
        origin: what another source or other tools wrote otherwise is said, not judged.

    Returns:
        How many tensors differ, are missing or are there besides.

    Raises:
        InputError: ONNX Runtime cannot read the file.
    """
    wanted, found = adapter_values(base, overlay), adapter_tensors(path)
    told = dict.fromkeys(sorted(wanted.keys() - found.keys()), "is missing")
    told |= dict.fromkeys(sorted(found.keys() - wanted.keys()), "should not be there")
    for name in sorted(wanted.keys() & found.keys()):
        words = describe_change(wanted[name], found[name])
        if words:
            told[name] = words
    if not told:
        return Measured(0)
    first, words = next(iter(told.items()))
    more = f"; and {counted(len(told) - 1, 'difference')} more" if len(told) > 1 else ""
    said = f"{path.name}: {first} {words}{more}"
    if origin.differs:
        words = f"{said} (could not be judged: {origin.said})"
        return Measured(0, doubt=words, unjudged=True)
    modules = tuple(dict.fromkeys(name.rpartition(".")[0] for name in told))
    return Measured(len(told), said, modules=modules)


def with_adapters(
    of_graph: Measured, audited: Sequence[Measured], left: Mapping[str, str]
) -> Measured:
    """Return what an audit of a component gives together with its adapter files.

    Args:
        left: what could not be audited: by file's name, that of the LoRA file it was made of.
    """
    parts = [of_graph, *audited]
    doubts = [part.doubt for part in parts if part.doubt]
    if left:
        files = ", ".join(f"{file} (made of {source})" for file, source in left.items())
        doubts.append(f"not audited, for want of the LoRA file (--lora): {files}")
    return Measured(
        sum(part.value for part in parts),
        "; ".join(part.message for part in parts if part.message),
        "; ".join(doubts),
        tuple(dict.fromkeys(path for part in parts for path in part.modules)),
        bool(left) or any(part.unjudged for part in parts),
    )
