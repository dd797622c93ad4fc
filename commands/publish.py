"""``vampnet-onnx publish``: a verified version, laid out for others."""

from pathlib import Path
from typing import Annotated

import typer

from .options import ArtifactsArgument, Json
from .output import here, out, print_json, progress_bar


def publish(
    artifacts: ArtifactsArgument,
    to: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|hub:USER/REPO",
            help="A folder that is not there, or a repository of a model hub that is.",
        ),
    ],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            "--license",
            metavar="ID",
            help="Of the weights: an identifier of SPDX, or of the hub.",
        ),
    ],
    report: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the report of its verification is.")
    ] = Path("report"),
    as_json: Json = False,
) -> None:
    r"""Lay a verified version out for others: files, hashes, report and a model card.

    What is not wholly verified is refused, and so is a folder or a repository that holds
    something else. A folder appears whole, a commit is one step; what is there already is not
    sent again. Everywhere else hub:USER/REPO or hub:USER/REPO@REVISION then stands for the
    version. HF_ENDPOINT and HF_TOKEN are honoured.

    Examples:
      vampnet-onnx publish artifacts/demo --to published --licence mit

      vampnet-onnx publish artifacts/mine --to hub:USER/REPO \
          --licence cc-by-nc-4.0 --report report
    """
    from vampnet_onnx.reports.publishing.job import publish_version
    from vampnet_onnx.reports.publishing.licence import read_licence

    known = read_licence(licence)
    artifacts = here(artifacts)
    with progress_bar() as bar:
        made = publish_version(artifacts, to, licence=known, report=report, progress=bar)
    if as_json:
        sent = list(made.sent)
        print_json({"artifacts": str(made.version), "place": made.place, "sent": sent})
        return
    what = f"{len(made.sent)} files" if made.sent else "nothing, all of it was there already"
    out.print(f"  artifacts  {made.version}", markup=False)
    out.print(f"  sent       {what}", markup=False)
    out.print(f"published in {made.place}", markup=False)
