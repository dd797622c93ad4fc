#!/usr/bin/env bash
# Says whether a checkpoint may land: bash check.sh CHECKPOINT [BASELINE]
# BASELINE is a folder with verified versions; left out, the last version that may land.
# Exit code 0 means that it may. What was found is in onnx-ci/report, comment.md first.
set -eo pipefail
CHECKPOINT=$1
BASELINE=$2
if [ -n "$BASELINE" ]; then vampnet-onnx ci baseline "$BASELINE" --into onnx-ci/baseline; fi
rm -rf onnx-ci/report onnx-ci/artifacts/*/v[0-9]* && mkdir -p onnx-ci/report
vampnet-onnx export --checkpoint "$CHECKPOINT" --artifacts onnx-ci/artifacts 2>&1 | tee onnx-ci/report/export.log || true
vampnet-onnx verify onnx-ci/artifacts --checkpoint "$CHECKPOINT" --report onnx-ci/report/verify 2>&1 | tee onnx-ci/report/verify.log || true
if [ -e onnx-ci/baseline ]; then vampnet-onnx compare onnx-ci/baseline onnx-ci/artifacts --report onnx-ci/report/compare 2>&1 | tee onnx-ci/report/compare.log || true; fi
vampnet-onnx ci verdict onnx-ci/report --departures "${DEPARTURES:-fail}" --accepted-by "run this with DEPARTURES=tell"
vampnet-onnx ci baseline onnx-ci/artifacts --into onnx-ci/baseline # the next one is compared with this
