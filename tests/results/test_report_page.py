"""The page: complete, self-contained, and opened in a browser."""

import contextlib
import io
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from samg_jax.results import (
    pictures,
    report_contents,
    report_page,
    seed_outcomes,
    tidy_table,
)
from tests.fixtures import called_programs, made_suite

ROOT = pathlib.Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
# The order of sections, by how their anchors begin.
SECTIONS = (
    "variants",
    "dataset-antmaze-large",
    "dataset-hopper",
    "paired-D4RL",
    "across-D4RL",
    "training",
    "published",
)
SIZES = {"laptop": (1280, 900), "phone": (390, 844)}
# Chromium's numbers for the preferred color scheme.
SCHEMES = {"dark": 0, "light": 1}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A suite's folder, with its report made by the program.

    On D4RL it has what a pooled number takes: three datasets and five seeds.
    """
    folder = tmp_path_factory.mktemp("suite")
    local = made_suite.suite(("awac",), ("hopper-local",), ("vanilla", "samg"), 3, 6)
    sparse = {"data_source": "D4RL", "regret": 0.2, "success": 0.8}
    mazes = [f"antmaze-{size}-v2" for size in ("umaze", "medium-play", "large-play")]
    d4rl = made_suite.suite(("iql",), mazes, ("no_data", "samg"), 5, 4)
    table = pd.concat([local, d4rl.assign(**sparse)])
    table.to_parquet(folder / "results.parquet")
    printed = io.StringIO()
    with (
        called_programs.running("report", reps=50) as program,
        contextlib.redirect_stdout(printed),
    ):
        program.main(["report", str(folder)])
    assert printed.getvalue() == f"report: {folder / 'report' / report_page.PAGE}\n"
    return folder


def test_the_page_needs_nothing_else(suite):
    html = (suite / "report" / report_page.PAGE).read_text()
    assert not re.search(r"https?://|<script|<link|@import|refresh", html)
    for address in re.findall(r'(?:src|srcset)="([^"]{0,30})', html):
        assert address.startswith("data:image/png;base64,")
    anchors = set(re.findall(r'<section id="([^"]+)"', html))
    assert set(re.findall(r'href="#([^"]+)"', html)) == anchors
    for heading in (
        "Across datasets: D4RL",
        "IQM and optimality gap: D4RL",
        "Probability of improvement: D4RL",
        "Paired by seed: D4RL",
        "Paired by seed: locally collected",
        "Variants",
        "How it was trained",
        "Comparison with published scores",
        "Regret: the paper&#39;s Table 2, CORL&#39;s, and ours",
        "hopper-local",
        "Compute",
        "SAMG paper, Table 1: normalized score after fine-tuning",
    ):
        assert heading in html, heading
    assert "Across datasets: locally collected" not in html  # It has one.
    assert '<div class="verdict">\n<p>This report compares' in html
    order = [html.index(f'<section id="{name}') for name in SECTIONS]
    assert order == sorted(order)


def test_the_vector_pictures_are_linked_and_there(suite):
    out = suite / "report"
    html = (out / report_page.PAGE).read_text()
    links = re.findall(r'href="(figures/[^"]+)"', html)
    assert len(links) == 2 * 14
    for link in links:
        data = (out / link).read_bytes()
        assert data.startswith(b"%PDF-" if link.endswith(".pdf") else b"<?xml")


def test_whatever_is_not_d4rls_says_so_everywhere(suite):
    out = suite / "report"
    words = "Locally collected, not D4RL: hopper-local"
    local = ["scores_hopper-local", "budgets", "compute", "runs"]
    for name in (*local, "published_scores", "differences_locally_collected"):
        assert f"> **{words}**" in (out / "tables" / f"{name}.md").read_text()
        assert words in (out / "tables" / f"{name}.tex").read_text()
    for name in ("scores_antmaze-umaze-v2", "aggregate_D4RL", "published_regret"):
        assert words not in (out / "tables" / f"{name}.md").read_text()
    # The page says it once in full; tables and pictures are marked.
    html = (out / report_page.PAGE).read_text()
    assert html.count(words) == html.count('class="disclaimer"') == 1
    assert html.count('<span class="mark">Locally collected, not D4RL</span>') == 7
    text = (out / "report.md").read_text()
    assert text.count(words) == 1
    assert text.count("*(Locally collected, not D4RL)*") == 7
    # On pictures the mark has a ground of its own color.
    color = np.array([int(pictures.WARNING[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    found = {}
    for path in sorted((out / "figures").rglob("*.png")):
        pixels = image.imread(path)[..., :3]
        top = np.isclose(pixels[:100], color, atol=0.01).all(axis=-1)
        found[path.stem] = 0.005 < top.mean() < 0.1
        svg = (out / "figures" / path.with_suffix(".svg").name).read_text()
        assert ("Locally collected, not D4RL" in svg) == found[path.stem]
    d4rl = [name for name in found if name.endswith("D4RL") or "antmaze" in name]
    assert len(d4rl) == 11
    assert len(found) == 14
    assert all(found[name] == (name not in d4rl) for name in found)


def test_every_picture_is_there_in_both_themes(suite):
    figures = suite / "report" / "figures"
    light = {path.name for path in figures.glob("*.png")}
    assert light == {path.name for path in (figures / "dark").glob("*.png")}
    assert {"curve_hopper-local_awac.png", "switch_hopper-local_awac.png"} <= light
    for name in light:
        for folder, theme in ((figures, "light"), (figures / "dark", "dark")):
            corner = image.imread(folder / name)[-1, -1, :3]
            paper = pictures.THEMES[theme]["paper"]
            expected = [int(paper[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            np.testing.assert_allclose(corner, expected, atol=0.01)


def browse(path, window, scheme, *flags):
    """Returns what Chromium prints when it opens a page, without any network."""
    width, height = window
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--window-size={width},{height}",
            *flags,
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
@pytest.mark.parametrize(("size", "scheme"), [("laptop", "light"), ("phone", "dark")])
def test_a_browser_shows_the_page(suite, tmp_path, size, scheme):
    width, height = SIZES[size]
    # The page measures itself, in a frame: no window is as narrow as a phone.
    probe = """<script>addEventListener("load", () => {
      const all = what => [...document.querySelectorAll(what)];
      const most = (what, of) => Math.max(...all(what).map(of));
      const images = [...document.images];
      parent.postMessage([innerWidth, document.documentElement.scrollWidth,
        images.length, images.filter(i => i.naturalWidth > 300).length,
        most(".mark", m => m.getClientRects().length),
        most("td:first-child", c => c.offsetWidth),
        getComputedStyle(document.body).fontSize].join(" "), "*");
    });</script></body>"""
    html = (suite / "report" / report_page.PAGE).read_text()
    (tmp_path / "probe.html").write_text(html.replace("</body>", probe))
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<script>onmessage = event => document.title = event.data</script>"
        f'<iframe src="probe.html" width="{width}" height="{height}" frameborder="0">'
    )
    printed = browse(
        frame, (1400, 1000), scheme, "--dump-dom", "--virtual-time-budget=5000"
    )
    found = re.search("<title>(.*?)<", printed)[1].split()
    inner, scroll, count, loaded, pieces, first, font = found
    assert int(inner) == width
    assert int(scroll) <= width, "the page is wider than the screen"
    assert count == loaded == "14"
    assert pieces == "1", "a mark is broken over two lines"
    assert int(first) <= 0.4 * width, "the column that stays leaves no room"
    assert font == "16px"
    shot = tmp_path / "page.png"
    browse(
        suite / "report" / report_page.PAGE,
        (width, height),
        scheme,
        f"--screenshot={shot}",
    )
    pixels = image.imread(shot)[..., :3]
    assert pixels.shape[:2] == SIZES[size][::-1]
    paper = {"light": 255, "dark": 24}[scheme] / 255
    assert pixels[0, 0, 0] == pytest.approx(paper, abs=0.01)
    ink = np.abs(pixels - pixels[0, 0]).max(axis=-1) > 0.4
    assert 0.01 < ink.mean() < 0.5  # Words, and not a blank or a broken page.


def wait_for(text, path):
    """Returns the text of a file as soon as it holds `text`."""
    for _ in range(1200):
        found = path.read_text() if path.exists() else ""
        if text in found:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{path} never held {text!r}")


def test_a_suite_is_watched_while_it_grows(tmp_path):
    folder, out = tmp_path / "suite", tmp_path / "report"
    folder.mkdir()
    command = [sys.executable, "-m", "samg_jax.report", str(folder), f"--out={out}"]
    flags = ["--watch", "--every=0.2", "--reps=10"]
    with subprocess.Popen(
        [*command, *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background job, as this test may be, ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            for runs in (1, 2):
                rows = [made_suite.rows(seed=seed) for seed in range(runs)]
                pd.concat(rows).to_csv(folder / "temporary", index=False)
                (folder / "temporary").replace(folder / "results.csv")
                html = wait_for(f"{runs} runs (", out / report_page.PAGE)
                assert report_page.REFRESH.format(1) in html
                assert "</html>" in html  # Whole at any time.
                # Ctrl-C may come only when the page is there and told of.
                assert (
                    process.stdout.readline() == f"report: {out / report_page.PAGE}\n"
                )
        finally:
            process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert printed == f"no longer watching {folder}\n"
    assert "refresh" not in (out / report_page.PAGE).read_text()


def test_a_suite_without_fine_tuning_has_a_page(tmp_path):
    table = made_suite.suite(
        ("bc", "iql"), ("hopper-local",), (), seeds=2, evaluations=3
    )
    table.to_csv(tmp_path / "results.csv", index=False)
    report_page.write([tmp_path], tmp_path / "report", 50)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "without fine-tuning" in text
    assert re.search(r"\| bc +\| offline only +\| 2 ", text)
    assert re.search(r"\| iql +\| offline only +\| 2 ", text)


def test_watching_waits_for_results_and_ends_in_time(tmp_path, capsys):
    began = time.monotonic()
    assert (
        report_page.watch(tmp_path, tmp_path / "out", 10, every_s=0.1, limit_s=0.35)
        == 0
    )
    assert 0.2 < time.monotonic() - began < 5
    assert capsys.readouterr().out.startswith("waiting: There is no run in")
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with called_programs.running("report") as program:
        with pytest.raises(SystemExit, match=r"has no config\.json"):
            program.main(["report", str(tmp_path)])
        made_suite.rows().iloc[:0].to_csv(tmp_path / "results.csv", index=False)
        with pytest.raises(SystemExit, match="has no rows"):
            program.main(["report", str(tmp_path)])
        monkeypatch.setattr(program, "NEEDED", ("rliable", "no_such_package"))
        with pytest.raises(SystemExit, match=r"needs no_such_package.*\[report\]"):
            program.main(["report", str(tmp_path)])
    with (
        called_programs.running("report", watch=True) as program,
        pytest.raises(SystemExit, match="2 folders were named with --watch"),
    ):
        program.main(["report", str(tmp_path), str(tmp_path)])


@pytest.mark.parametrize("gains", [{"a": 20.0, "b": -20.0}, {"a": 1.0, "b": 2.0}])
def test_two_tasks_stand_apart(gains, tmp_path):
    rows = [
        made_suite.rows("awac", variant, dataset, seed, (30.0, 40.0 + seed + gain))
        for dataset, change in gains.items()
        for variant, gain in (("vanilla", 0.0), ("samg", change))
        for seed in range(5)
    ]
    frame = tidy_table.check(pd.concat(rows), "made")
    source, found = "locally collected", seed_outcomes.of(frame)
    (section,) = report_contents.across(source, frame, found, tmp_path, 20)
    assert not section.tables
    assert not section.pictures
    assert section.note == (
        "Fewer than 3 datasets with equal budgets give no pooled number (awac). Their "
        "sections above show each task by itself."
    )
    (paired,) = report_contents.by_seed(source, frame, found, tmp_path)
    cells = {row[0]: row[4] for row in paired.tables[0].rows}
    wins = {name: "5 of 5" if gain > 0 else "0 of 5" for name, gain in gains.items()}
    assert cells == wins
