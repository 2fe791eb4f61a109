"""The documentation: its commands and fields exist, its numbers hold, it builds."""

import importlib.util
import os
import pathlib
import pkgutil
import re
import shlex
import subprocess
import sys
import venv

import pytest

from configs import awac_samg
from samg_jax import checks, settings
from samg_jax.experiment import command_line, field_table
from samg_jax.guidance import weights
from samg_jax.runs import lifecycle
from samg_jax.training import seed_axis
from tests.fixtures import called_programs, small_experiments

ROOT = pathlib.Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT / "docs" / "pages")): path.read_text()
    for path in sorted((ROOT / "docs" / "pages").rglob("*.md"))
}
GROUPS = "guidance|online|offline|agent|dataset|evaluation|logging"
SHELL = ("source", "export")


def blocks(language: str) -> list[tuple[str, str, str]]:
    """Page, title and text of all fenced blocks of a language."""
    pattern = rf'^```{language}(?: title="([^"]*)")?\n(.*?)^```'
    return [
        (page, title, text)
        for page, content in PAGES.items()
        for title, text in re.findall(pattern, content, re.DOTALL | re.MULTILINE)
    ]


def commands() -> list[tuple[str, bool, list[str]]]:
    """Page, whether it is marked as long, and words of every command."""
    return [
        (page, bool(title), shlex.split(line))
        for page, title, text in blocks("bash")
        for line in text.replace("\\\n", " ").splitlines()
    ]


def test_every_fence_is_of_a_kind_that_is_checked():
    for page, content in PAGES.items():
        for fence in re.findall(r"^```(\S.*)$", content, re.MULTILINE):
            assert re.fullmatch(r'bash( title="[^"]+")?|python|text', fence), page


def answers(words: list[str]) -> bool:
    """Whether a command only prints an answer, before its other flags are read."""
    return any(word == "--help" or word.startswith("--explain=") for word in words)


def test_commands_that_take_long_or_install_are_marked():
    short_programs = (
        "samg_jax.paper.tabular",
        "samg_jax.diagnose",
        "samg_jax.evaluate",
    )
    for page, marked, words in commands():
        short = words[0] in SHELL or words[:2] == ["python", "-c"]
        short |= "--dry_run" in words or answers(words)
        short |= words[:2] == ["python", "-m"] and words[2] in short_programs
        assert marked or short, (page, words)


PROGRAMS = sorted({words[2] for _, _, words in commands() if words[1:2] == ["-m"]})


@pytest.mark.parametrize("program", PROGRAMS)
def test_flags_of_the_commands_parse(program, monkeypatch):
    monkeypatch.chdir(ROOT)
    name = program.removeprefix("samg_jax.")
    own = [words for _, _, words in commands() if words[2:3] == [program]]
    own = [words for words in own if not answers(words)]
    assert own
    for words in own:
        with called_programs.running(name) as module:
            command_line.parse(
                words[2:], getattr(module, "CONFIG", None), positional=True
            )


def test_scripts_and_paths_exist():
    for _, _, words in commands():
        if words[0] == "bash":
            assert (ROOT / words[1]).is_file(), words
    for page, content in PAGES.items():
        pattern = r"`((?:configs|launch|samg_jax|tests)/[\w./]*)`"
        for path in re.findall(pattern, content):
            later = "mine" in path or "NAME" in path or path.endswith("gpu/")
            assert later or (ROOT / path).exists(), (page, path)


def test_modules_that_the_api_pages_document_exist():
    pattern = r"^::: ([\w.]+)\n(?:    options:\n      members: \[(.*)\]\n)?"
    found = [
        (page, *match)
        for page, content in PAGES.items()
        for match in re.findall(pattern, content, re.MULTILINE)
    ]
    assert len(found) == sum(text.count("::: ") for text in PAGES.values()) > 30
    for page, name, members in found:
        module = importlib.import_module(name)
        for member in filter(None, members.split(", ")):
            assert hasattr(module, member), (page, name, member)


def test_dotted_names_that_pages_use_exist():
    names = {
        (page, name)
        for page, content in PAGES.items()
        for name in re.findall(r"`(?:python -m )?(samg_jax(?:\.\w+)+)\b", content)
    }
    assert len(names) > 5
    for page, name in sorted(names):
        try:  # Programs are not imported, since their flags would collide.
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # Something in a module.
            found = pkgutil.resolve_name(name)
        assert found, (page, name)


def test_fields_that_pages_name_exist():
    known = {*field_table.table(), *field_table.GROUPS}
    for page, content in PAGES.items():
        for name in re.findall(rf"[`-](?:config\.)?((?:{GROUPS})\.[a-z_.]+)", content):
            assert name.rstrip(".") in known or name.endswith(".png"), (page, name)


