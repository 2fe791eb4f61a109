"""Downloads against a server on this machine that misbehaves on request."""

import contextlib
import errno
import hashlib
import http.server
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error

import numpy as np
import pytest

import samg_jax
from samg_jax import checks
from samg_jax.data import d4rl, download, downloads

PAYLOAD = np.random.default_rng(0).bytes(200_003)
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
ROOT = pathlib.Path(samg_jax.__file__).parents[1]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.payload`; the attributes of the server say how badly."""

    def do_GET(self):
        server, payload = self.server, self.server.payload
        server.requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.end_headers()
            return
        self.send_response(200)
        if server.content_length:
            self.send_header("Content-Length", str(len(payload)))
        for index in range(server.extra_headers):
            self.send_header(f"X-{index}", "x" * server.extra_length)
        if server.drip_headers:
            self.flush_headers()
            while not server.released.wait(0.05):
                self.wfile.write(b"x")
        self.end_headers()
        time.sleep(server.delay)
        while server.drip and not server.released.wait(0.02):
            self.wfile.write(b"x")
        with contextlib.suppress(ConnectionError):
            self.wfile.write(payload[: server.stop_after])
            self.wfile.flush()
            server.released.wait(server.stall)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "CHUNK", 2**14)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.payload, server.requests = PAYLOAD, []
        server.content_length = True
        server.stop_after, server.delay, server.stall = None, 0.0, 0.0
        server.redirects, server.extra_headers, server.extra_length = {}, 0, 10
        server.drip = server.drip_headers = False
        server.released = threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/data.hdf5"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "data.hdf5"


def left(target):
    """What a failed download leaves: nothing but the lock."""
    return [path.name for path in target.parent.iterdir() if path.suffix != ".lock"]


def fetch(server, target, sha256=SHA256):
    return downloads.fetch(server.url, target, len(PAYLOAD), sha256)


def assert_complete(target):
    assert target.read_bytes() == PAYLOAD
    assert left(target) == [target.name]


def test_whole_file_arrives_and_is_not_fetched_twice(server, target):
    assert fetch(server, target) == target
    assert_complete(target)
    fetch(server, target)
    assert server.requests == ["/data.hdf5"]


def test_error_says_how_to_get_the_file_or_do_without(server, target):
    server.stop_after = 10
    with pytest.raises(downloads.DownloadError) as info:
        fetch(server, target)
    message = str(info.value)
    needed = [str(target), server.url, "curl", str(len(PAYLOAD)), SHA256]
    needed += ["IncompleteRead(10 bytes read", "the same command starts again"]
    needed += ["python -m samg_jax.collect --env=Hopper-v4 --level=medium --out=FILE"]
    needed += ["config.dataset.path=FILE config.env_id=Hopper-v4"]
    for text in needed:
        assert text in message


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_command_of_the_error_works(server, tmp_path):
    target = tmp_path / "new folder" / "data.hdf5"
    advice = downloads.advice(server.url, target, len(PAYLOAD), SHA256)
    (command,) = (x for x in advice.splitlines() if x.strip().startswith("curl"))
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert_complete(target)


def test_wrong_checksum_leaves_nothing(server, target):
    with pytest.raises(downloads.DownloadError, match=r"hash of .*does not match"):
        fetch(server, target, sha256="0" * 64)
    assert left(target) == []


@pytest.mark.parametrize(
    ("length", "said"),
    [(1000, "ended after 1000 of"), (len(PAYLOAD) + 1, "more than the 200003 bytes")],
)
def test_a_file_of_another_size_is_refused(server, target, length, said):
    server.payload = (b"<html>" * length)[:length]
    with pytest.raises(downloads.DownloadError, match=said):
        fetch(server, target)
    assert left(target) == []


@pytest.mark.parametrize("extra", [1, 10_000_000])
def test_a_body_without_length_stops_at_the_known_size(server, target, extra):
    server.content_length = False
    server.payload = PAYLOAD + bytes(extra)
    with pytest.raises(downloads.DownloadError, match=r"more than the 200003 bytes"):
        fetch(server, target)
    assert left(target) == []


@pytest.mark.parametrize("what", ["drip", "drip_headers"])
def test_a_server_that_drips_is_given_up(what, server, target, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.5)
    monkeypatch.setattr(downloads, "LEAST_RATE", 1e9)
    setattr(server, what, True)
    start = time.monotonic()
    with pytest.raises(downloads.DownloadError, match="not arrived after 1 seconds"):
        fetch(server, target)
    assert time.monotonic() - start < 4
    assert left(target) == []


@pytest.mark.parametrize(("count", "length"), [(200, 10), (1, 100_000)])
def test_huge_headers_are_an_error(server, target, count, length):
    server.extra_headers, server.extra_length = count, length
    with pytest.raises(downloads.DownloadError, match=r"more than \d+"):
        fetch(server, target)


@pytest.mark.parametrize(
    "goal", ["file:///etc/hosts", "ftp://127.0.0.1/x", "data:,x", "gopher://x/y"]
)
def test_redirects_lead_to_the_web_only(server, target, goal):
    server.redirects["/data.hdf5"] = goal
    with pytest.raises(downloads.DownloadError, match="No connection adapters"):
        fetch(server, target)
    assert left(target) == []


def test_redirects_within_the_web_are_followed_and_loops_are_not(server, target):
    server.redirects["/data.hdf5"] = "/elsewhere"
    fetch(server, target)
    assert_complete(target)
    server.redirects["/elsewhere"] = "/data.hdf5"
    with pytest.raises(downloads.DownloadError, match="Exceeded 30 redirects"):
        fetch(server, target.with_name("other"))


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://x/y", "/etc/hosts"])
def test_other_schemes_are_refused(target, url):
    with pytest.raises(downloads.DownloadError, match=r"Invalid URL|adapters"):
        downloads.fetch(url, target, 1, SHA256)
    assert left(target) == []


def test_a_disk_without_room_is_refused_before_anything_is_asked(
    server, target, monkeypatch
):
    usage = shutil.disk_usage(target.parent.parent)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage._replace(free=len(PAYLOAD) - 1)
    )
    with pytest.raises(checks.UserError, match=r"200,003 bytes are needed.*larger"):
        fetch(server, target)
    assert server.requests == []


def test_mirrors_are_tried_in_turn(server, target):
    lines = []
    wrong = server.url.replace("data.hdf5", "missing")
    server.stop_after = 70_000

    def log(line):
        lines.append(line)
        if "70000 bytes read" in line:
            server.stop_after = None

    addresses = [server.url, wrong, server.url + "?mirror"]
    downloads.fetch(wrong, target, len(PAYLOAD), SHA256, log, *addresses)
    assert_complete(target)
    assert server.requests == [
        "/missing",
        "/data.hdf5",
        "/missing",
        "/data.hdf5?mirror",
    ]
    assert [line.split(": ")[0] for line in lines] == [wrong, server.url, wrong]


BAD_ADDRESSES = [
    "http://[x/",
    "http://" + 300 * "a" + "/x",
    "http://\u00e9\u2603.../x",
    "http://\u00e9/\u2603",
    "http://a..b/x",
    "http://localhost:port/x",
    "http:///x",
    "ftp://localhost/x",
]


@pytest.mark.parametrize("bad", BAD_ADDRESSES)
def test_an_address_that_is_none_is_one_answer_of_several(bad, server, target):
    lines = []
    with pytest.raises(downloads.DownloadError, match="no address has it") as info:
        downloads.fetch(bad, target, len(PAYLOAD), SHA256, lines.append)
    assert str(info.value).startswith(f"Could not download {target.name}")
    assert left(target) == []
    downloads.fetch(bad, target, len(PAYLOAD), SHA256, lines.append, bad, server.url)
    assert_complete(target)
    assert len(lines) == 2
    assert all("trying the next address" in line for line in lines)


@pytest.mark.parametrize("bad", ["http://[x/", BAD_ADDRESSES[1], "http://a..b/x", ""])
def test_a_redirect_to_no_address_is_one_answer_of_several(bad, server, target):
    lines = []
    server.redirects["/moved"] = bad
    moved = server.url.replace("/data.hdf5", "/moved")
    with pytest.raises(downloads.DownloadError, match="no address has it"):
        downloads.fetch(moved, target, len(PAYLOAD), SHA256, lines.append)
    downloads.fetch(moved, target, len(PAYLOAD), SHA256, lines.append, server.url)
    assert_complete(target)
    assert len(lines) == 1


def test_what_each_mirror_answered_is_said(server, target):
    missing = server.url.replace("data.hdf5", "missing")
    server.payload = PAYLOAD[:-1] + b"!"
    with pytest.raises(downloads.DownloadError) as info:
        downloads.fetch(server.url, target, len(PAYLOAD), SHA256, str, missing)
    first = str(info.value).splitlines()[0]
    assert "no address has it" in first
    assert f"{server.url}: SHA256 hash of" in first
    assert f"{missing}: 404 Client Error" in first


def test_truncated_without_content_length_is_noticed(server, target):
    server.content_length = False
    server.stop_after = 1234
    with pytest.raises(downloads.DownloadError, match="ended after 1234 of 200003"):
        fetch(server, target)
    assert left(target) == []


@pytest.mark.parametrize("reason", ["\x1b[31mred", "a\x07\x9bbell", "tab\t\x00"])
def test_what_a_server_says_is_printed_escaped(reason):
    for error in (
        urllib.error.HTTPError("http://x", 500, reason, {}, None),
        urllib.error.URLError(reason),
        OSError(reason),
    ):
        assert downloads._reason(error).isprintable()


def test_404_is_an_error(server, target):
    server.url = server.url.replace("data.hdf5", "missing")
    with pytest.raises(downloads.DownloadError, match=r"404 .*Nothing was kept"):
        fetch(server, target)
    assert left(target) == []


def test_stalled_server_times_out(server, target, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    server.stop_after, server.stall = 100_000, 30.0
    start = time.monotonic()
    with pytest.raises(downloads.DownloadError, match=r"timed out"):
        fetch(server, target)
    assert time.monotonic() - start < 4
    assert left(target) == []


def test_no_server_is_an_error(target, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(downloads.DownloadError, match="Connection refused"):
        downloads.fetch(f"http://127.0.0.1:{port}/x", target, 1, SHA256)
    assert not target.exists()


def test_folder_that_cannot_be_made_is_an_error(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(downloads.DownloadError, match="expected at"):
        fetch(server, tmp_path / "file" / "data.hdf5")


# What another process runs; the arguments are url, target, size, digest, file limit.
PROGRAM = textwrap.dedent(
    """
    import pathlib, resource, sys
    from samg_jax.data import d4rl, download, downloads

    url, target, size, sha256, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        downloads.fetch(url, pathlib.Path(target), int(size), sha256)
    except downloads.DownloadError as error:
        sys.exit(str(error))
    """
)


def start_process(server, target, limit=0):
    arguments = [server.url, target, len(PAYLOAD), SHA256, limit]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_full_disk_leaves_nothing(server, target):
    process = start_process(server, target, limit=90_000)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert os.strerror(errno.EFBIG) in stderr
    assert "expected at" in stderr
    assert left(target) == []
    fetch(server, target)
    assert_complete(target)


def test_the_file_is_as_readable_as_any_other(server, target, tmp_path):
    (tmp_path / "plain").touch()
    modes = {
        path.stat().st_mode for path in (fetch(server, target), tmp_path / "plain")
    }
    assert len(modes) == 1


def test_processes_that_want_the_same_file_take_turns(server, target):
    server.delay = 1.5
    processes = [start_process(server, target) for _ in range(3)]
    outputs = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert_complete(target)
    assert server.requests == ["/data.hdf5"]
    assert any("waiting" in stdout for stdout, _ in outputs)


def test_a_program_fetches_ahead(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    file = d4rl.File("data.hdf5", len(PAYLOAD), SHA256)
    monkeypatch.setitem(d4rl.FILES, "hopper-medium-v2", file)
    monkeypatch.setattr(d4rl, "BASE_URL", server.url.removesuffix("data.hdf5"))
    download.main(["hopper-medium", "hopper-demo"])
    assert (tmp_path / "data.hdf5").read_bytes() == PAYLOAD
    said = capsys.readouterr().out
    assert f"hopper-medium-v2: {tmp_path / 'data.hdf5'}" in said
    (tmp_path / "data.hdf5").write_bytes(PAYLOAD[::-1])
    download.main(["hopper-medium"])
    assert "is not D4RL's file of hopper-medium-v2" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^error: .*Did you mean 'hopper-medium'"):
        download.main(["hopper-medum"])
    server.payload = PAYLOAD[:9]
    (tmp_path / "data.hdf5").unlink()
    monkeypatch.setattr(d4rl, "MIRRORS", ())
    with pytest.raises(SystemExit, match=r"^error: Could not download data"):
        download.main(["hopper-medium"])
