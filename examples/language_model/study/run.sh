#!/usr/bin/env bash
# Runs a study of this folder; examples/study says how.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../study/run.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../../study/run.sh"
