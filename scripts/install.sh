#!/usr/bin/env bash
# Makes .venv in the repository's root: torch, fairseq and this package.
set -euo pipefail

# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/runs/virtual_environment.sh
source "$ROOT/scripts/runs/virtual_environment.sh"

usage() {
    cat <<'EOF'
usage: scripts/install.sh [--dev] [--huggingface] [--plots] [--python PYTHON]

Installs torch, fairseq-fixed, this package and what its scripts need into .venv. A second run
takes seconds, and a run that was killed can be repeated.

  --dev            also what the tests need (pytest, ruff, mypy, CTranslate2, and the two below)
  --huggingface    also what pretrained models from Hugging Face need (transformers, safetensors)
  --plots          also what the plots need (matplotlib, tensorboard)
  --python PYTHON  make .venv with this interpreter: Python 3.11, 3.12 or 3.13
                   (default: $PYTHON, else the first suitable one on PATH)
  -h, --help       print this and exit

environment:
  TORCH_VERSION    torch to install (default: keep what .venv has, else 2.13.0)
  CXX              C++ compiler
EOF
}

readonly FAIRSEQ=fairseq-fixed FAIRSEQ_VERSION=0.12.3.1
readonly FAIRSEQ_SHA256=c607577a54ab30e2ee0f0b0a754ea5cdbc6ad0a9f99a1726638a2201445bc1cc
# Of its six extensions these three are used; the others compile torch's headers for minutes.
readonly EXTENSIONS=(
    fairseq.libbleu fairseq.data.data_utils_fast fairseq.data.token_block_utils_fast
)
readonly VENV="$ROOT/.venv"
readonly PY="$VENV/bin/python" LOG="$VENV/install.log"
# pip is told not to compile, as most of it is never imported; what is imported here (torch, fairseq) is compiled once
# and for all, also where this is set, as in many a container, in which else each command would do it anew.
unset PYTHONDONTWRITEBYTECODE

# logged WHAT COMMAND...: runs COMMAND into the log; if it fails, shows the log's end and first
# errors, and stops.
logged() {
    local what="$1" start="$SECONDS"
    shift
    printf '\n== %s\n' "$what" >>"$LOG"
    if "$@" >>"$LOG" 2>&1; then
        note "    done in $((SECONDS - start)) s"
        return
    fi
    tail -n 20 -- "$LOG" >&2
    # What a compiler says stands long before the end of what pip says about it.
    grep -E 'error: |No space left' -- "$LOG" | head -n 5 >&2 || true
    if grep -q 'DO NOT MATCH THE HASHES' "$LOG"; then
        die "the archive of $FAIRSEQ $FAIRSEQ_VERSION that was downloaded is not the one this" \
            "project was tested with (SHA-256 $FAIRSEQ_SHA256); nothing of it was run or installed"
    fi
    die "$what failed: the end of $LOG and its errors are above;" \
        "run this again once the cause is removed"
}

check() { "$PY" "$ROOT/scripts/runs/install_checks.py" "$@"; }

# check_compiler: fairseq has C++ to compile; better to say now than minutes later.
check_compiler() {
    local compiler headers  # a compiler may have words behind it, as in "ccache g++"
    read -ra compiler <<<"${CXX:-$("$PY" -c 'import sysconfig; print(sysconfig.get_config_var("CXX") or "c++")')}"
    command -v "${compiler[0]}" >/dev/null ||
        die "no C++ compiler: fairseq has parts in C++, and '${compiler[0]}' is not on PATH. Install one" \
            "(Debian, Ubuntu: apt-get install g++; macOS: xcode-select --install) or set CXX"
    headers="$("$PY" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
    [[ -f "$headers/Python.h" ]] ||
        die "no C headers of Python: $headers/Python.h is missing, and fairseq has parts to compile" \
            "(Debian, Ubuntu: apt-get install python3-dev)"
    printf '#include <Python.h>\n#include <vector>\n' |
        "${compiler[@]}" -std=c++11 -fsyntax-only -I"$headers" -x c++ - ||
        die "the C++ compiler '${compiler[*]}' cannot compile an empty program, see above"
}

# torch_version: prints torch's version as pip knows it (torch.__version__ may add +cu130, which
# pip then does not find); fails if torch cannot be imported.
torch_version() {
    "$PY" -c 'import importlib.metadata, torch; print(importlib.metadata.version("torch"))' \
        2>/dev/null
}

# write_constraints VERSION: the tested versions, with this torch in place of the tested one.
write_constraints() {
    grep -v '^torch==' "$ROOT/constraints.txt" >"$work/constraints.txt"
    printf 'torch==%s\n' "$1" >>"$work/constraints.txt"
}

