"""scripts/download.py: mirrors, resumed downloads, and archives that must not be unpacked."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts import download
from scripts.archives import check, transfer, unpack
from scripts.archives import table as archives
from tests import warm

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "download.py"


def tgz(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def tar_with(member: tarfile.TarInfo) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("good.txt"), io.BytesIO())
        tar.addfile(member, io.BytesIO())
    return data.getvalue()


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


NOISE = random.Random(0).randbytes(40_000)  # does not compress: a cut falls within the data
GOOD = tgz({"corpus/train.de": b"eins\n" + NOISE, "corpus/train.en": b"one\n"})


class Server:
    """Serves bytes over HTTP; each path may misbehave in its own way."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.no_range: set[str] = set()
        self.cut_after: dict[str, list[int]] = {}  # bytes of each answer before it is cut
        self.hang = threading.Event()
        self.hanging: set[str] = set()
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, ranged = handler.path, handler.headers["Range"]
        self.requests.append((path, ranged))
        data = self.files.get(path)
        if data is None:
            handler.send_error(404)
            return
        start = int(ranged.removeprefix("bytes=").rstrip("-")) if ranged else 0
        if start and path not in self.no_range:
            if start >= len(data):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(data)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            last = len(data) - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{len(data)}")
            data = data[start:]
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        cuts = self.cut_after.get(path)
        handler.wfile.write(data[: cuts.pop(0)] if cuts else data)
        if path in self.hanging:
            handler.wfile.flush()
            self.hang.wait(30)

    def close(self) -> None:
        self.hang.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


