"""``ecofed pretrain``: make a front from public images."""

from __future__ import annotations

import dataclasses
import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.output import print_json, print_text
from ecofed.cli.shared import Overwrite, add_command, check_file, named_path, need_torch
from ecofed.cli.streams import say
from ecofed.config.problem import ModelConfig
from ecofed.errors import ConfigError, DataError
from ecofed.files.disk import remove_unfinished_of
from ecofed.files.ownership import owned_file
from ecofed.files.replacing import refuse_existing
from ecofed.reports.units import human_seconds

if TYPE_CHECKING:
    from ecofed.pretraining import EpochReport, ProbeSet
    from ecofed.wire import FrontBundle

Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="NAME|PATH|fractals",
        help="Public images: a data set by name, a folder or parquet file, or 'fractals', which are rendered and need "
        "nothing. Default: tiny-imagenet-32 where it is on this machine, otherwise fractals.",
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        "--labels", metavar="labels|rotations", help="'rotations' needs no labels: tell how an image was turned."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME", help="Whose front: vgg11, resnet9, alexnet, lenet, efficientnet-lite0, timm:NAME."
    ),
]
Width = Annotated[float, typer.Option("--width", metavar="X", help="Factor on its channels.")]
Cut = Annotated[
    str | None, typer.Option("--cut", metavar="NAME", help="Last layer of the front; default: the model's own.")
]
Grey = Annotated[bool, typer.Option("--grey", help="For one-channel input; colour images are turned grey.")]
Channels = Annotated[
    int | None,
    typer.Option("--channels", metavar="N", min=1, help="Bottleneck: this many channels at the cut. Needs --bits."),
]
Bits = Annotated[
    int | None,
    typer.Option("--bits", metavar="N", min=1, max=8, help="Bottleneck: train through a quantiser of so many bits."),
]
Against = Annotated[
    float | None,
    typer.Option(
        "--adversary",
        metavar="WEIGHT",
        min=0.0,
        help="Bottleneck: train it against a decoder that makes the pictures of the codes, whose error counts so much "
        "beside the loss of labels. No promise: another decoder may do better; 'ecofed audit' tries one.",
    ),
]
Bytes = Annotated[
    int | None,
    typer.Option(
        "--bytes",
        metavar="N",
        min=1,
        help="Of a backbone: train nothing, take its published weights, and work out a bottleneck for codes of so many "
        "bytes an image from the pictures, which need no labels. For codec.name=dct; with --bits for uniform codes.",
    ),
]
Size = Annotated[
    int | None,
    typer.Option("--size", metavar="N", min=1, help="With --bytes: side of the pictures, as model.image_size."),
]
Epochs = Annotated[int, typer.Option("--epochs", metavar="N", min=0, help="Passes over the images.")]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=2, help="At most this many images, drawn at random.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Every random draw is a function of it.")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, max=1024, help="PyTorch threads.")]
Start = Annotated[
    str | None, typer.Option("--start", metavar="FRONT", help="Continue from this front: a shipped name or a file.")
]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="Train nothing: take the front out of this whole network."),
]
Probe = Annotated[
    str | None,
    typer.Option(
        "--probe", metavar="DATA", help="Report a linear probe on this set after the first epoch and at the end."
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="FILE", help="Where the front goes; its card goes beside it.", parser=named_path),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted pre-training.")]
Json = Annotated[bool, typer.Option("--json", help="Print the card as JSON on stdout; progress goes to stderr.")]


#: Options of a training, and of what has labels.
_TRAINING = ("channels", "adversary", "start", "epochs", "threads", "resume")
_LABELLED = ("labels", "checkpoint", "probe")
#: That a bottleneck is worked out from, unless --limit says otherwise.
MOST_PICTURES = 1500


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "pretrain",
        pretrain,
        "ecofed pretrain --images fractals --model vgg11 --width 0.5 --out my-front.safetensors",
        "ecofed pretrain --images photos/ --labels rotations --channels 16 --bits 2 --out narrow.safetensors",
        "ecofed pretrain --images photos/ --model efficientnet-lite0 --size 128 --bytes 320 --out own.safetensors",
        "ecofed run quickstart --set front.name=my-front.safetensors",
    )


