#!/usr/bin/env bash
# Builds the documentation into site/, which git ignores; open site/index.html.
#   bash launch/docs.sh [FLAG ...]     flags of `mkdocs build`
# Needs no network, except to install MkDocs into .venv where it is missing. An
# interpreter that has it elsewhere is named by DOCS_PYTHON.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${DOCS_PYTHON:-.venv/bin/python}"
if ! "$python" -c "import material, mkdocs, mkdocstrings_handlers.python" 2>/dev/null; then
  bash launch/install.sh docs
fi
# Material announces its own successor on every build.
export NO_MKDOCS_2_WARNING=true
exec "$python" -m mkdocs build --strict --config-file docs/mkdocs.yml "$@"
