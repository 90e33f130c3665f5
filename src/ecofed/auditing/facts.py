"""What uploads reveal without any attack, and what a reader of an audit should know."""

from __future__ import annotations

import math

from ecofed.auditing.summed import uploads_sums
from ecofed.auditing.target import Target
from ecofed.auditing.uploads import uploads_images
from ecofed.config.methods import facts_of
from ecofed.config.privacy import labels_leave, promise
from ecofed.results.audits import FromSums, Leak

#: An area under the curve that is so many standard deviations of chance above a half is no chance.
MOST_DEVIATIONS = 5


def facts_about(target: Target) -> list[str]:
    """From the method's facts and its messages, a sentence each."""
    config, facts = target.config, facts_of(target.config.method)
    coded = facts.coded(config)
    label_epsilon = config.privacy.label_epsilon
    found = [
        f"Labels leave the device randomised (privacy.label_epsilon={label_epsilon:g}): each may be false."
        if label_epsilon is not None
        else "Labels leave the device, one for each image: nobody needs an attack to learn them."
        if labels_leave(config)
        else "Devices tell how many of their images are of each class, not which: who has few classes tells much."
        if facts.labels_leave_device
        else "Labels do not leave the device one by one; what devices do send depends on how often each class occurs."
    ]
    found.append(
        "An upload's length tells how many images a device holds."
        if uploads_images(config.method)
        else "Messages have one length whatever a device holds; it says itself how many images that is."
    )
    if coded is not None and coded.entropy != "none":
        found.append(
            f"Codes are compressed (codec.entropy={coded.entropy}), so an upload's length also tells how uniform a "
            "device's images are; with codec.entropy=none it does not."
        )
    found.append(
        "When a device answers tells its speed and when it is reachable; in which rounds it took part is known to the "
        "server."
    )
    if facts.needs_frozen_front:
        found.append("The front is public: every device has it, so an attacker who knows it is the one to reckon with.")
    return found + promise(config, max(map(len, target.prepared.parts)), simulated=True)


def notes_about(target: Target, rows: list[Leak], sums: FromSums | None = None) -> list[str]:
    """Of what was not attacked, and where the audit contradicts itself."""
    method, notes = target.config.method, []
    facts = facts_of(method)
    if uploads_sums(method):
        notes.append(
            f"{method}: what is inverted are sums over a class of which a device has one image, which are that image's "
            "features; what sums over more images tell stands below the table"
        )
    elif not uploads_images(method):
        notes.append(
            f"{method}: nothing that its devices upload is about a single image; uploads are not inverted image by "
            "image, which does not mean that nothing can be learned from them"
        )
    if any(bundle is not None for bundle in target.prepared.early):
        notes.append(
            "devices that stop at an earlier layer (ecofed.device_cuts) give away more than is told here: audit that "
            "layer with --set model.cut"
        )
    if sums is not None and sums.control.available:
        above = (sums.control.auc or 0.0) - 0.5
        members, others = sums.control.members, sums.control.others
        deviation = math.sqrt((members + others + 1) / (12 * members * others))  # of Mann and Whitney's statistic
        if above > MOST_DEVIATIONS * deviation:
            notes.append(
                f"the control is above chance (AUC {above + 0.5:.2f} in other devices' sums): what is said of sums is "
                "not to be trusted"
            )
    control = next((row for row in rows if row.kind == "control"), None)
    if control is not None and control.reidentified is not None and control.images:
        chance = 1 / control.images
        # Two ways of comparing are tried; at chance neither has more than a handful of hits.
        if control.reidentified > chance + 5 * math.sqrt(chance / control.images):
            notes.append(
                f"the control is above chance ({control.reidentified:.1%}): the figures of this audit are not to be "
                "trusted"
            )
    if facts.needs_frozen_front and target.config.normalisation == "batch":
        notes.append(
            "normalisation=batch: an activation depends on the images beside it, which the attack through the front "
            "does not know"
        )
    return notes