def pretrain(
    context: typer.Context,
    images: Images = None,
    labels: Labels = "labels",
    model: Model = "vgg11",
    width: Width = 1.0,
    cut: Cut = None,
    grey: Grey = False,
    channels: Channels = None,
    bits: Bits = None,
    adversary: Against = None,
    bytes_per_image: Bytes = None,
    size: Size = None,
    epochs: Epochs = 10,
    limit: Limit = None,
    seed: Seed = 0,
    threads: Threads = 2,
    start: Start = None,
    checkpoint: Checkpoint = None,
    probe: Probe = None,
    out: Out = Path("front.safetensors"),
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Pre-train a front on public images, freeze it, and write it as a bundle that 'ecofed run' takes.

    With --channels and --bits the front ends in a narrow bottleneck that is trained through the quantiser; with --bytes
    a backbone's bottleneck is worked out in seconds. Ctrl-C stops; the same command with --resume continues.
    """
    if size is not None and bytes_per_image is None:
        raise ConfigError("--size: only with --bytes; what is trained here takes pictures of 32 pixels")
    _refuse_without_part(context, "--bytes" if bytes_per_image is not None else None, _TRAINING + _LABELLED)
    _refuse_without_part(context, "--checkpoint" if checkpoint is not None else None, (*_TRAINING, "bits"))
    if adversary and (channels is None or checkpoint is not None):
        raise ConfigError("--adversary: what it trains against is a bottleneck; give --channels and --bits")
    need_torch("pre-training")
    from ecofed.pretraining import Recipe, load_images, pretrain_front
    from ecofed.pretraining.cached import default_source
    from ecofed.pretraining.checkpoint_front import front_from_checkpoint

    if labels not in ("labels", "rotations"):
        raise ConfigError(f"--labels {labels}: must be labels or rotations")
    _check_name(out)
    with owned_file(out):
        unfinished = _check_out(
            out, resume=resume, overwrite=overwrite, trains=checkpoint is None and bytes_per_image is None
        )
        config = ModelConfig(name=model, width=width, cut=cut, image_size=size)
        if bytes_per_image is not None:
            bundle = _over_pictures(config, images, bytes_per_image, bits, grey=grey, limit=limit, seed=seed)
            _write(bundle, out, None, None, json=json)
            return
        probed = _probed(probe) if probe is not None else None
        public = load_images(
            images or default_source(),
            channels=1 if grey else 3,
            labels="rotations" if labels == "rotations" else "labels",
            seed=seed,
            limit=limit,
        )
        if checkpoint is not None:
            bundle = front_from_checkpoint(checkpoint, config, public)
        else:
            recipe = Recipe(epochs=epochs, seed=seed, threads=threads, adversary=adversary or 0.0)
            with resumable(unfinished):
                bundle = pretrain_front(
                    config,
                    public,
                    recipe,
                    narrow=channels,
                    bits=bits,
                    start=_front(start) if start is not None else None,
                    report=_say,
                    early=(lambda front: _say_probe(front, probed)) if probed is not None else None,
                    checkpoint=unfinished,
                )
        accuracy = _say_probe(bundle, probed) if probed is not None else None
        _write(bundle, out, accuracy, probe, json=json)
        if checkpoint is None:  # otherwise a file of that name is somebody else's
            unfinished.unlink(missing_ok=True)


def _refuse_without_part(context: typer.Context, kind: str | None, parameters: Sequence[str]) -> None:
    """Options that were given, and that a kind of front-making does nothing with."""
    for name in parameters:
        source = context.get_parameter_source(name)
        if kind is not None and source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"--{name}: has no part in {kind}, which trains nothing; leave it out")


def _over_pictures(
    config: ModelConfig, images: str | None, wanted: int, bits: int | None, *, grey: bool, limit: int | None, seed: int
) -> FrontBundle:
    from ecofed.models import default_cut
    from ecofed.models.registry import input_side
    from ecofed.pretraining.public_images import FRACTALS, load_pictures
    from ecofed.pretraining.published import Code, front_over_pictures

    if not config.is_backbone:
        raise ConfigError(f"--bytes: {config.name} has no published weights; use --channels and --bits")
    if config.width != 1:
        raise ConfigError(
            f"--width {config.width:g}: the published weights of {config.name} are for its full width; leave it out"
        )
    channels, side = 1 if grey else 3, input_side(config)
    pictures = load_pictures(images or FRACTALS, channels=channels, side=side, limit=limit or MOST_PICTURES, seed=seed)
    code = Code(wanted, bits or 8, transformed=bits is None)
    return front_over_pictures(config, config.cut or default_cut(config.name), *pictures, code)


def _check_name(out: Path) -> None:
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out}: must end in .safetensors")
    check_file(out)


def _check_out(out: Path, *, resume: bool, overwrite: bool, trains: bool) -> Path:
    """The file of an unfinished training beside ``out``."""
    unfinished = out.with_suffix(".checkpoint")
    for file in (out, out.with_suffix(".json"), unfinished):
        remove_unfinished_of(file)
    refuse_existing(out, out.with_suffix(".json"), overwrite=overwrite)
    if trains and unfinished.exists() and not resume:
        raise ConfigError(f"{unfinished} holds an unfinished pre-training; add --resume, or delete it")
    return unfinished


def _front(name: str) -> FrontBundle:
    from ecofed.pretraining.shipped import load_front

    return load_front(name)


def _say(report: EpochReport) -> None:
    left = report.seconds_left
    say(
        f"epoch {report.epoch}/{report.epochs}  loss {report.loss:.3f}  accuracy {report.accuracy:.3f}  "
        f"{human_seconds(left)} left"
    )


def _probed(data: str) -> ProbeSet:
    """Read before anything is trained, which may take hours."""
    from ecofed.data import load_dataset
    from ecofed.pretraining.probe import probe_set

    try:
        return probe_set(load_dataset(data), train=5_000)
    except DataError as error:
        told = str(error).removeprefix(f"data.name = '{data}': ")
        raise DataError(f"--probe {data}: {told}") from error


def _say_probe(bundle: FrontBundle, sample: ProbeSet) -> float:
    from ecofed.pretraining.check import default_bits
    from ecofed.pretraining.probe import probe_front

    accuracy = probe_front(bundle, sample, default_bits(bundle))
    say(f"linear probe on {sample.title}: {accuracy:.3f}")
    return accuracy


def _write(bundle: FrontBundle, out: Path, accuracy: float | None, probe: str | None, *, json: bool) -> None:
    from ecofed.pretraining import write_front

    additions: dict[str, Any] = {"command": command_line()}
    if accuracy is not None:
        additions |= {"probe_accuracy": round(accuracy, 4), "probe_data": probe}
    bundle = dataclasses.replace(bundle, card={**bundle.card, **additions})
    write_front(bundle, out.parent, out.stem)
    card = out.with_suffix(".json")
    if json:
        print_json(json_format.loads(card.read_bytes()))
    else:
        print_text(f"{out}\n{card}")
