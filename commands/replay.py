"""``vampnet-onnx replay``: the failing piece of a bundle, run again."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.extras import require_export_tools

from .options import Bf16, Json, Provider, Runs, Tf32
from .output import out, print_json


def replay(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder localise wrote.")],
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    bf16: Bf16 = False,
    as_json: Json = False,
) -> None:
    """Run the module of a bundle again and compare it with the reference.

    A bundle is written by localise --bundle. Exit code 1 means that the module is still wrong.
    It runs on ONNX Runtime's CPU, wherever it was found, unless another is asked for.

    Example:
      vampnet-onnx replay bundle
    """
    require_export_tools()
    from vampnet_onnx.configs.runtime import USUAL, Runtime
    from vampnet_onnx.verify.causes.bundle import replay as replay_bundle
    from vampnet_onnx.verify.localisation.culprit import OWN_ERROR_LIMIT

    asked = Runtime(runtime, provider, tf32=tf32, bf16=bf16)
    found = replay_bundle(bundle, asked)
    wrong = not found.error <= OWN_ERROR_LIMIT
    if as_json:
        print_json({**dataclasses.asdict(found), "wrong": wrong})
    else:
        out.print(f"  {found.facts.component}, {found.facts.module or 'the whole file'}")
        out.print(f"  input     {found.facts.case}", markup=False)
        out.print(f"  error     {found.error:.3g} (recorded {found.facts.error:.3g})")
        if (found.runtime, found.facts.runtime) != (str(USUAL),) * 2:
            recorded = f"(recorded on {found.facts.runtime})"
            out.print(f"  ran on    {found.runtime} {recorded}", markup=False)
        out.print(f"  output    {'' if found.same else 'not '}the recorded one")
        if wrong:
            out.print("still wrong", style="red")
        else:
            out.print("agrees with the reference", style="green")
    raise typer.Exit(1 if wrong else 0)
