"""Where a data set is found, the cache of decoded arrays, the hub, and fetching."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from data_builders import pictures, write_idx, write_parquet
from PIL import Image

from ecofed.config.problem import DataConfig
from ecofed.data import digits, fetch, fetching, hub, known, list_datasets, load_dataset, places, require_test
from ecofed.data.known import CIFAR10
from ecofed.data.places import cure
from ecofed.errors import ConfigError, DataError, MissingExtraError
from ecofed.errors.installation import install_command


def write_mnist(folder: Path, seed: int = 0) -> np.ndarray:
    images = pictures(10, side=28, channels=1, seed=seed)
    write_idx(folder, "train", images[..., 0], np.arange(10))
    write_idx(folder, "t10k", images[:5, ..., 0], np.arange(5))
    return images


class TestPlaces:
    def test_order(self, tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = dataclasses.replace(known.KNOWN["mnist"], system_folder=str(tmp_path / "system"))
        monkeypatch.setitem(known.KNOWN, "mnist", entry)
        monkeypatch.setenv("ECOFED_DATA", str(tmp_path / "own"))
        folders = {
            "system": tmp_path / "system",
            "cache": isolated / "data" / "mnist",
            "$ECOFED_DATA": tmp_path / "own" / "mnist",
        }
        for seed, (place, folder) in enumerate(folders.items()):
            images = write_mnist(folder, seed)
            data = load_dataset("mnist")
            assert data.place == place
            assert data.name == "mnist"
            np.testing.assert_array_equal(data.train.images_NHWC, images)

    def test_any_name_in_ecofed_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ECOFED_DATA", str(tmp_path))
        write_parquet(tmp_path / "birds" / "train.parquet", pictures(2), [0, 1])
        data = load_dataset("birds")
        assert (data.name, data.place, data.flip) == ("birds", "$ECOFED_DATA", True)

    def test_a_known_name_is_not_a_folder_of_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write_mnist(tmp_path / "mnist")
        with pytest.raises(DataError, match="not found"):
            load_dataset("mnist")
        assert load_dataset("./mnist").place == "path"
        write_mnist(tmp_path / "my-mnist")
        assert load_dataset("my-mnist").place == "path"

    def test_a_missing_set_names_every_place_and_the_command(self, isolated: Path) -> None:
        with pytest.raises(DataError) as caught:
            load_dataset("cifar10")
        assert str(caught.value) == (
            f"data set 'cifar10' not found: looked in $ECOFED_DATA (not set), {isolated}/data/cifar10, "
            "the Hugging Face hub (HF_HUB_OFFLINE is set); get it with: ecofed data fetch cifar10; "
            "on this machine: digits (data.name)"
        )

    def test_a_missing_set_whose_stand_in_is_missing_too_names_both_cures_and_what_is_here(
        self, isolated: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(places, "find_spec", lambda _: None)
        write_mnist(isolated / "data" / "mnist")
        with pytest.raises(DataError) as caught:
            load_dataset("fashion-mnist", fallback="digits")
        told = str(caught.value)
        assert told.startswith("data set 'fashion-mnist' not found: looked in $ECOFED_DATA (not set), ")
        assert "; get it with: ecofed data fetch fashion-mnist; on this machine: mnist (data.name); " in told
        assert told.endswith(f"its stand-in 'digits' (data.fallback) is not here either: {cure('digits')}")
        assert install_command("digits") in cure("digits")

    def test_a_machine_without_any_set_lists_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(places, "find_spec", lambda _: None)
        with pytest.raises(DataError, match=r"get it with: ecofed data fetch mnist$"):
            load_dataset("mnist")

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        with pytest.raises(DataError, match=r"say --set data.name=FOLDER.*; known names are .*did you mean 'cifar10'"):
            load_dataset("cifer10")

    def test_no_name_and_names_of_any_length(self) -> None:
        for name in ("", " "):
            with pytest.raises(DataError, match=r"data\.name = '': names no data set"):
                load_dataset(name, fallback="digits")
            with pytest.raises(ConfigError, match=r"data\.name = '.*': must name a data set"):
                DataConfig(name=name)
        with pytest.raises(DataError, match=r"data set 'a+ \.\.\. a+' not found"):
            load_dataset("a" * 300)
        with pytest.raises(DataError, match=r"data\.name = '\./a+ \.\.\. a+': no such file or folder"):
            load_dataset("./" + "a" * 5000)

    @pytest.mark.parametrize(
        ("names", "title"),
        [
            ([f"c{number}" for number in range(10)], "cifar10"),
            (list(CIFAR10), "CIFAR-10"),
            (["Airplane", "car", *CIFAR10[2:]], "CIFAR-10"),
            ([str(number) for number in range(10)], "CIFAR-10"),
        ],
    )
    def test_a_folder_called_like_a_known_set_is_one_by_its_classes(
        self, names: list[str], title: str, tmp_path: Path
    ) -> None:
        for name in names:
            (tmp_path / "cifar10" / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "cifar10" / name / f"{number}.png")
        assert load_dataset(str(tmp_path / "cifar10"), note=lambda _: None).title == title

    def test_labels_outside_a_known_set(self, isolated: Path) -> None:
        images = pictures(2, side=28, channels=1)[..., 0]
        write_idx(isolated / "data" / "mnist", "train", images, np.array([0, 10]))
        with pytest.raises(DataError, match=r"data set 'mnist': its labels are 0..10, expected 0..9"):
            load_dataset("mnist")

    def test_fallback_only_for_a_missing_set(self, isolated: Path) -> None:
        write_mnist(isolated / "data" / "mnist")
        assert load_dataset("cifar10", fallback="mnist").name == "mnist"
        write_parquet(isolated / "data" / "cifar10" / "train.parquet", pictures(1), [0], columns=("what", "label"))
        with pytest.raises(DataError, match="no image column"):
            load_dataset("cifar10", fallback="mnist")
        with pytest.raises(DataError, match="'cifar100' not found"):
            load_dataset("cifar100", fallback="cifar100")

    def test_list(self, isolated: Path) -> None:
        write_mnist(isolated / "data" / "mnist")
        listed = {name: place for name, _, place in list_datasets()}
        assert listed == {
            "fashion-mnist": None,
            "mnist": "cache",
            "cifar10": None,
            "cifar100": None,
            "tiny-imagenet-32": None,
            "digits": "package",
        }


class TestDigits:
    def test_digits_are_made_once_and_nobody_can_change_them(self) -> None:
        first, again = load_dataset("digits"), load_dataset("digits")
        assert first.test is not None
        assert first.compressed_bytes_N is not None
        assert np.shares_memory(first.train.images_NHWC, again.train.images_NHWC)
        for array in (first.train.images_NHWC, first.test.labels_N, first.compressed_bytes_N):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    @pytest.mark.ci
    def test_digits_are_the_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from sklearn.datasets import load_digits

        table, source = digits._table(), load_digits()
        assert (table == np.column_stack([source.data, source.target])).all()
        monkeypatch.setattr(digits, "find_spec", lambda _: None)  # a version that keeps its file elsewhere
        assert (digits._table() == table).all()
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(MissingExtraError, match="scikit-learn"):
            digits._table()

    def test_digits(self) -> None:
        data = load_dataset("digits")
        assert data.train.images_NHWC.shape == (1437, 32, 32, 1)
        assert require_test(data).images_NHWC.shape == (360, 32, 32, 1)
        assert np.bincount(data.train.labels_N).min() > 100
        assert data.train.images_NHWC.max() == 255
        assert not data.flip
        assert data.place == "package"
        np.testing.assert_array_equal(load_dataset("digits").train.images_NHWC, data.train.images_NHWC)

    def test_without_scikit_learn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(places, "find_spec", lambda _: None)
        with pytest.raises(DataError) as caught:
            load_dataset("digits")
        assert f"scikit-learn (not installed); get it with: {install_command('digits')}" in str(caught.value)


class TestDecodedCache:
    def entries(self, cache: Path) -> list[Path]:
        return sorted((cache / "decoded").iterdir())

    def test_second_time_comes_from_the_cache(
        self, tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_parquet(tmp_path / "set" / "train.parquet", pictures(3), [4, 5, 4], kind="JPEG")
        write_parquet(tmp_path / "set" / "test.parquet", pictures(1), [5], kind="JPEG")
        first = load_dataset(str(tmp_path / "set"))
        monkeypatch.setattr("ecofed.data.formats.parquet.decode", None)
        second = load_dataset(str(tmp_path / "set"))
        np.testing.assert_array_equal(first.train.images_NHWC, second.train.images_NHWC)
        np.testing.assert_array_equal(require_test(first).labels_N, require_test(second).labels_N)
        assert (second.classes, second.compressed_as) == (("4", "5"), "JPEG")
        assert second.shared_header_bytes == first.shared_header_bytes > 0
        assert len(self.entries(isolated)) == 1

    @pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really", None])
    def test_a_damaged_entry_is_rebuilt(self, tmp_path: Path, isolated: Path, damage: bytes | None) -> None:
        images = pictures(3)
        write_parquet(tmp_path / "train.parquet", images, [0, 1, 2])
        load_dataset(str(tmp_path))
        (entry,) = self.entries(isolated)
        content = bytearray(entry.read_bytes())
        # One flipped bit in the middle of the pixels.
        content[len(content) // 2] ^= 1
        entry.write_bytes(content if damage is None else damage)
        np.testing.assert_array_equal(load_dataset(str(tmp_path)).train.images_NHWC, images)
        assert len(entry.read_bytes()) == len(content)

    @pytest.mark.parametrize(
        ("mark", "at"),
        [(b"train_names", 6), (b"PK\x01\x02", 8), (b"PK\x01\x02", 10), (b"), }", 0)],
        ids=["a name", "said to be encrypted", "another compression", "a bracket"],
    )
    def test_an_entry_whose_parts_have_other_names_or_kinds_is_rebuilt(
        self, tmp_path: Path, isolated: Path, mark: bytes, at: int
    ) -> None:
        for name in ("cat", "dog"):
            (tmp_path / "set" / "train" / name).mkdir(parents=True)
            Image.fromarray(pictures(1)[0]).save(tmp_path / "set" / "train" / name / "1.png")
        load_dataset(str(tmp_path / "set"))
        (entry,) = self.entries(isolated)
        whole = bytearray(entry.read_bytes())
        whole[whole.rindex(mark) + at] ^= 1
        entry.write_bytes(whole)
        assert load_dataset(str(tmp_path / "set")).classes == ("cat", "dog")
        assert entry.read_bytes() != whole

    def test_what_a_killed_process_left_in_the_cache_goes_after_a_day(self, tmp_path: Path, isolated: Path) -> None:
        (isolated / "decoded").mkdir(parents=True)
        old, new = (isolated / "decoded" / f".of-a-set.npz.{digit * 16}.tmp" for digit in "01")
        old.write_bytes(b"half")
        new.write_bytes(b"being written")
        os.utime(old, (1e9, 1e9))
        write_parquet(tmp_path / "train.parquet", pictures(2), [0, 1])
        load_dataset(str(tmp_path))
        assert not old.exists()
        assert new.exists()

    def test_a_changed_file_replaces_its_entry(self, tmp_path: Path, isolated: Path) -> None:
        for seed in range(3):
            images = pictures(3, seed=seed)
            write_parquet(tmp_path / "train.parquet", images, [0, 1, 2])
            os.utime(tmp_path / "train.parquet", ns=(seed, seed))
            np.testing.assert_array_equal(load_dataset(str(tmp_path)).train.images_NHWC, images)
        assert len(self.entries(isolated)) == 1

    def test_a_cache_that_cannot_be_written_does_not_matter(self, tmp_path: Path, isolated: Path) -> None:
        isolated.parent.mkdir(parents=True)
        isolated.write_text("a file where the folder would be")
        write_parquet(tmp_path / "train.parquet", pictures(2), [0, 1])
        assert len(load_dataset(str(tmp_path)).train) == 2


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[str]:
    """A hub on the loopback interface: paths to contents; anything else is 404. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            if content is not None:
                self.send_header("ETag", f'"{len(content):040x}"')
                self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

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
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client may use the network (of which there is only loopback)."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def hub_files(folder: Path) -> dict[str, bytes]:
    """What the hub serves for CIFAR-10, tiny."""
    files = {}
    for part, count in (("train", 10), ("test", 3)):
        write_parquet(folder / f"{part}.parquet", pictures(count), list(range(count)))
        path = f"/datasets/uoft-cs/cifar10/resolve/main/plain_text/{part}-00000-of-00001.parquet"
        files[path] = (folder / f"{part}.parquet").read_bytes()
    return files