def test_horizons_of_the_page_follow_from_the_formula():
    tables = re.findall(r"((?:^\|.*\n)+)", PAGES["guidance.md"], re.MULTILINE)
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for table in tables
        if "horizon H" in table
        for line in table.splitlines()[2:]
    ]
    assert len(rows) == 13
    for first, second, third in rows:
        by_strength = float(second) < 1  # Strength, p, horizon; else p, horizon, share.
        p = 0.37 * float(first) if by_strength else float(first)
        horizon, share = 1 / (1 - 0.99 * (1 - p)), 0.99 * p / (1 - 0.99 * (1 - p))
        assert float(third if by_strength else second) == pytest.approx(
            horizon, rel=0.03
        )
        if not by_strength:
            assert float(third) == pytest.approx(share, abs=0.006)


def test_python_of_the_pages_runs(capsys, monkeypatch):
    monkeypatch.setattr(weights, "REGISTRY", dict(weights.REGISTRY))
    texts = {page: text for page, _, text in blocks("python")}
    exec(texts["guidance.md"], {})
    assert capsys.readouterr().out.strip() == "21"
    exec(texts["configuration.md"], {})
    assert capsys.readouterr().out.startswith("config.guidance.penalty")
    for page, _, text in blocks("python"):
        if page == "extend.md":
            exec(text, names := {})
    assert "gentle" in weights.REGISTRY
    declared = names["Config"]
    config = settings.to_config(declared).to_dict()
    settings.check(declared, config, "config.agent.")
    with pytest.raises(checks.UserError, match=r"config\.agent\.samples"):
        settings.check(declared, {**config, "samples": 0}, "config.agent.")
    state = names["State"](step=0, actor=0, critic=0)
    assert seed_axis.shared(state) == names["State"](
        step=True, actor=False, critic=False
    )
    fields, run = texts["api/runs.md"].split("run = ")
    exec(fields, names)
    assert names["config"].num_seeds == 2
    assert run.startswith("lifecycle.run(config, ")
    for text in texts.values():
        compile(text, "page", "exec")


# What makes a short command shorter still; the last of two equal flags wins.
SHORTER = {
    "samg_jax.evaluate": ["--episodes=1"],
    "samg_jax.diagnose": [
        *("--rows=40", "--steps=40", "--kinds=tail"),
    ],
    "samg_jax.paper.tabular": ["--processes=2", "--iterations=400"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the runs that pages name: one tiny run, under both names."""
    path = tmp_path_factory.mktemp("docs")
    for name in ("configs", "launch"):
        (path / name).symlink_to(ROOT / name)
    config = awac_samg.get_config("hopper-demo")
    fields = small_experiments.fields("awac_samg", pathlib.Path("unused"))
    del fields["dataset.path"], fields["env_id"]
    with config.ignore_type():
        config.update_from_flattened_dict(fields)
    lifecycle.run(config, path / "runs" / "samg")
    (path / "runs" / "pretrained").symlink_to(path / "runs" / "samg")
    return path


def test_every_command_runs_or_is_marked(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    ran = set()
    for page, marked, words in commands():
        if marked or words[0] in SHELL:
            continue
        assert words[0] == "python"
        if words[1] == "-c":
            exec(words[2], {})
        else:
            called_programs.call([*words[2:], *SHORTER.get(words[2], ())])
        printed = capsys.readouterr().out
        assert printed.strip(), (page, words)
        ran.add(words[2])
    assert {"samg_jax.train", "samg_jax.suite", *SHORTER} <= ran
    assert (folder / "scores.json").exists()
    assert (folder / "runs" / "samg" / "diagnosis").is_dir()


def test_lines_that_set_up_a_shell_run(tmp_path):
    venv.create(tmp_path / ".venv", with_pip=False)
    lines = [" ".join(words) for _, _, words in commands() if words[0] in SHELL]
    assert len(lines) >= 3
    script = "\n".join(["set -e", *lines, "echo $PYTHONPATH"])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("/path/to/folder")


@pytest.mark.slow
def test_documentation_builds_and_fetches_nothing(tmp_path):
    pytest.importorskip("mkdocs")
    site = tmp_path / "site"
    done = subprocess.run(
        ["bash", "launch/docs.sh", f"--site-dir={site}"],
        cwd=ROOT,
        env={**os.environ, "DOCS_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    for page in PAGES:
        assert site / page.replace(".md", ".html") in pages
    for path, text in pages.items():
        fetched = re.findall(r"<(?:script|img|link)\b[^>]*\b(?:src|href)=\"?http", text)
        assert not fetched, path
    text = pages[site / "configuration.html"]
    for name in field_table.table():
        assert f'id="{name}"' in text or f'.{name}"' in text, name
