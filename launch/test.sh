#!/usr/bin/env bash
# Installs what the tests need into .venv and runs all of them; takes pytest's options.
#   bash launch/test.sh [OPTION ...]
#   bash launch/test.sh fast [OPTION ...]    only formulas, algorithms, guidance, and one
#                                            tiny run of each phase; two minutes
# VENV and PYTHON are those of launch/install.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=test,d4rl,live,minari,video,report,wandb,suite,ray,slurm tests=(tests)
if [ "${1:-}" = fast ]; then
  shift
  extras=test
  tests=(
    tests/test_checks.py
    tests/test_durable.py
    tests/test_losses.py
    tests/test_distributions.py
    tests/test_networks.py
    tests/test_optimization.py
    tests/algorithms
    tests/guidance
    # Pre-training, the fit of the weight, and guided fine-tuning.
    "tests/test_train.py::test_closing_table_agrees_with_the_scores[awac_samg]"
  )
fi
# The CI prints the coverage of the fast tier; see .coveragerc.
if [ "${CI:-}" ] && [ "$extras" = test ]; then
  set -- --cov --cov-config=.coveragerc --cov-report=term "$@"
fi
bash launch/install.sh "$extras"
exec "${VENV:-.venv}/bin/python" -m pytest -c tests/pytest.ini --rootdir=. \
  "${tests[@]}" "$@"