# install_torch: TORCH_VERSION, or what is there already, or the tested version; sets `torch`.
install_torch() {
    local found wanted="${TORCH_VERSION:-}"
    found="$(torch_version)" || found=
    # "2.13.0" is also met by "2.13.0+cpu".
    if [[ -n "$found" && (-z "$wanted" || "$wanted" == "$found" || "$wanted" == "${found%%+*}") ]]; then
        note "torch $found is in .venv and is kept"
        write_constraints "$found"
    else
        wanted="${wanted:-$(sed -n 's/^torch==//p' "$ROOT/constraints.txt")}"
        note "installing torch $wanted: about 1 minute, more where the download is large"
        write_constraints "$wanted"
        logged "installing torch $wanted" "$PY" -m pip install --no-compile -c "$work/constraints.txt" \
            "torch==$wanted" pip numpy cython setuptools wheel
        found="$(torch_version)" || die "torch $wanted was installed but cannot be imported;" \
            "see: $PY -c 'import torch'"
        write_constraints "$found"
    fi
    torch="$found"
    # A torch that was there may have come without what builds fairseq.
    "$PY" -c 'import Cython, numpy, setuptools, wheel' 2>/dev/null ||
        logged "installing the build tools" "$PY" -m pip install -c "$work/constraints.txt" \
            numpy cython setuptools wheel
}

# build_fairseq: leaves a wheel of fairseq in $work/wheels, built from the verified source.
build_fairseq() {
    local source="$work/fairseq_fixed-$FAIRSEQ_VERSION"
    printf '%s==%s --hash=sha256:%s\n' "$FAIRSEQ" "$FAIRSEQ_VERSION" "$FAIRSEQ_SHA256" \
        >"$work/fairseq.txt"
    note "downloading the source of $FAIRSEQ $FAIRSEQ_VERSION and checking its SHA-256: about 10 s"
    logged "downloading $FAIRSEQ" "$PY" -m pip download --no-deps --no-binary "$FAIRSEQ" \
        --no-build-isolation --require-hashes -r "$work/fairseq.txt" -d "$work"
    check verify "$source.tar.gz" "$FAIRSEQ_SHA256" || die "the archive was not unpacked"
    tar -xzf "$source.tar.gz" -C "$work"
    check trim-setup "$source/setup.py" "${EXTENSIONS[@]}" || die "the source is not as expected"
    # One after the other: where ninja is installed, torch writes one build.ninja for all extensions of a folder, and side
    # by side one is overwritten by the other's and never compiled.
    note "building it without isolation (with the torch of .venv), three extensions: about 45 s"
    logged "building $FAIRSEQ" env -u CUDA_HOME -u READTHEDOCS "$PY" -m pip wheel --no-deps \
        --no-build-isolation -w "$work/wheels" "$source"
}

has_fairseq() { check fairseq "$FAIRSEQ" "$FAIRSEQ_VERSION" "${EXTENSIONS[@]}"; }

# has_package EXTRAS: this package is there, and all it requires in the tested version.
has_package() { check package "$ROOT" "$work/constraints.txt" "$1"; }

# install_package EXTRAS: this package, editable, with all it requires, and fairseq if just built.
install_package() {
    local extras="$1"
    local wanted=(-e "$ROOT${extras:+[$extras]}")
    if [[ -d "$work/wheels" ]]; then
        wanted+=("$work/wheels/"*.whl)
    elif has_package "$extras" 2>>"$LOG"; then
        note "$FAIRSEQ $FAIRSEQ_VERSION, this package and what it requires are in .venv already"
        return
    fi
    note "installing this package and what it and fairseq require: about 40 s"
    logged "installing this package" "$PY" -m pip install --no-compile -c "$work/constraints.txt" \
        --no-build-isolation "${wanted[@]}"
    if ! has_fairseq || ! has_package "$extras"; then
        die "pip reported success, but what is installed is wrong, see above:" \
            "remove $VENV and run this again"
    fi
}

python="${PYTHON:-}" extras=examples
while (($# > 0)); do
    case "$1" in
    --dev | --huggingface | --plots) extras+=",${1#--}" ;;
    --python)
        need_value "$@"
        python="$2"
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error "unknown argument: $1" ;;
    esac
    shift
done

# common.sh puts .venv first, but .venv is made with a Python from outside it.
PATH="${PATH#"$VENV/bin:"}"
make_venv "$python"
: >"$LOG"
work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
check forget-unfinished
build=
if ! has_fairseq 2>>"$LOG"; then
    check_compiler
    build=yes
fi
install_torch
if [[ -n "$build" ]]; then
    build_fairseq
fi
install_package "$extras"
note "done in $SECONDS s: .venv has Python $(version_of "$PY"), torch $torch," \
    "$FAIRSEQ $FAIRSEQ_VERSION, and this package"
