import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ecofed.config import registry
from ecofed.config.facts import Facts
from ecofed.config.schema import Config
from ecofed.reports.html import report_html, toml, write_report
from ecofed.reports.tables import html_table, rows
from ecofed.reports.theme import css_variables, styles
from ecofed.reports.words import differing_settings, floor_sentence, headline, key_figures, partition_sentence, warnings
from ecofed.results import Comparison, RunResult

Make = Callable[..., RunResult]
_VOID = {"meta", "br", "img", "hr", "link", "input"}


class Outline(HTMLParser):
    """Tags, attributes and visible text; fails where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def folder(five_methods: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of five methods, drawn once."""
    return write_report(five_methods, tmp_path_factory.mktemp("report")).parent


@pytest.fixture
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def page_of(result: Comparison | RunResult, folder: Path) -> str:
    return write_report(result, folder).read_text(encoding="utf-8")


def test_the_page_says_it_all(five_methods: Comparison, page: str, folder: Path) -> None:
    outline = Outline(page)
    for text in (
        headline(five_methods),
        "every image once (raw)",
        "ecofed compare quickstart",
        "892a92c1f4d1c0de5b0f4a1c9b1f2e3d4c5b6a79",
        "2.8.0",
        "gradients at the cut",
        "shipped: vgg11-tiny-imagenet",
        "partition = \"shards\"",
        "Debian package dataset-fashion-mnist",
    ):  # fmt: skip
        assert text in outline.text
    assert len([tag for tag, _ in outline.tags if tag == "svg"]) == 4
    assert len(list((folder / "plots").iterdir())) == 4


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    assert "http:" not in page
    assert "https:" not in page
    outline = Outline(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in outline.tags}
    for _, attributes in outline.tags:
        for name in ("src", "href", "xlink:href"):
            place = attributes.get(name)
            assert place is None or place.startswith(("#", "data:image/png;base64,"))
    assert not re.findall(r"url\((?!#)", page)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_both_themes_define_every_colour(page: str) -> None:
    used = set(re.findall(r"var\((--[\w-]+)\)", page))
    assert len(used) > 10
    light, dark = (set(re.findall(r"(--[\w-]+):", rules)) for rules in page.split("prefers-color-scheme: dark")[:2])
    assert used <= light
    assert used <= dark


@pytest.mark.plots
def test_hostile_text_stays_text(make: Make, tmp_path: Path) -> None:
    evil = "</style></script><script>alert('x')</script><img src=x onerror=alert(1)>"
    plain = make(rounds=2, classes=[evil, "b"], notes=[evil], round_notes={1: [evil]})
    values = plain.to_dict() | {"command": evil, "git_commit": evil, "method": evil, "front": {evil: evil}}
    values["environment"] = {evil: [evil]}
    values["data"]["name"] = values["data"]["source"] = values["data"]["floors"]["compressed_as"] = evil
    values["config"]["model"]["name"] = evil
    values["ledger"][evil] = {"uplink": 10, "downlink": 0}
    outline = Outline(page_of(RunResult.from_dict(values), tmp_path))
    assert not [tag for tag, attributes in outline.tags if tag in ("script", "img") or "onerror" in attributes]
    assert "alert('x')" in outline.text


def test_headlines(make: Make, five_methods: Comparison) -> None:
    ratio = five_methods.results[0].total_bytes / five_methods.results[4].total_bytes
    assert (
        headline(five_methods) == f"ecofed reached 0.84 accuracy with {ratio:.0f}x fewer bytes than classic-fl (0.77)"
    )
    classic = make("classic-fl")
    better = replace(classic, totals=replace(classic.totals, final_test_accuracy=0.95))
    worse = Comparison(results=[better, make("ecofed")])
    assert re.fullmatch(
        r"ecofed ended 0\.\d\d below classic-fl \(0\.\d\d, 0\.95\), with \d+x fewer bytes than it", headline(worse)
    )
    assert "to reach classic-fl's accuracy" not in [card.name for card in key_figures(worse)]
    assert re.fullmatch(r"ecofed reached 0\.\d\d accuracy and moved [\d.]+ MB", headline(make()))
    rivals = Comparison(results=[make("classic-fl"), make("lgl")])
    assert "classic-fl reached the best accuracy, 0.77; lgl moved the fewest bytes" in headline(rivals)
    alone = Comparison(results=[make("vanilla-dpfl"), make("ecofed")])
    assert headline(alone).startswith("ecofed reached the best accuracy, 0.84, with the fewest bytes")