class Place:
    """A table of one archive, a cache and a folder to unpack into."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.into, self.cache = home / "into", home / "cache"
        self.table = home / "table.json"
        monkeypatch.setenv("LRDROP_ARCHIVES", str(self.table))
        monkeypatch.setenv("no_proxy", "*")  # a proxy does not reach this machine's own server
        monkeypatch.setattr(transfer, "PAUSE", 0.0)

    def entry(self, *urls: str, file: str = "set/corpus.tgz", **facts: object) -> None:
        self.table.write_text(json.dumps({"corpus": {"file": file, "urls": urls, **facts}}))

    def run(self, *extra: str) -> int:
        arguments = ["--into", str(self.into), "--cache", str(self.cache), *extra, "corpus"]
        code: int = download.main(arguments)
        return code

    def cached(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.cache.rglob("*") if p.is_file()}

    def unpacked(self) -> dict[str, bytes]:
        return {
            str(p.relative_to(self.into)): p.read_bytes()
            for p in self.into.rglob("*")
            if p.is_file()
        }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def refused(place: Place, capsys: pytest.CaptureFixture[str], *extra: str) -> str:
    """Runs what must be refused; returns the message, having checked that nothing is unpacked."""
    assert place.run(*extra) == 1
    assert not place.into.exists() or not list(place.into.iterdir())
    return capsys.readouterr().err


def test_downloads_unpacks_and_takes_the_cache_afterwards(
    place: Place, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/corpus.tgz"] = GOOD
    digest = hashlib.sha256(GOOD).hexdigest()
    place.entry(f"{server.url}/corpus.tgz", size=len(GOOD), sha256=digest)
    assert place.run() == 0
    assert place.unpacked() == {
        "corpus/corpus/train.de": b"eins\n" + NOISE,
        "corpus/corpus/train.en": b"one\n",
    }
    assert place.cached() == {"corpus.tgz": GOOD}
    assert place.run() == 0  # nothing to do
    assert "is there already" in capsys.readouterr().err
    place.into = place.into.with_name("elsewhere")
    assert place.run() == 0
    assert len(place.unpacked()) == 2
    assert len(server.requests) == 1


def test_a_cut_connection_is_continued(place: Place, server: Server) -> None:
    server.files["/corpus.tgz"] = GOOD
    server.cut_after["/corpus.tgz"] = [10_000, 5_000]
    place.entry(f"{server.url}/corpus.tgz", md5=hashlib.md5(GOOD).hexdigest())
    assert place.run() == 0
    ranges = [ranged for _, ranged in server.requests]
    assert ranges == [None, "bytes=10000-", "bytes=15000-"]
    assert place.cached() == {"corpus.tgz": GOOD}


def test_a_server_without_ranges_starts_again(place: Place, server: Server) -> None:
    server.files["/corpus.tgz"] = GOOD
    server.no_range.add("/corpus.tgz")
    server.cut_after["/corpus.tgz"] = [10_000]
    place.entry(f"{server.url}/corpus.tgz")
    assert place.run() == 0
    assert [ranged for _, ranged in server.requests] == [None, "bytes=10000-"]
    assert place.cached()["corpus.tgz"] == GOOD


def test_a_dead_mirror_is_passed_over(
    place: Place, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/good"] = GOOD
    server.files["/other"] = GOOD + b"!"
    dead = "http://127.0.0.1:9/corpus.tgz"  # the discard port: refused at once
    mirrors = [dead, f"{server.url}/gone", f"{server.url}/other", f"{server.url}/good"]
    place.entry(*mirrors, size=len(GOOD))
    assert place.run() == 0
    assert place.cached()["corpus.tgz"] == GOOD
    messages = capsys.readouterr().err
    assert "refused; trying again in" in messages
    assert "/gone: HTTP 404 Not Found" in messages
    assert f"/other: this mirror's file has {len(GOOD) + 1:,} bytes, not {len(GOOD):,}" in messages


def test_no_mirror_lists_all_of_them(
    place: Place, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    place.entry(f"{server.url}/a", f"{server.url}/b")
    message = refused(place, capsys)
    assert "/a: HTTP 404" in message and "/b: HTTP 404" in message and "--from-dir" in message
    assert place.cached() == {}


def test_a_name_that_does_not_resolve_is_not_tried_again(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    place.entry("http://first.example/corpus.tgz", "http://second.example/corpus.tgz")
    message = refused(place, capsys)
    assert asked == ["first.example", "second.example"]
    assert "Name or service not known (is this machine without network?)" in message


def test_a_full_disk_is_not_tried_again(
    place: Place,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def receive(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.files["/corpus.tgz"] = GOOD
    place.entry(f"{server.url}/corpus.tgz")
    monkeypatch.setattr(transfer, "_receive", receive)
    message = refused(place, capsys)
    assert "corpus.tgz.part: [Errno 28] No space left on device" in message
    assert len(server.requests) == 1


@pytest.mark.parametrize("kept", [b"from another mirror", GOOD + b"longer than the file"])
def test_what_was_resumed_wrongly_is_downloaded_again(
    place: Place, server: Server, kept: bytes
) -> None:
    part = place.cache / "set" / "corpus.tgz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(kept)
    server.files["/corpus.tgz"] = GOOD
    place.entry(f"{server.url}/corpus.tgz", sha256=hashlib.sha256(GOOD).hexdigest())
    assert place.run() == 0
    assert place.cached() == {"corpus.tgz": GOOD}


def test_a_complete_part_needs_no_byte(place: Place, server: Server) -> None:
    part = place.cache / "set" / "corpus.tgz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(GOOD)
    server.files["/corpus.tgz"] = GOOD
    place.entry(f"{server.url}/corpus.tgz", sha256=hashlib.sha256(GOOD).hexdigest())
    assert place.run() == 0
    assert [ranged for _, ranged in server.requests] == [f"bytes={len(GOOD)}-"]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"size": len(GOOD) + 5}, "bytes, not"),
        ({"sha256": "0" * 64}, "is altered: its sha256 is"),
        ({"md5": "0" * 32}, "is altered: its md5 is"),
    ],
)
def test_another_file_is_refused(
    place: Place,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    facts: dict[str, object],
    message: str,
) -> None:
    server.files["/corpus.tgz"] = GOOD
    place.entry(f"{server.url}/corpus.tgz", **facts)
    assert message in refused(place, capsys)
    assert place.cached() == {}  # the next run starts afresh


def test_without_a_published_checksum_the_first_one_counts(
    place: Place, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/corpus.tgz"] = GOOD
    place.entry(f"{server.url}/corpus.tgz", size=None)
    assert place.run() == 0
    digest = hashlib.sha256(GOOD).hexdigest()
    assert digest in capsys.readouterr().err
    assert place.cached()["corpus.tgz.sha256"] == f"{digest}  corpus.tgz\n".encode()
    place.into = place.into.with_name("elsewhere")
    cached = place.cache / "set" / "corpus.tgz"
    cached.write_bytes(tgz({"other.txt": b"other"}))  # a sound archive, but another one
    message = refused(place, capsys)
    assert "is altered" in message and f"delete {cached}" in message
    cached.unlink()
    server.files["/corpus.tgz"] = tgz({"other.txt": b"other"})
    assert "kept in" in refused(place, capsys)


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("corpus.tgz", GOOD[:-4]),  # all data there, its checksum cut
        ("corpus.tgz", GOOD[: len(GOOD) // 2]),
        ("corpus.tgz", GOOD[:20_000] + b"\0\0\0\0" + GOOD[20_004:]),
        ("corpus.tar", gzip.decompress(GOOD)[:1024]),
        ("corpus.tar", gzip.decompress(GOOD).rstrip(b"\0")),
        ("corpus.zip", zipped({"a": NOISE})[:20_000]),
        ("corpus.zip", zipped({"a": NOISE}).replace(NOISE[:50], bytes(50))),
        ("corpus.txt.gz", gzip.compress(NOISE)[:-1]),
        ("corpus.tgz", b"<!DOCTYPE html><html>quota exceeded</html>"),
        ("corpus.tsv", b"<html>moved</html>"),
        ("corpus.parquet", b"PAR1" + NOISE),
        ("corpus.parquet", b"P"),
    ],
)
def test_a_damaged_archive_is_refused(
    place: Place,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: str,
    data: bytes,
) -> None:
    server.files["/x"] = data
    place.entry(f"{server.url}/x", file=file)
    reason = "is a web page" if data.startswith(b"<") else "is truncated or altered"
    assert reason in refused(place, capsys)
    assert place.cached() == {}
    # the same from a folder, where it stays
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / file).write_bytes(data)
    message = refused(place, capsys, "--from-dir", str(tmp_path / "files"))
    assert reason in message and str(tmp_path / "files" / file) in message
    assert (tmp_path / "files" / file).read_bytes() == data


ESCAPING = {
    "dots.tgz": (tgz({"a/../../evil": b"x"}), "a/../../evil"),
    "absolute.tgz": (tgz({"/tmp/evil": b"x"}), "/tmp/evil"),
    "symlink.tgz": (tar_with(link("out", tarfile.SYMTYPE, "../../etc")), "out"),
    "absolute-symlink.tgz": (tar_with(link("out", tarfile.SYMTYPE, "/etc/passwd")), "out"),
    "hardlink.tgz": (tar_with(link("out", tarfile.LNKTYPE, "../../evil")), "out"),
    "device.tgz": (tar_with(link("null", tarfile.CHRTYPE, "")), "null"),
    "dots.zip": (zipped({"good": b"x", "../evil": b"x"}), "../evil"),
    "absolute.zip": (zipped({"/tmp/evil": b"x"}), "/tmp/evil"),
    "backslash.zip": (zipped({"..\\evil": b"x"}), "..\\evil"),
    "drive.zip": (zipped({"C:/evil": b"x"}), "C:/evil"),
}


@pytest.mark.parametrize("file", ESCAPING)
def test_an_archive_that_reaches_out_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str
) -> None:
    data, member = ESCAPING[file]
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / file).write_bytes(data)
    # a checksum that agrees does not make it harmless
    place.entry("http://127.0.0.1:9/x", file=file, sha256=hashlib.sha256(data).hexdigest())
    message = refused(place, capsys, "--from-dir", str(tmp_path / "files"))
    assert member in message and file in message
    assert sorted(p.name for p in tmp_path.rglob("*evil*")) == []


def zip_with(field: int, byte: int) -> bytes:
    """A zip whose table of contents has another byte in that field of its only entry."""
    data = bytearray(zipped({"a": b"x"}))
    data[data.index(b"PK\x01\x02") + field] = byte
    return bytes(data)


def tar_with_path(path: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"path": path}
        tar.addfile(info)
    return data.getvalue()


@pytest.mark.parametrize(
    "file, data",
    [
        ("version.zip", zip_with(6, 255)),
        ("encrypted.zip", zip_with(8, 1)),
        ("method.zip", zip_with(10, 77)),
        ("name.zip", zipped({"ü": b"x"}).replace("ü".encode(), b"\xff\xff", 1)),
        ("zero.tar", tar_with_path("a\0b")),
    ],
)
def test_an_archive_with_altered_headers_is_refused(tmp_path: Path, file: str, data: bytes) -> None:
    """Python's libraries raise errors of all kinds for them."""
    archive = tmp_path / file
    archive.write_bytes(data)
    with pytest.raises(check.ArchiveError, match=f"{file} is truncated or altered"):
        unpack.unpack(archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("out")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(check.ArchiveError, match="out is a link"):
        unpack.unpack(tmp_path / "a.zip", tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_from_dir_takes_a_plain_folder_or_a_copied_cache(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place.entry("http://127.0.0.1:9/corpus.tgz")
    files = tmp_path / "files"
    files.mkdir()
    message = refused(place, capsys, "--from-dir", str(files))
    assert f"{files} holds no corpus.tgz, nor set/corpus.tgz (corpus)" in message
    assert "http://127.0.0.1:9" in message
    (files / "corpus.tgz").write_bytes(GOOD)
    assert place.run("--from-dir", str(files)) == 0
    place.into = place.into.with_name("elsewhere")
    (files / "set").mkdir()
    (files / "corpus.tgz").rename(files / "set" / "corpus.tgz")
    assert place.run("--from-dir", str(files)) == 0
    assert len(place.unpacked()) == 2
    assert place.cached() == {}


def test_other_kinds_of_files(place: Place, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for file, data, expected in [
        ("a.zip", zipped({"d/x.txt": b"x"}), {"d/x.txt": b"x"}),
        ("a.txt.gz", gzip.compress(b"text"), {"a.txt": b"text"}),
        ("a.tar", gzip.decompress(tgz({"y": b"y"})), {"y": b"y"}),
        ("a.json", b"{}", {"a.json": b"{}"}),
    ]:
        (files / file).write_bytes(data)
        place.into = tmp_path / f"into {file}"
        place.entry("http://127.0.0.1:9/a", file=file)
        assert place.run("--from-dir", str(files)) == 0
        assert place.unpacked() == {f"corpus/{name}": text for name, text in expected.items()}


def test_single_members_and_an_archive_within_an_archive(place: Place, tmp_path: Path) -> None:
    outer = tgz({"2014/es-en.tgz": GOOD, "2014/other.tgz": b"not looked at"})
    (tmp_path / "all.tgz").write_bytes(outer)
    place.entry("http://127.0.0.1:9/a", file="all.tgz", inner="2014/es-en.tgz")
    folder = download.provide("corpus", place.into, from_dir=tmp_path, only=["corpus/train.en"])
    assert folder == place.into / "corpus"
    assert place.unpacked() == {"corpus/corpus/train.en": b"one\n"}
    assert [p.name for p in place.into.iterdir()] == ["corpus"]
    with pytest.raises(check.ArchiveError, match="is there, but lacks corpus/train.de"):
        download.provide("corpus", place.into, only=["corpus/train.de"])
    with pytest.raises(check.ArchiveError, match="holds no train.fr"):
        unpack.unpack(tmp_path / "all.tgz", tmp_path / "x", only=["train.fr"])
    assert not (tmp_path / "x").exists()


def test_a_killed_download_leaves_a_part_and_goes_on(
    place: Place, server: Server, tmp_path: Path
) -> None:
    server.files["/corpus.tgz"] = GOOD
    server.cut_after["/corpus.tgz"] = [10_000]
    server.hanging.add("/corpus.tgz")
    place.entry(f"{server.url}/corpus.tgz")
    command = [sys.executable, str(SCRIPT), "--into", str(place.into), "corpus"]
    # Of a fork, the killed process would be the one that waits for it.
    environment = {**warm.own_process(), "LRDROP_CACHE": str(place.cache)}
    part = place.cache / "set" / "corpus.tgz.part"
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(place.cached()) == ["corpus.tgz.part"]
    assert not place.into.exists()
    kept = part.stat().st_size
    assert 0 < kept < len(GOOD)
    server.hang.set()
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert server.requests[-1] == ("/corpus.tgz", f"bytes={kept}-")
    assert len(place.unpacked()) == 2
    assert sorted(place.cached()) == ["corpus.tgz", "corpus.tgz.sha256"]


def test_a_killed_unpacking_leaves_nothing_that_counts(tmp_path: Path) -> None:
    (tmp_path / "corpus.tgz").write_bytes(GOOD)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f"corpus.partial.{os.uname().nodename}.{gone.pid}").mkdir()
    others = {
        f"corpus.partial.{os.uname().nodename}.{os.getppid()}",  # of a process that lives
        f"corpus.partial.elsewhere.{gone.pid}",  # of another machine on the same disk
    }
    for name in others:
        (tmp_path / name).mkdir()
    unpack.unpack(tmp_path / "corpus.tgz", tmp_path / "corpus")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"corpus", "corpus.tgz"} | others


def test_two_processes_download_once(place: Place, server: Server) -> None:
    server.files["/corpus.tgz"] = GOOD
    server.hanging.add("/corpus.tgz")
    server.cut_after["/corpus.tgz"] = [10_000]
    place.entry(f"{server.url}/corpus.tgz")
    command = [sys.executable, str(SCRIPT), "--cache", str(place.cache), "corpus", "--into"]
    both = []
    for name in ("first", "second"):
        into = str(place.into / name)
        both.append(subprocess.Popen([*command, into], stderr=subprocess.PIPE, text=True))
        if name == "first":
            deadline = time.monotonic() + 20
            while not server.requests and time.monotonic() < deadline:
                time.sleep(0.01)
    assert both[1].stderr is not None
    assert "waiting: another process" in both[1].stderr.readline()
    server.hang.set()
    for process in both:
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert [ranged for _, ranged in server.requests] == [None, "bytes=10000-"]
    assert len(place.unpacked()) == 4


def test_unknown_names_and_broken_tables(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.entry("http://127.0.0.1:9/x")
    assert download.main(["--into", str(place.into), "iwslt14-de-eng"]) == 1
    assert "iwslt14-de-en" in capsys.readouterr().err
    place.table.write_text('{"corpus": {"file": "x"}}')
    assert place.run() == 1
    assert f"{place.table} is no table of archives" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        download.main([])
    assert caught.value.code == 2


def test_the_table_of_this_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LRDROP_ARCHIVES", raising=False)
    table = archives.table()
    files: dict[str, Any] = {}
    for archive in table.values():
        assert archive.urls and all(url.startswith("http") for url in archive.urls)
        assert archive.source
        assert len(archive.sha256 or "0" * 64) == 64
        assert len(archive.md5 or "0" * 32) == 32
        # one file in the cache is one archive
        facts = (archive.urls, archive.size, archive.checksum)
        assert files.setdefault(archive.file, facts) == facts
    assert {"iwslt14-de-en", "wmt14-europarl", "glue-cola", "model-bart.base"} <= set(table)
