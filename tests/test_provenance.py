"""What is said of the machine and of the code that was measured."""

import subprocess

from samg_jax import provenance


def git(folder, *command):
    named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *named, *command], cwd=folder, check=True)


def test_new_results_are_no_change_of_the_code_that_is_measured(tmp_path):
    assert provenance.commit_of(tmp_path) == "unknown"
    git(tmp_path, "init", "--quiet")
    results = tmp_path / "launch" / "results" / "benchmark.json"
    code = tmp_path / "package" / "module.py"
    for path in (results, code):
        path.parent.mkdir(parents=True)
        path.write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=first")
    clean = provenance.commit_of(code.parent)
    assert 7 <= len(clean) <= 40
    assert int(clean, 16)
    results.write_text("2\n")
    assert provenance.commit_of(code.parent) == clean
    code.write_text("2\n")
    assert provenance.commit_of(code.parent) == f"{clean}-dirty"
    git(tmp_path, "checkout", "--quiet", ".")
    assert provenance.commit_of(code.parent) == clean
    (tmp_path / "package" / "new.py").write_text("1\n")
    assert provenance.commit_of(code.parent) == f"{clean}-dirty"