@pytest.mark.usefixtures("online")
class TestHub:
    def test_load_from_the_hub_then_without_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(hub_files(tmp_path)) as address:
            monkeypatch.setenv("HF_ENDPOINT", address)
            data = load_dataset("cifar10")
        assert (data.name, data.title, data.place) == ("cifar10", "CIFAR-10", "hub")
        np.testing.assert_array_equal(data.train.images_NHWC, pictures(10))
        # The server is gone; the client's own cache answers.
        assert load_dataset("cifar10").place == "hub"
        assert {name: place for name, _, place in list_datasets()}["cifar10"] == "hub"

    def test_fetch_copies_into_the_users_cache(
        self, tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        with serving(hub_files(tmp_path)) as address:
            monkeypatch.setenv("HF_ENDPOINT", address)
            monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
            folder = fetch("cifar10", say=said.append)
        assert folder == isolated / "data" / "cifar10"
        assert "from the Hugging Face hub" in said[-1]
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "another"))
        assert load_dataset("cifar10").place == "cache"
        assert fetch("cifar10", say=said.append) == folder
        assert "already here (cache)" in said[-1]
        assert [entry.name for entry in folder.parent.iterdir()] == ["cifar10"]

    def test_a_hub_that_refuses_or_is_gone(self, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving({}) as address:
            monkeypatch.setenv("HF_ENDPOINT", address)
            with pytest.raises(DataError, match=r"the Hugging Face hub \(not reachable: .*404") as caught:
                load_dataset("cifar10")
            assert "\n" not in str(caught.value)
        with pytest.raises(DataError, match="CIFAR-10 could not be fetched: the Hugging Face hub"):
            fetch("cifar10", say=lambda _: None)
        assert list((isolated / "data").iterdir()) == []

    def test_a_hub_that_never_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def no_answer(repository: str, _: str) -> None:
            asked.append(repository)
            time.sleep(5)

        monkeypatch.setattr(hub, "_silent", {})
        monkeypatch.setattr(hub, "PROBE_SECONDS", 0.2)
        monkeypatch.setattr(hub, "_probe", no_answer)
        started = time.monotonic()
        with pytest.raises(DataError, match="no answer within"):
            load_dataset("cifar10")
        for name in ("cifar10", "cifar100", "mnist"):  # as each method of a comparison does
            with pytest.raises(DataError, match="not reachable: it gave no answer before"):
                load_dataset(name)
        assert asked == ["uoft-cs/cifar10"]
        with pytest.raises(DataError, match="no answer within"):  # who asks for it by name is answered anew
            fetch("mnist", say=lambda _: None)
        assert time.monotonic() - started < 4


class TestFetch:
    def test_debian_package(self, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        commands: list[list[str]] = []

        def command(arguments: list[str], folder: Path, _: float) -> str:
            commands.append(arguments)
            if arguments[-2] == "download":
                (folder / f"{arguments[-1]}_1_all.deb").write_bytes(b"deb")
            if arguments[0] == "dpkg-deb":
                write_mnist(Path(arguments[-1]) / "usr/share/datasets/fashion-mnist")
            return ""

        monkeypatch.setattr(fetching.shutil, "which", lambda name: name)
        monkeypatch.setattr(fetching, "_command", command)
        assert fetch("fashion-mnist", say=lambda _: None) == isolated / "data" / "fashion-mnist"
        assert load_dataset("fashion-mnist").place == "cache"
        assert [arguments[0] for arguments in commands] == ["apt-get", "apt-get", "dpkg-deb"]
        state = next(part for part in commands[0] if part.startswith("Dir::State="))
        assert str(isolated) in state

    def test_a_damaged_copy_in_the_cache_is_replaced(self, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = isolated / "data" / "fashion-mnist"
        write_mnist(folder)
        (folder / "train-images-idx3-ubyte.gz").write_bytes(b"half a download")
        said: list[str] = []

        def from_debian(_package: str, _work: Path, staged: Path, _say: object) -> str:
            write_mnist(staged)
            return ""

        monkeypatch.setattr(fetching, "_from_debian", from_debian)
        assert fetch("fashion-mnist", say=said.append) == folder
        assert "replacing what the cache holds" in said[0]
        assert len(load_dataset("fashion-mnist").train) == 10

    def test_every_failure_is_in_the_message(self, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fetching.shutil, "which", lambda _: None)
        with pytest.raises(DataError) as caught:
            fetch("fashion-mnist", say=lambda _: None)
        assert str(caught.value) == (
            "Fashion-MNIST could not be fetched: Debian's package dataset-fashion-mnist "
            "(apt-get and dpkg-deb are not on this machine); the Hugging Face hub (HF_HUB_OFFLINE is set); "
            "or put its files in $ECOFED_DATA/fashion-mnist/"
        )
        assert list((isolated / "data").iterdir()) == []

    def test_what_a_package_brings_is_there(self) -> None:
        said: list[str] = []
        assert fetch("digits", say=said.append) is None
        assert "nothing to fetch" in said[0]

    def test_what_cannot_be_fetched(self) -> None:
        with pytest.raises(DataError, match=r"unknown data set 'cifar'.*did you mean 'cifar10'"):
            fetch("cifar")
        with pytest.raises(DataError, match=r"put its train\.parquet in"):
            fetch("tiny-imagenet-32")

    @pytest.mark.parametrize(
        ("command", "reason"),
        [
            (["sh", "-c", "echo 'E: no such package' >&2; exit 100"], "E: no such package"),
            (["sh", "-c", "exit 3"], "exit code 3"),
            (["sleep", "10"], "did not finish within"),
            (["no-such-command-anywhere"], "could not be started"),
            (["true"], ""),
        ],
    )
    def test_commands_fail_in_one_line(self, tmp_path: Path, command: list[str], reason: str) -> None:
        assert reason in fetching._command(command, tmp_path, 0.5)
        assert "\n" not in fetching._command(command, tmp_path, 0.5)


def test_missing_pyarrow_names_its_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "train.parquet", pictures(1), [0])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("train"))):
        load_dataset(str(tmp_path))