def test_the_floor_is_told_whoever_wins(make: Make) -> None:
    assert "Sending every image once (PNG) would take 3.07 MB; ecofed moved" in floor_sentence(make())
    assert "x that" in floor_sentence(make())
    assert "less than that" in floor_sentence(make(rounds=1, devices=100))


def test_key_figures(five_methods: Comparison, make: Make) -> None:
    names = [card.name for card in key_figures(five_methods)]
    assert names[-2:] == ["bytes than classic-fl", "to reach classic-fl's accuracy"]
    assert [card.name for card in key_figures(make("lgl"))][-1] == "wall time"


def test_warnings(make: Make, five_methods: Comparison) -> None:
    assert warnings(five_methods) == []
    told = Comparison(
        results=[make(m, notes=["digits stood in for Fashion-MNIST"]) for m in ("classic-fl", "ecofed")],
        notes=["stopped early"],
    )
    assert warnings(told) == ["stopped early", "digits stood in for Fashion-MNIST"]
    failed = make("lgl", round_notes={number: [f"device {number} failed"] for number in range(1, 21)})
    lines = warnings(failed)
    assert lines[0] == "lgl: round 1: device 1 failed"
    assert lines[-1] == "lgl: ... and 8 more notes in result.json"
    unlike = Comparison(results=[make(), make("lgl", devices=30)])
    assert "did not use the same data" in warnings(unlike)[0]


@pytest.mark.parametrize("partition", ["iid", "shards", "dirichlet", "quantity"])
def test_partition_sentence(make: Make, partition: str) -> None:
    sentence = partition_sentence(make(data__partition=partition))
    assert "6,000 training images of 10 classes" in sentence
    assert "None" not in sentence


def test_settings_that_differ_are_shown(make: Make) -> None:
    tuned = Comparison(results=[make("classic-fl", learning_rate=0.03), make("ecofed")])
    assert differing_settings(tuned) == [("learning_rate", ["0.03", "0.01"])]


def test_the_printed_configuration_can_be_read_back(make: Make) -> None:
    result = make(data__name='odd "name" \x7f ü\\')
    assert Config.from_dict(tomllib.loads(toml(result.config))).to_dict() == result.config


@pytest.mark.plots
def test_several_seeds_and_a_clock(three_seeds: Comparison, tmp_path: Path) -> None:
    text = Outline(page_of(three_seeds, tmp_path)).text
    assert "ecofed (3 seeds)" in text
    assert "Accuracy against simulated time" in text
    assert "0, 1, 2" in text


def test_what_a_device_or_a_data_set_says_is_shown_and_not_obeyed(make: Make) -> None:
    result = make(
        classes=["cat\x1b[2J", "dog\u202egod", "owl"],
        notes=["device 3: \x9b31m<b>\nred"],
        data__name="pictures\u202e\x07",
    )
    page = report_html(result, [])
    assert page.replace("\n", "").isprintable()
    assert r"device 3: \x9b31m&lt;b&gt; red" in page
    assert r"pictures\u202e\u0007" in page  # in the configuration, which is TOML


def test_a_method_tells_reports_what_leaves_and_how_it_is_drawn(make: Make) -> None:
    """The facts of whoever runs; a name that only begins like ecofed's is not taken for it."""
    with registry.only_here():

        @registry.register
        class Sends(Facts):
            name = "ecofed-photos"
            images_leave_device = True
            colour, dark_colour, marker = "#123456", "#abcdef", "*"

        sends = replace(make("lgl"), method=Sends.name)
        joined = Comparison(results=[sends, make("classic-fl")], command="")
        assert [row.leaves_device for row in rows(joined)] == ["images too", "no", "images too", "images too"]
        assert "<tr class='method'><th scope='row'>ecofed-photos" in html_table(joined)
        assert floor_sentence(sends).endswith(" that.")
        style = styles(joined.groups())[Sends.name]
        assert (style.colour, style.marker) == (Sends.colour, Sends.marker)
        assert "--c123456:#abcdef;" in css_variables(dark=True)
    assert "#abcdef" not in css_variables(dark=True)
    assert rows(joined)[0].leaves_device == "yes"  # of a method that nobody knows any more: what its run recorded
    assert floor_sentence(make("lgl")).endswith("its images never left the devices.")
