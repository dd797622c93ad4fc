"""The command export: what it refuses, what it prints, and nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.checkpoint_files import with_kwargs
from tests.support.command_line import Cli, files_below, is_progress, refused
from tests.support.runs import training_run


def test_a_missing_checkpoint_folder_is_refused(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(
        cli("export", "--checkpoint", tmp_path / "none", "--artifacts", out), "no such folder"
    )
    refused(cli("export", "--artifacts", out), "give --checkpoint DIR")
    refused(cli("export", "--out", out), "give --checkpoint DIR")
    refused(cli("export", "--out", out, "--artifacts", out), "an old name of --artifacts")
    assert files_below(out) == []


@pytest.mark.parametrize(
    "options, words",
    [
        (("--component", "decoder"), "decoder"),
        (("--input", "text"), "text"),
        (("--opset", "17"), "opset"),
        (("--opset", "24"), "opset"),
        (("--model", "a/b"), "model"),
        (("--lora", "codec=x"), "write FILE, coarse=FILE"),
        (("--lora", "x"), "x: no such file"),
        (("--lora", "coarse=none.pth"), "none.pth"),
        (("--config", "none.toml"), "no such configuration file"),
    ],
)
def test_an_option_with_an_impossible_value_is_refused(
    cli: Cli, nano: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    out = tmp_path / "out"
    refused(cli("export", "--checkpoint", nano, "--artifacts", out, *options), words)
    assert files_below(out) == []


def test_a_bad_checkpoint_leaves_nothing_behind(cli: Cli, nano: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(nano, tmp_path / "set"))
    (folder / "c2f.pth").write_bytes((nano / "c2f.pth").read_bytes()[:9000])
    out = tmp_path / "out"
    refused(cli("export", "--checkpoint", folder, "--artifacts", out), "c2f.pth", "truncated")
    with_kwargs(nano, "c2f", folder / "c2f.pth", n_heads=7)
    refused(cli("export", "--checkpoint", folder, "--artifacts", out), "n_heads = 7")
    assert files_below(tmp_path / "out") == []
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".staging")]


def test_export_gives_json_alone_on_standard_output(
    cli: Cli, nano: Path, exported_store: Path, store: Path
) -> None:
    again = cli(
        "export", "--checkpoint", nano, "--artifacts", store, "--component", "coarse", "--json"
    )
    assert again.code == 0
    found = again.json
    assert found["new"] is False and found["artifacts"] == str(store / "nano" / "v1")
    assert set(found["files"]) == {"coarse"} and Path(found["files"]["coarse"]).is_file()
    assert found["seconds"] > 0 and found["peak_memory_bytes"] > 1e7
    assert files_below(store) == files_below(exported_store)


def test_the_name_of_the_model_is_the_folders_or_the_one_given(
    cli: Cli, nano: Path, config: Path, tmp_path: Path
) -> None:
    base = (
        "export",
        "--checkpoint",
        nano,
        "--component",
        "coarse",
        "--artifacts",
        tmp_path / "o",
    )
    assert cli(*base, "--model", "mine").code == 0
    assert (tmp_path / "o" / "mine" / "v1" / "coarse.onnx").is_file()
    assert cli(*base, "--model", "yours", "--config", config).code == 0
    assert (tmp_path / "o" / "yours" / "v1" / "coarse.onnx").is_file()


def test_a_version_that_exists_with_other_content_is_refused(
    cli: Cli, nano: Path, store: Path
) -> None:
    before = files_below(store)
    result = cli(
        "export",
        "--checkpoint",
        nano,
        "--out",
        store,
        "--component",
        "coarse",
        "--opset",
        "21",
        "--version",
        "1",
    )
    refused(result, "v1: exists with other content")
    assert files_below(store) == before


def test_a_training_run_is_exported_and_verified_with_the_codec_it_is_given(
    cli: Cli, nano: Path, tmp_path: Path
) -> None:
    run = training_run(nano, tmp_path / "mine", lora="other")
    source = ("--checkpoint", run, "--codec", nano / "codec.pth")
    only = ("--component", "coarse")
    out = tmp_path / "out"
    refused(cli("export", "--checkpoint", run, "--artifacts", out, *only), "--codec FILE")
    made = cli("export", *source, "--artifacts", out, *only)
    assert made.code == 0, made
    taken = "coarse/latest/vampnet/weights.pth: from a training run, as coarse"
    laid = "coarse/latest/lora.pth: laid over the weights beside it"
    prefix = "'_orig_mod.' was taken off its keys"
    assert all(words in made.out for words in (taken, laid, prefix))
    report = ("--report", tmp_path / "report")
    found = cli("verify", out, *source, *only, "--seeds", "0", *report, "--json")
    assert found.code == 0 and found.json["verdict"] in ("PASS", "AMBIGUOUS"), found
    assert any(prefix in note for note in found.json["notes"])
    assert cli("localise", out, *source, *only).code == 0
    # Without what was laid over it, it is another model.
    (run / "coarse" / "latest" / "lora.pth").unlink()
    said = cli("verify", out, *source, *only, *report)
    refused(said, "made with the LoRA file coarse/latest/lora.pth")


def test_a_lora_file_of_a_compiled_model_is_merged_and_said(
    cli: Cli, nano: Path, tmp_path: Path
) -> None:
    run = training_run(nano, tmp_path / "run", lora="other")
    lora = ("--lora", run / "coarse" / "latest" / "lora.pth")
    only = ("--component", "coarse")
    for more in ((), ("--lora-adapters",)):
        out = tmp_path / "out"
        made = cli("export", "--checkpoint", nano, *lora, "--out", out, *only, *more, "--json")
        assert made.code == 0, made
        assert made.json["notes"] == ["lora.pth: '_orig_mod.' was taken off its keys"]
        given = ("--checkpoint", nano, *lora, *only, "--seeds", "0")
        report = ("--report", tmp_path / "report")
        assert cli("verify", made.json["artifacts"], *given, *report).code == 0


def test_graphs_are_kept_unless_no_cache_is_asked_for(
    cli: Cli, nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = tmp_path / "graphs"
    monkeypatch.setenv("VAMPNET_ONNX_CACHE", str(graphs))

    def export(out: str, *options: object) -> tuple[str, bytes]:
        where = ("--out", tmp_path / out, "--component", "coarse", *options)
        done = cli("export", "--checkpoint", nano, *where)
        assert done.code == 0, done
        said = [line for line in done.err.splitlines() if not is_progress(line)]
        return "\n".join(said), (tmp_path / out / "nano" / "v1" / "coarse.onnx").read_bytes()

    scratch = export("a", "--no-cache")
    assert scratch[0] == "" and not graphs.exists()
    assert export("b") == scratch
    (entry,) = graphs.iterdir()
    kept = entry.read_bytes()
    entry.write_bytes(kept[:-1])
    said, found = export("c", "--jobs", 1)
    assert said == f"note: {entry}: damaged; the graph is made again"
    assert found == scratch[1] and entry.read_bytes() == kept
    said, found = export("d")
    assert said == f"note: graphs kept by earlier runs in {graphs}: coarse"
    assert found == scratch[1]


@pytest.mark.parametrize(
    ("variants", "says"),
    [
        ("", "variants.0 = '': Input should be 'fp32', 'int8'"),
        ("fp32,", "variants.1 = '': Input should be 'fp32', 'int8'"),
        ("fp32,fp32", "fp32 is there 2 times"),
        ("fp32,int9", "variants.1 = 'int9': Input should be 'fp32', 'int8'"),
    ],
)
def test_forms_that_are_none_or_given_twice_are_refused(
    run: Cli, nano: Path, variants: str, says: str
) -> None:
    code, _, err = run("export", "--checkpoint", nano, "--variants", variants)
    assert code == 2 and says in err and len(err.splitlines()) == 1
    assert not Path("artifacts").exists()
