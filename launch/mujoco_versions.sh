#!/usr/bin/env bash
# Runs the tests of the environments (masses, inertias, golden rollouts, batches that
# equal gymnasium's in every bit) with MuJoCo's lowest allowed version and with the
# newest of each minor version in setup.py's range. Needs what launch/test.sh installs,
# and leaves it alone: each version goes into a temporary folder.
#   bash launch/mujoco_versions.sh [VERSION ...]     3.2.0 4.0.0, for example
set -uo pipefail
cd "$(dirname "$0")/.."
if [ ! -x .venv/bin/python ]; then
  echo "error: there is no .venv here. Install first: bash launch/test.sh" >&2
  exit 1
fi

allowed() {
  .venv/bin/python - <<'PYTHON'
import pathlib, re, subprocess, sys
from packaging import specifiers, version

text = pathlib.Path("setup.py").read_text()
allowed = specifiers.SpecifierSet(re.search(r'"mujoco([<>=][^"]+)"', text)[1])
command = [sys.executable, "-m", "pip", "index", "versions", "mujoco"]
listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
listed = re.search(r"Available versions: (.+)", listed)[1].split(", ")
listed = sorted((version.Version(v) for v in listed if v in allowed))
newest = {v.release[:2]: v for v in listed}
print(*dict.fromkeys([listed[0], *newest.values()]))
PYTHON
}

versions=("$@")
[ $# -gt 0 ] || read -ra versions <<<"$(allowed)"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
grep -v '^mujoco==' .venv/constraints.txt >"$folder/constraints.txt"

failed=0
for version in "${versions[@]}"; do
  target="$folder/$version"
  if .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint "$folder/constraints.txt" --target "$target" "mujoco==$version" &&
    [ "$(PYTHONPATH="$target" .venv/bin/python -c \
      'import mujoco; print(mujoco.__version__)')" = "$version" ] &&
    PYTHONPATH="$target" .venv/bin/python -m pytest -c tests/pytest.ini --rootdir=. \
      tests/envs; then
    echo "mujoco $version: passed"
  else
    echo "mujoco $version: FAILED"
    failed=1
  fi
  rm -rf "$target"
done
exit $failed
