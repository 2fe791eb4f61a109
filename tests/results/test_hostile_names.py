"""Names are printed as letters, whatever they are; damaged files are named."""

import collections
import contextlib
import pathlib
import re
import shutil
import subprocess
import tempfile

import pandas as pd
import pytest
from matplotlib import image

from samg_jax import checks, durable, logs
from samg_jax.results import (
    figures,
    guidance_curves,
    learning_curves,
    markup,
    report_page,
    run_files,
    tidy_table,
)
from tests.fixtures import called_programs, made_suite, small_disks

NAMES = {
    "command": r"a\input{/etc/passwd}\write18{rm}\label{x}",
    "signs": "50% & more_of #1 ~ ^ {x} $5",
    "table": "one | two `code` *bold* _emphasis_ [a](b)",
    "html": "<script>alert('x')</script> <!-- & &amp;",
    "lines": "first\nsecond\\\\\n\n# third\r\n| x |",
    "math": r"$\frac{1}{$",
    "one dollar": "cost$",
    "long": "x" * 400,
    "argument": "[1cm] *[2]",
    "no letters": "\x00\x1b[31m\udcff",
    "hidden": "_private",
}
# All that a table of ours may command.
COMMANDS = {
    *(
        r"\begin",
        r"\end",
        r"\centering",
        r"\caption",
        r"\label",
        r"\textbf",
        r"\toprule",
    ),
    *(r"\midrule", r"\bottomrule", r"\textbackslash", r"\textasciitilde"),
    *(r"\textasciicircum", r"\textless", r"\textgreater", r"\pm", r"\rightarrow"),
    *(r"\\", r"\&", r"\%", r"\$", r"\#", r"\_", r"\{", r"\}"),
}


def unescaped(line, sign):
    return len(re.findall(rf"(?<!\\)(?:\\\\)*{re.escape(sign)}", line))


def assert_latex(text):
    assert set(re.findall(r"\\(?:[A-Za-z]+|.)", text)) <= COMMANDS
    assert unescaped(text, "{") == unescaped(text, "}")
    assert not re.search(r"\\(\\|midrule|toprule)\s*[\[*]", text)
    columns = len(re.search(r"\\begin\{tabular\}\{(l+)\}", text)[1])
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert rows
    assert {unescaped(row, "&") for row in rows} == {columns - 1}
    plain = re.sub(r"\\.|\$\\pm\$|\$\\rightarrow\$", "", text)
    assert not set("%#~^$") & set(plain)


