"""Any set of the Hugging Face hub, from a hub on the loopback interface that speaks as the real one does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_builders import encode, pictures

from ecofed.data import fetch, load_dataset
from ecofed.data.images import ANYHOW
from ecofed.data.reading import Reading
from ecofed.errors import DataError

CONVERTED = "refs/convert/parquet"


class Hub:
    """Repositories by name: branches, their files, and a card."""

    def __init__(self) -> None:
        self.branches: dict[tuple[str, str], dict[str, bytes]] = {}
        self.licences: dict[str, Any] = {}
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        place = unquote(urlsplit(path).path)
        for (name, branch), files in self.branches.items():
            if place == f"/api/datasets/{name}":
                card = {"license": self.licences[name]} if name in self.licences else {}
                return 200, json.dumps({"id": name, "sha": "0" * 40, "cardData": card}).encode()
            if place == f"/api/datasets/{name}/tree/{branch}":
                entries = [
                    {"type": "file", "path": file, "size": len(data), "oid": "0"} for file, data in files.items()
                ]
                return 200, json.dumps(entries).encode()
            for file, data in files.items():
                if place == f"/datasets/{name}/resolve/{branch}/{file}":
                    return 200, data
        return 404, b"{}"


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = hub.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 404:
                self.send_header("X-Error-Code", "RevisionNotFound" if "/tree/" in self.path else "RepoNotFound")
            else:
                self.send_header("ETag", f'"{len(content):040x}"')
                self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Hub()
    with serving(made) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield made


def shard(folder: Path, count: int, columns: dict[str, str] | None = None, *, told: bool = True) -> bytes:
    """A parquet file whose columns have these names: ``image``, ``label``, and perhaps others that hold numbers."""
    names = columns or {"image": "image", "label": "label"}
    cells = [{"bytes": encode(picture), "path": None} for picture in pictures(count)]
    arrays = {names["image"]: pa.array(cells), names["label"]: pa.array([n % 3 for n in range(count)], pa.int64())}
    arrays |= {
        name: pa.array(range(count), pa.int64()) for kind, name in names.items() if kind not in ("image", "label")
    }
    table = pa.table({name: array for name, array in arrays.items() if name in names.values()})
    if told:
        features = {names["image"]: {"_type": "Image"}}
        features[names["label"]] = {"_type": "ClassLabel", "names": ["ant", "bee", "cat"]}  # type: ignore[dict-item]
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, folder / "shard.parquet")
    return (folder / "shard.parquet").read_bytes()


def test_a_set_is_brought_once_with_its_licence_and_read_without_the_hub_ever_after(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.licences["someone/insects"] = "cc-by-4.0"
    hub.branches["someone/insects", CONVERTED] = {
        "default/train/0000.parquet": shard(tmp_path, 6),
        "default/train/0001.parquet": shard(tmp_path, 3),
        "default/test/0000.parquet": shard(tmp_path, 3),
        "default/validation/0000.parquet": shard(tmp_path, 2),
    }
    data = load_dataset("hf:someone/insects")
    assert data.title == "someone/insects (Hugging Face hub, licence: cc-by-4.0)"
    assert (len(data.train), data.test and len(data.test), data.place) == (9, 3, "hub")
    assert data.classes == ("ant", "bee", "cat")
    np.testing.assert_array_equal(data.train.images_NHWC, np.concatenate([pictures(6), pictures(3)]))
    assert not [path for path in hub.asked if "validation" in path]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.branches.clear()
    again = load_dataset("hf:someone/insects")
    assert (again.title, len(again.train)) == (data.title, 9)


def test_fetch_says_where_it_is_and_what_the_licence_is(hub: Hub, tmp_path: Path, isolated: Path) -> None:
    hub.branches["someone/insects", "main"] = {"data/train-00000-of-00001-0123abcd.parquet": shard(tmp_path, 4)}
    said: list[str] = []
    folder = fetch("hf:someone/insects", say=said.append)
    assert folder == isolated / "data" / "hf--someone--insects"
    assert said == [f"someone/insects (Hugging Face hub, licence: not stated): now in {folder}"]


def test_of_several_configurations_one_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.licences["a/b"] = ["mit", "<script>", 3]
    hub.branches["a/b", CONVERTED] = {
        "small/train/0000.parquet": shard(tmp_path, 4),
        "large/train/0000.parquet": shard(tmp_path, 8),
        "large/test/0000.parquet": shard(tmp_path, 2),
    }
    with pytest.raises(DataError, match="hf:a/b: has several configurations: large, small; name one: hf:a/b:large"):
        load_dataset("hf:a/b")
    with pytest.raises(DataError, match="hf:a/b: has no configuration 'tiny': large, small"):
        load_dataset("hf:a/b:tiny")
    assert (len(load_dataset("hf:a/b:small").train), len(load_dataset("hf:a/b:large").train)) == (4, 8)
    assert load_dataset("hf:a/b:small").title == "a/b (Hugging Face hub, licence: mit)"


def test_columns_are_found_by_what_the_hub_says_of_them_or_named(hub: Hub, tmp_path: Path) -> None:
    odd = {"image": "photo", "label": "species", "x": "age"}
    hub.branches["a/told", CONVERTED] = {"c/train/0000.parquet": shard(tmp_path, 5, odd)}
    hub.branches["a/bare", CONVERTED] = {"c/train/0000.parquet": shard(tmp_path, 5, odd, told=False)}
    assert load_dataset("hf:a/told").train.labels_N.tolist() == [0, 1, 2, 0, 1]
    with pytest.raises(DataError, match=r"no image column; data.image_column names it; .* found photo, species, age"):
        load_dataset("hf:a/bare")
    named = Reading(frame=ANYHOW.frame, image_column="photo", label_column="age")
    assert load_dataset("hf:a/bare", how=named).train.labels_N.tolist() == [0, 1, 2, 3, 4]
    other = Reading(frame=ANYHOW.frame, image_column="photo", label_column="species")
    assert load_dataset("hf:a/bare", how=other).train.labels_N.tolist() == [0, 1, 2, 0, 1]
    wrong = Reading(frame=ANYHOW.frame, image_column="photo", label_column="specie")
    with pytest.raises(DataError, match=r"no column 'specie' \(data.label_column\) \(did you mean 'species'\?\)"):
        load_dataset("hf:a/bare", how=wrong)


@pytest.mark.parametrize("name", ["hf:", "hf:alone", "hf:../../etc/passwd", "hf:a/b/c", "hf:a/b:..//x", "hf:a/ b"])
def test_what_is_no_name_of_a_set_is_refused(name: str, hub: Hub) -> None:
    with pytest.raises(DataError, match="write a set on the hub as hf:OWNER/NAME"):
        load_dataset(name)
    assert hub.asked == []


def test_a_hub_that_lacks_it_or_lies(hub: Hub, tmp_path: Path, isolated: Path) -> None:
    with pytest.raises(DataError, match=r"'hf:no/where' not found: the Hugging Face hub \(not reachable: .*") as caught:
        load_dataset("hf:no/where")
    assert "\n" not in str(caught.value)
    hub.branches["a/text", CONVERTED] = {"default/train/0000.csv": b"", "readme.md": b""}
    with pytest.raises(DataError, match="hf:a/text: the hub has no parquet files of it"):
        load_dataset("hf:a/text")
    hub.branches["a/cut", CONVERTED] = {"default/train/0000.parquet": shard(tmp_path, 4)[:-9]}
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet: "):
        load_dataset("hf:a/cut")
    assert [entry.name for entry in (isolated / "data").iterdir() if entry.name.startswith(".")] == []


def test_a_set_that_is_too_large_is_not_begun(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.branches["a/b", CONVERTED] = {"default/train/0000.parquet": shard(tmp_path, 4)}
    monkeypatch.setattr("ecofed.data.hub_sets.MOST_BYTES", 100)
    with pytest.raises(DataError, match=r"GB in 1 files, more than .* are not downloaded for you"):
        load_dataset("hf:a/b")
    assert not [path for path in hub.asked if "resolve" in path]
