# shellcheck shell=bash
# How install.sh finds a Python and makes .venv with it. Sourced after common.sh.
# shellcheck disable=SC2154  # VENV and PY are the caller's

# version_of PYTHON: prints 3.11, say; fails if it does not run.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

supported() { [[ "$1" == 3.11 || "$1" == 3.12 || "$1" == 3.13 ]]; }

# need_supported PYTHON: prints its version, or stops with the reason.
need_supported() {
    local version
    version="$(version_of "$1")" || die "'$1' does not run as a Python interpreter"
    supported "$version" ||
        die "'$1' is Python $version, and this script needs 3.11, 3.12 or 3.13: name one with" \
            "--python. (Beside a fairseq of your own, on Python 3.10 too: pip install $ROOT)"
    printf '%s\n' "$version"
}

# find_python: prints a suitable interpreter from PATH, or stops with what was found.
find_python() {
    local candidate version found=
    for candidate in python3 python python3.12 python3.11 python3.13; do
        version="$(version_of "$candidate")" || continue
        if supported "$version"; then
            printf '%s\n' "$candidate"
            return
        fi
        found+=" $candidate is $version;"
    done
    die "this script needs Python 3.11, 3.12 or 3.13, and PATH has none (${found:-no Python at all});" \
        "name one with --python"
}

# make_venv PYTHON: makes .venv with it ('' for any), unless a working .venv is there.
make_venv() {
    local python="$1" version
    if [[ -n "$python" ]]; then
        version="$(need_supported "$python")"
    fi
    if [[ -e "$VENV" ]]; then
        if "$PY" -m pip --version >/dev/null 2>&1; then
            need_supported "$PY" >/dev/null
            [[ -z "$python" || "$version" == "$(version_of "$PY")" ]] ||
                die ".venv has Python $(version_of "$PY") and '$python' is $version:" \
                    "remove $VENV to have it made anew"
            return
        fi
        [[ -e "$VENV/pyvenv.cfg" || -z "$(ls -A -- "$VENV")" ]] ||
            die "$VENV is no virtual environment: move it away"
        note ".venv is broken (its Python or its pip does not run), so it is made anew"
        rm -rf -- "$VENV"
    fi
    python="${python:-$(find_python)}"
    note "making .venv with '$python' (Python $(version_of "$python")): about 5 s"
    "$python" -m venv "$VENV" ||
        die "'$python -m venv' failed, see above (Debian, Ubuntu: apt-get install python3-venv)"
}