def assert_markdown(text):
    assert not re.search(r"<[a-z/!]", text)
    tables = collections.defaultdict(set)
    for block in text.split("\n\n"):
        for line in block.splitlines():
            if line.startswith("|"):
                tables[block].add(unescaped(line, "|"))
    assert tables
    assert all(len(counts) == 1 for counts in tables.values())
    assert "`code`" not in text.replace(r"\`", "")


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The report of a suite whose datasets, variants and algorithms have such names."""
    folder = tmp_path_factory.mktemp("hostile")
    kinds = ("command", "signs", "table", "html", "lines", "math", "long", "no letters")
    names = [NAMES[kind].encode("utf-8", "replace").decode() for kind in kinds]
    tables = [
        made_suite.rows(names[0], variant, name, data_source=names[2 + place % 2])
        for place, name in enumerate(names[:7])
        for variant in ("vanilla", "samg", names[(place + 1) % len(names)])
    ]
    pd.concat(tables).to_parquet(folder / "results.parquet")
    report_page.write([folder], folder / "report", reps=10)
    return folder / "report"


def test_latex_and_markdown_of_a_report_hold_such_names_as_letters(reported):
    latex = sorted((reported / "tables").glob("*.tex"))
    assert len(latex) > 7
    for path in latex:
        assert_latex(path.read_text())
        assert_markdown(path.with_suffix(".md").read_text())
    assert_markdown((reported / "report.md").read_text())
    whole = "".join(path.read_text() for path in latex)
    assert r"a\textbackslash{}input\{/etc/passwd\}" in whole
    assert r"50\% \& more\_of \#1" in whole


def test_the_page_runs_no_script_of_a_name(reported):
    html = (reported / "index.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "could not be drawn" not in html


def test_every_picture_of_such_a_report_is_drawn(reported):
    pictures = sorted((reported / "figures").rglob("*.png"))
    assert len(pictures) > 2 * 2 * 7
    assert max(len(path.name) for path in pictures) < 130
    assert not list(reported.rglob("*.tmp*"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX")
def test_latex_accepts_the_tables(reported, tmp_path):
    tables = sorted((reported / "tables").glob("*.tex"))
    body = "\n".join(path.read_text() for path in tables)
    text = (
        "\\documentclass{article}\\usepackage{booktabs,textcomp}\n"
        f"\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    (tmp_path / "all.tex").write_text(text)
    subprocess.run(
        ["pdflatex", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True, timeout=120
    )


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_learning_curves_are_drawn_under_any_name(name, tmp_path):
    assert_markdown(markup.markdown_table(["a"], [[name]]))
    assert "\n" not in markup.markdown_code(name)
    frame = tidy_table.check(made_suite.rows(variant=name), "made")
    path = learning_curves.draw_run(frame, tmp_path / "a.png", name)
    assert image.imread(path).shape[2] == 4


@pytest.mark.parametrize("log", [True, False], ids=["a run", "without a log"])
def test_a_picture_that_cannot_be_drawn_is_a_warning(
    log, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def bad():
        raise ZeroDivisionError("a bug of ours")

    for draw, given, words in [
        (bad, (), "ZeroDivisionError: a bug of ours"),
        (
            learning_curves.draw_run,
            (
                tidy_table.check(made_suite.rows(), "made"),
                tmp_path / "no/such/folder/a.png",
                "title",
            ),
            "FileNotFound",
        ),
    ]:
        caplog.clear()
        with contextlib.ExitStack() as stack:
            if log:
                stack.enter_context(logs.to_file(tmp_path / "log.txt"))
                logs.LOGGER.addHandler(caplog.handler)
                stack.callback(logs.LOGGER.removeHandler, caplog.handler)
            assert figures.drawn(draw, *given) is None
        assert words in caplog.text
        assert "Everything else is complete" in caplog.text
        place = re.search(r"The traceback is in (\S+)\.\n", caplog.text)[1]
        text = pathlib.Path(place).read_text()
        assert text.count("Traceback (most recent call last)") >= 1
        assert words.partition(":")[0] in text
        assert (place == str(tmp_path / "log.txt")) is log
    assert not figures.plt.get_fignums()


def test_a_picture_without_room_says_where_and_the_old_one_stays(tmp_path, caplog):
    for suffix in ("png", "svg"):
        path = tmp_path / f"picture.{suffix}"
        path.write_text("old")
        caplog.clear()
        figure, _ = figures.subplots(1)
        with small_disks.limited(4):
            assert figures.drawn(figures.save, figure, path) is None
        assert f"Cannot write into {str(tmp_path)!r}: File too large" in caplog.text
        assert durable.AGAIN in caplog.text
        assert path.read_text() == "old"


METRICS = (
    "phase,seed,offline_step,env_step,return_mean,return_std,normalized_score,"
    "episode_length,failed\nonline,0,60,0,0.5,0.5,50.0,7,0\n"
)
TRAINING = "phase,seed,offline_step,env_step,name,value\nonline,0,60,0,loss,1.5\n"


@pytest.mark.parametrize(
    ("read", "good"), [(run_files.rows, METRICS), (guidance_curves.read, TRAINING)]
)
def test_damaged_tables_of_a_run_are_named(read, good, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(good)
    assert read(path)
    for content in (
        b"",
        b"null",
        good[:-6].encode(),
        good.replace("0.5", "x").replace("1.5", "x").encode(),
        good.encode() + b"online,0,6",
        good.encode() + b"online,0,60,0,0.5,0.5,50.0,7,0,1,2,3\n",
        b"\xff\xfe" + good.encode(),
        good.encode() + bytes(50),
    ):
        path.write_bytes(content)
        with pytest.raises(checks.UserError, match=r"table\.csv cannot be read: .*"):
            read(path)
    path.unlink()
    for place in (path, tmp_path):
        with pytest.raises(checks.UserError, match="cannot be read"):
            read(place)


def report(capsys, *names, **flags):
    """Runs the program; returns what it printed, or its line of error."""
    with called_programs.running("report", **flags) as program:
        try:
            program.main(["report", *map(str, names)])
        except SystemExit as ended:
            line = str(ended.code)
            assert line.startswith("error: ")
            assert "\n" not in line
            return line
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"{}", b'{"online": 3}', b"{", b"\xff"]
)
def test_a_damaged_config_is_named(content, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    assert "it has no config.json" in report(capsys, run)
    assert "no config.json" in report(capsys, tmp_path)
    (run / "config.json").write_bytes(content)
    assert "config.json is not the config of a run" in report(capsys, run)
    assert f"Runs are below it: {run}" in report(capsys, tmp_path)


def test_a_suites_table_is_read_from_what_is_whole(tmp_path, capsys):
    rows = made_suite.suite(("awac",), ("hopper-local",), seeds=2, evaluations=3)
    rows.to_csv(tmp_path / "results.csv", index=False)
    for content in (b"", b"PAR1", bytes(2000), b"\xff\xfe"):
        (tmp_path / "results.parquet").write_bytes(content)
        assert len(tidy_table.read(tmp_path)) == len(rows)
    for content in (b"", b"\xff\xfe\x00", b'"', b"algorithm\n"):
        (tmp_path / "results.csv").write_bytes(content)
        line = report(capsys, tmp_path)
        assert "results." in line
        assert "rebuild" in line.lower()
    rows.assign(step="many").to_csv(tmp_path / "results.csv", index=False)
    assert "something else than numbers in the column step" in report(capsys, tmp_path)


def test_a_suite_without_a_complete_job_says_so(tmp_path, capsys):
    (tmp_path / "jobs").mkdir()
    assert "No job of the suite" in report(capsys, tmp_path)
