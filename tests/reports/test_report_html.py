import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ecofed.cli.output import print_results
from ecofed.config import registry
from ecofed.config.facts import Facts
from ecofed.config.schema import Config
from ecofed.reports import live
from ecofed.reports.headline import chance, headline, labels_sentence
from ecofed.reports.html import report_html, write_report
from ecofed.reports.sections import toml
from ecofed.reports.tables import FIRST_SHOWN, html_table, rows
from ecofed.reports.theme import css_variables, styles
from ecofed.reports.units import rough
from ecofed.reports.words import differing_settings, floor_sentence, key_figures, partition_sentence, warnings
from ecofed.results import Comparison, RunResult
from ecofed.results.scores import RunScores

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


def only_our_script(page: str) -> None:
    """One script, whose hash the page's policy names, and data that no browser executes."""
    scripts = [attributes for tag, attributes in Outline(page).tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "figures"}, {}]
    assert page.endswith(f"<script>{live.script()}</script></body></html>\n")
    digest = base64.b64encode(hashlib.sha256(live.script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in page


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
    assert len([tag for tag, _ in outline.tags if tag == "svg"]) == 5
    assert len(list((folder / "plots").iterdir())) == 5


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    assert page.count("http:") == page.count('"http://www.w3.org/2000/svg"') == 1  # a name, which nobody looks up
    assert "https:" not in page
    outline = Outline(page)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in outline.tags}
    only_our_script(page)
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
    assert not [tag for tag, attributes in outline.tags if tag == "img" or "onerror" in attributes]
    only_our_script((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "alert('x')" in outline.text


def test_headlines(make: Make, five_methods: Comparison) -> None:
    ratio = five_methods.results[0].total_bytes / five_methods.results[4].total_bytes
    assert (
        headline(five_methods)
        == f"ecofed reached 0.84 accuracy with {ratio:.0f}x fewer bytes than classic-fl (0.77); labels left the devices"
    )
    classic = make("classic-fl")
    better = replace(classic, totals=replace(classic.totals, final_test_accuracy=0.95))
    worse = Comparison(results=[better, make("ecofed")])
    assert re.fullmatch(
        r"ecofed ended 0\.\d\d below classic-fl \(0\.\d\d, 0\.95\), with \d+x fewer bytes than it; labels left .*",
        headline(worse),
    )
    assert "to reach classic-fl's accuracy" not in [card.name for card in key_figures(worse)]
    assert re.fullmatch(
        r"ecofed reached 0\.\d\d accuracy and moved [\d.]+ MB; labels left the devices", headline(make())
    )
    rivals = Comparison(results=[make("classic-fl"), make("lgl")])
    assert "classic-fl reached the best accuracy, 0.77; lgl moved the fewest bytes" in headline(rivals)
    alone = Comparison(results=[make("vanilla-dpfl"), make("ecofed")])
    assert headline(alone).startswith("ecofed reached the best accuracy, 0.84, with the fewest bytes")


def at(result: RunResult, accuracy: float) -> RunResult:
    return replace(result, totals=replace(result.totals, final_test_accuracy=accuracy))


def test_guessing_is_not_celebrated(make: Make) -> None:
    assert chance(make()) == 0.1
    lost = at(make(), 0.11)
    assert headline(lost) == "ecofed did not learn: 0.11 accuracy, and guessing gives 0.10"
    both = Comparison(results=[at(make("classic-fl"), 0.09), lost])
    assert headline(both).startswith("neither ecofed nor classic-fl learned: 0.11 accuracy")
    assert "fewer" not in headline(both)
    one = Comparison(results=[at(make("classic-fl"), 0.1), make()])
    assert headline(one).endswith("classic-fl did not learn (0.10, guessing gives 0.10)")
    assert "fewer" not in headline(one)
    assert "No better than guessing (0.10) at the end: classic-fl." in warnings(one)
    assert [card.plain for card in key_figures(both)] == [True, False, False, True]
    other = Comparison(results=[at(make("lgl"), 0.1), at(make("fedgkt"), 0.1)])
    assert headline(other) == "no method learned: 0.10 accuracy, and guessing gives 0.10"
    assert headline(at(make(), 0.13)).startswith("ecofed reached 0.13")  # of 2,000 test images


def test_the_commonest_class_is_a_guess(make: Make, of_answers: Callable[..., RunScores]) -> None:
    scores = of_answers(1.0).test
    assert scores is not None
    counts = [980, *[20 // 9] * 9]
    skewed = make(scores=RunScores(test=replace(scores, samples=1000, class_samples=counts)))
    assert chance(skewed) == 0.98
    assert headline(skewed).startswith("ecofed did not learn")


def test_whose_labels_left(make: Make, five_methods: Comparison) -> None:
    said = "Labels left the devices with vanilla-dpfl, lgl, fedgkt and ecofed, not with classic-fl."
    assert labels_sentence(five_methods) == said
    assert labels_sentence(make("classic-fl")) == "No labels left the devices."
    assert headline(make("classic-fl")).endswith("; labels stayed on the devices")
    sends = replace(make("lgl"), method="send-images")
    told = labels_sentence(Comparison(results=[sends, make("classic-fl")]))
    assert told == "Images and their labels left the devices with send-images. With classic-fl neither did."


def test_the_charts_have_the_numbers_of_the_runs(three_seeds: Comparison, make: Make) -> None:
    lines = live.figures(three_seeds)["lines"]["lines"]
    assert [line["label"] for line in lines] == ["classic-fl", "ecofed"]
    finals = [group.results[0].totals for group in three_seeds.groups()]
    assert lines[1]["rounds"] == list(range(1, 21))
    assert lines[0]["bytes"][-1] == pytest.approx(finals[0].uplink_bytes + finals[0].downlink_bytes, rel=1e-5)
    assert len(lines[0]["low"]) == len(lines[0]["seconds"]) == 20
    assert "seconds" not in live.figures(Comparison(results=[make()]))["lines"]["lines"][0]


def test_long_runs_are_thinned_and_keep_their_end(make: Make) -> None:
    long = Comparison(results=[make(rounds=1501, devices=2, sampled=1)])
    (line,) = live.figures(long)["lines"]["lines"]
    assert len(line["rounds"]) <= live.MOST_POINTS
    assert (line["rounds"][0], line["rounds"][-1]) == (1, 1501)


def test_no_string_ends_the_data() -> None:
    evil = "</script><!--<script>\u2028&"
    text = live.embedded({"label": evil})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"label": evil}


def test_contents_and_table(page: str, five_methods: Comparison) -> None:
    outline = Outline(page)
    targets = {attributes.get("id") for _, attributes in outline.tags}
    links = [attributes["href"] for tag, attributes in outline.tags if tag == "a"]
    assert len(links) > 5
    assert {link.removeprefix("#") for link in links if link} <= targets
    heads = re.findall(r"<th scope='col'( class='more')?>(.*?)</th>", html_table(five_methods))
    assert [name for more, name in heads if not more] == [*FIRST_SHOWN[:5]]  # these have no clock
    assert "data-sort='0.8" in html_table(five_methods)


def test_the_floor_is_told_whoever_wins(make: Make) -> None:
    assert "Sending every image once (PNG) would take 3.07 MB; ecofed moved" in floor_sentence(make())
    assert "x that" in floor_sentence(make())
    assert "less than that" in floor_sentence(make(rounds=1, devices=100))


def test_key_figures(five_methods: Comparison, make: Make) -> None:
    names = [card.name for card in key_figures(five_methods)]
    assert names[-2:] == ["bytes than classic-fl", "to reach classic-fl's accuracy"]
    assert [card.name for card in key_figures(make("lgl"))][-1] == "wall time"


def test_bytes_to_an_accuracy_are_held_against_those_that_the_reference_needed_for_it(make: Make) -> None:
    classic = make("classic-fl")
    done = classic.rounds[-1]
    on = [replace(done, round=done.round + more) for more in range(1, 101)]  # trained on, and no better for it
    longer = at(replace(classic, rounds=[*classic.rounds, *on]), done.test_accuracy or 0.0)
    extra = 100 * done.downlink_bytes
    longer = replace(longer, totals=replace(longer.totals, downlink_bytes=longer.totals.downlink_bytes + extra))
    details = [
        key_figures(Comparison(results=[one, make()]))[-1].detail
        for one in (at(classic, done.test_accuracy or 0), longer)
    ]
    assert details[0] == details[1]


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


@pytest.mark.ci
@pytest.mark.plots
def test_several_seeds_and_a_clock(three_seeds: Comparison, tmp_path: Path) -> None:
    text = Outline(page_of(three_seeds, tmp_path)).text
    assert "ecofed (3 seeds)" in text
    assert "Accuracy against simulated time" in text
    assert "0, 1, 2" in text


def test_a_page_says_of_how_many_evaluations_a_mean_is(make: Make) -> None:
    told = {1: "what the one evaluation found", 3: "the mean of all 3 evaluations"}
    for rounds, words in told.items():
        page = report_html(make(rounds=rounds), [])
        assert f"Final accuracy is {words};" in page
        assert "the last five" not in page.replace("\n", " ")
        assert f"· {rounds} round{'s' if rounds > 1 else ''}<" in page
    assert "Final accuracy is the mean of the last five evaluations;" in report_html(make(rounds=9), [])


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
        assert "<tr class='method'><th scope='row' data-sort='ecofed-photos'>ecofed-photos" in html_table(joined)
        assert floor_sentence(sends).endswith(" that.")
        style = styles(joined.groups())[Sends.name]
        assert (style.colour, style.marker) == (Sends.colour, Sends.marker)
        assert "--c123456:#abcdef;" in css_variables(dark=True)
    assert "#abcdef" not in css_variables(dark=True)
    assert rows(joined)[0].leaves_device == "yes"  # of a method that nobody knows any more: what its run recorded
    assert floor_sentence(make("lgl")).endswith("its images never left the devices.")


def test_small_accuracies_keep_a_digit_that_tells_them_apart() -> None:
    assert [rough(value) for value in (0.005, 0.0071, 0.05, 0.333, 0.0)] == ["0.005", "0.007", "0.05", "0.33", "0.00"]


def test_a_division_by_what_the_data_name_is_said_so(make: Make) -> None:
    told = partition_sentence(make(data__partition="column", data__device_column="client"))
    assert "of the devices that the data name (client), on" in told
    own = make()
    assert partition_sentence(replace(own, data=replace(own.data, name="photos", source="path"))).startswith("photos: ")


def test_a_terminal_says_what_is_no_better_than_guessing(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_results(Comparison(results=[at(make("classic-fl"), 0.1), make()]), tmp_path)
    assert "note: no better than guessing (0.10) at the end: classic-fl\n" in capsys.readouterr().out
