#!/usr/bin/env bash
# Installs what the tests need into .venv and runs all of them; takes pytest's options.
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh test,d4rl,minari,video,report,wandb,suite,ray,slurm
exec .venv/bin/python -m pytest -c tests/pytest.ini --rootdir=. tests "$@"
