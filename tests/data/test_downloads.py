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
from samg_jax.data import downloads

PAYLOAD = np.random.default_rng(0).bytes(200_003)
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
ROOT = pathlib.Path(samg_jax.__file__).parents[1]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.payload`; the attributes of the server say how badly."""

    def do_GET(self):
        server, payload, start = self.server, self.server.payload, 0
        field = self.headers.get("Range")
        server.requests.append(field)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.end_headers()
            return
        if field and server.ranges:
            start = int(field.removeprefix("bytes=").removesuffix("-"))
            if start >= len(payload) or server.refuse_ranges:
                self.send_error(416)
                return
            self.send_response(206)
            last = len(payload) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(payload)}")
        else:
            self.send_response(200)
        if server.content_length:
            self.send_header("Content-Length", str(len(payload) - start))
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
            self.wfile.write(payload[start : server.stop_after])
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
        server.ranges, server.refuse_ranges, server.content_length = True, False, True
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


def part_of(target):
    return target.with_name(target.name + ".part")


def fetch(server, target, sha256=SHA256):
    return downloads.fetch(server.url, target, len(PAYLOAD), sha256)


def assert_complete(target):
    assert target.read_bytes() == PAYLOAD
    assert not part_of(target).exists()


def put_part(target, content):
    target.parent.mkdir(exist_ok=True)
    part_of(target).write_bytes(content)


def test_whole_file_arrives_and_is_not_fetched_twice(server, target):
    assert fetch(server, target) == target
    assert_complete(target)
    fetch(server, target)
    assert server.requests == [None]


def test_interrupted_download_is_kept_and_continued(server, target):
    server.stop_after = 70_000
    with pytest.raises(downloads.DownloadError, match="ended after 70000 of 200003"):
        fetch(server, target)
    assert not target.exists()
    assert part_of(target).read_bytes() == PAYLOAD[:70_000]
    server.stop_after = None
    fetch(server, target)
    assert_complete(target)
    assert server.requests == [None, "bytes=70000-"]


def test_error_says_how_to_get_the_file_or_do_without(server, target):
    server.stop_after = 10
    with pytest.raises(downloads.DownloadError) as info:
        fetch(server, target)
    message = str(info.value)
    needed = [str(target), server.url, "curl", str(len(PAYLOAD)), SHA256]
    needed += ["Kept 10 of 200003 bytes", "the same command continues"]
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


def test_server_without_ranges_restarts_from_zero(server, target):
    put_part(target, b"x" * 50_000)
    server.ranges = False
    fetch(server, target)
    assert_complete(target)


def test_server_that_refuses_the_range_restarts_from_zero(server, target):
    put_part(target, b"x" * 50_000)
    server.refuse_ranges = True
    fetch(server, target)
    assert_complete(target)
    assert server.requests == ["bytes=50000-", None]


def test_wrong_part_is_deleted_and_the_next_try_succeeds(server, target):
    put_part(target, b"x" * 50_000)
    with pytest.raises(downloads.DownloadError, match=r"wrong checksum.*deleted"):
        fetch(server, target)
    assert not target.exists()
    assert not part_of(target).exists()
    fetch(server, target)
    assert_complete(target)


def test_part_that_is_too_long_is_dropped(server, target):
    put_part(target, b"x" * (len(PAYLOAD) + 1))
    fetch(server, target)
    assert_complete(target)


def test_complete_part_needs_no_request(server, target):
    put_part(target, PAYLOAD)
    fetch(server, target)
    assert_complete(target)
    assert server.requests == []


def test_wrong_checksum_leaves_nothing(server, target):
    with pytest.raises(downloads.DownloadError, match="wrong checksum"):
        fetch(server, target, sha256="0" * 64)
    assert not target.exists()
    assert not part_of(target).exists()


@pytest.mark.parametrize("length", [1000, len(PAYLOAD) + 1])
def test_file_of_another_size_is_refused_before_it_is_stored(server, target, length):
    server.payload = b"<html>" * length
    server.payload = server.payload[:length]
    with pytest.raises(downloads.DownloadError, match=f"a file of {length} bytes"):
        fetch(server, target)
    assert not target.exists()
    assert not part_of(target).exists()


@pytest.mark.parametrize("extra", [1, 10_000_000])
def test_a_body_without_length_stops_at_the_known_size(server, target, extra):
    server.content_length = False
    server.payload = PAYLOAD + bytes(extra)
    with pytest.raises(downloads.DownloadError, match=r"more than the 200003 bytes"):
        fetch(server, target)
    assert not target.exists()
    assert not part_of(target).exists()


def test_a_server_that_drips_is_given_up(server, target, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.5)
    monkeypatch.setattr(downloads, "LEAST_RATE", 1e9)
    server.drip = True
    start = time.monotonic()
    with pytest.raises(
        downloads.DownloadError, match=r"only \d+ of 200003 bytes after"
    ):
        fetch(server, target)
    assert time.monotonic() - start < 4
    assert part_of(target).exists()


def test_headers_that_drip_are_given_up(server, target, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    server.drip_headers = True
    start = time.monotonic()
    with pytest.raises(downloads.DownloadError, match="no data for"):
        fetch(server, target)
    assert time.monotonic() - start < 4


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
    with pytest.raises(downloads.DownloadError, match=r"redirects to .*not to the web"):
        fetch(server, target)
    assert not target.exists()


def test_redirects_within_the_web_are_followed_and_loops_are_not(server, target):
    server.redirects["/data.hdf5"] = "/elsewhere"
    fetch(server, target)
    assert_complete(target)
    server.redirects["/elsewhere"] = "/data.hdf5"
    with pytest.raises(downloads.DownloadError, match="answered 302"):
        fetch(server, target.with_name("other"))


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://x/y", "/etc/hosts"])
def test_other_schemes_are_refused(target, url):
    with pytest.raises(downloads.DownloadError, match="only the schemes http and"):
        downloads.fetch(url, target, 1, SHA256)
    assert not target.parent.exists()


def test_a_disk_without_room_is_refused_before_anything_is_asked(
    server, target, monkeypatch
):
    usage = shutil.disk_usage(target.parent.parent)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage._replace(free=len(PAYLOAD) - 1)
    )
    with pytest.raises(downloads.DownloadError, match="200,003 bytes are needed"):
        fetch(server, target)
    assert server.requests == []


def test_mirrors_are_tried_in_turn_and_continue_each_other(server, target):
    lines = []
    wrong = server.url.replace("data.hdf5", "missing")
    server.stop_after = 70_000

    def log(line):
        lines.append(line)
        if "ended after 70000" in line:
            server.stop_after = None

    addresses = [server.url, wrong, server.url + "?mirror"]
    downloads.fetch(wrong, target, len(PAYLOAD), SHA256, log, *addresses)
    assert_complete(target)
    assert server.requests == [None, None, "bytes=70000-", "bytes=70000-"]
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
    with pytest.raises(downloads.DownloadError, match="Correct the address"):
        downloads.fetch(bad, target, len(PAYLOAD), SHA256, lines.append)
    assert not target.parent.exists()
    downloads.fetch(bad, target, len(PAYLOAD), SHA256, lines.append, bad, server.url)
    assert_complete(target)
    assert len(lines) == 2
    assert all("trying the next address" in line for line in lines)


@pytest.mark.parametrize("bad", ["http://[x/", BAD_ADDRESSES[1], "http://a..b/x", ""])
def test_a_redirect_to_no_address_is_one_answer_of_several(bad, server, target):
    lines = []
    server.redirects["/moved"] = bad
    moved = server.url.replace("/data.hdf5", "/moved")
    with pytest.raises(downloads.DownloadError, match=r"redirect|302"):
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
    assert "none of 2 addresses has it" in first
    assert f"{server.url}: wrong checksum" in first
    assert f"{missing}: the server answered 404" in first


def test_truncated_without_content_length_is_noticed(server, target):
    server.content_length = False
    server.stop_after = 1234
    with pytest.raises(downloads.DownloadError, match="ended after 1234 of 200003"):
        fetch(server, target)
    assert not target.exists()
    assert part_of(target).stat().st_size == 1234


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
    with pytest.raises(
        downloads.DownloadError, match=r"answered 404.*Nothing was kept"
    ):
        fetch(server, target)
    assert not target.exists()


def test_stalled_server_times_out(server, target, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    server.stop_after, server.stall = 100_000, 30.0
    start = time.monotonic()
    with pytest.raises(downloads.DownloadError, match=r"no data for 0\.3 seconds"):
        fetch(server, target)
    assert time.monotonic() - start < 4
    assert not target.exists()
    assert part_of(target).read_bytes() == PAYLOAD[: part_of(target).stat().st_size]


def test_no_server_is_an_error(target, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(downloads.DownloadError, match="no connection"):
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
    from samg_jax.data import downloads

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


def test_full_disk_keeps_the_part_and_can_be_continued(server, target):
    process = start_process(server, target, limit=90_000)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert os.strerror(errno.EFBIG) in stderr
    assert "expected at" in stderr
    assert not target.exists()
    assert part_of(target).read_bytes() == PAYLOAD[:90_000]
    fetch(server, target)
    assert_complete(target)


def test_processes_that_want_the_same_file_take_turns(server, target):
    server.delay = 1.5
    processes = [start_process(server, target) for _ in range(3)]
    outputs = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert_complete(target)
    assert server.requests == [None]
    assert any("waiting" in stdout for stdout, _ in outputs)
