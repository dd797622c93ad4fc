"""``vampnet-onnx serve``: a page that plays artifacts, on this machine alone."""

from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.interrupts import Interrupted, dealt_with

from .options import ArtifactsArgument
from .output import (
    here,
    out,
    print_version,
    spinner,
)


def serve(
    artifacts: ArtifactsArgument,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of loopback; 0 takes a free one.")
    ] = 8123,
    ort_web: Annotated[
        Path | None,
        typer.Option(
            "--ort-web",
            metavar="DIR",
            help="Folder of the npm package onnxruntime-web; in a checkout, that of npm ci.",
        ),
    ] = None,
) -> None:
    """Serve a page that makes variations in the browser, with the tokens of vamp.

    The version needs generators (export --generator). Nothing leaves this machine, and the
    page asks nothing of another one.

    Example:
      vampnet-onnx serve whole/demo
    """
    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.configs.verification import version_to_use

    from .page_server import page_of, runtime_folder

    runtime_folder(ort_web)  # before gigabytes are hashed
    chosen = version_to_use(here(artifacts))
    with spinner("hashing"):
        opened = open_artifacts(chosen.folder)
    page = page_of(opened, port=port, ort_web=ort_web)
    print_version(chosen)
    out.print(page.address, markup=False)
    with page.server as server:
        try:
            server.serve_forever()
        except Interrupted:  # how it is meant to end
            dealt_with()
