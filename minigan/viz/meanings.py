"""What the values that recipes report mean, in a sentence each, and the losses at equilibrium.

All that a report explains is in this file. It goes by the name of the recipe and its
hyper-parameters, as config.json has them, so it speaks of old runs as well; of a recipe that is not
minigan's own it knows only values with common names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

CROSS_ENTROPY = ("gan", "dcgan", "cgan", "pacgan", "bigan")  # whose losses have no other part
LARGEST = 1e30  # of a hyper-parameter
HALF = "D cannot tell real from generated"


class Reference(NamedTuple):
    """A value of a loss that theory knows: as it is written, as a number, and where it holds."""

    text: str
    value: float
    where: str


def references(recipe: str, fields: Mapping[str, Any]) -> dict[str, Reference]:
    """The losses at the equilibrium of a recipe with these hyper-parameters, by key of the metrics.

    Only of losses that have one: where D is 1/2 everywhere, -E[log D(x)] - E[log(1 - D(G(z)))] is
    ln 4 and -E[log D(G(z))] is ln 2 (Goodfellow et al. 2014, arXiv:1406.2661, Theorem 1). Penalties
    and smoothed targets move it, and then there is none.
    """
    found: dict[str, Reference] = {}

    def number(name: str, otherwise: float) -> float:
        value = fields.get(name, otherwise)
        plain = isinstance(value, int | float) and abs(value) < LARGEST
        return float(value) if plain else math.nan

    if recipe in CROSS_ENTROPY and number("smooth", 1) == 1:
        weight = number("weight_d", 1)
        if not (number("l2_d", 0) or number("r1", 0)):
            text = {1.0: "ln 4", 0.5: "ln 2"}.get(weight, f"{weight:g} ln 4")
            found["loss_D"] = Reference(text, weight * math.log(4), HALF)
        if not number("kl_g", 0):
            saturating = bool(fields.get("saturating"))
            value = -math.log(2) if saturating else math.log(2)
            found["loss_G"] = Reference("-ln 2" if saturating else "ln 2", value, HALF)
    if recipe == "bigan" and found:
        found["loss_E"] = found["loss_G"]
    if recipe == "lsgan":
        a, b, c = number("a", 0), number("b", 1), number("c", 1)
        d, g = (b - a) ** 2 / 4, ((a + b) / 2 - c) ** 2 / 2
        found["loss_D"], found["loss_G"] = (Reference(f"{v:g}", v, HALF) for v in (d, g))
    if recipe == "sngan":
        found["loss_D"] = Reference("2", 2.0, "D gives 0 to all samples")
    return {key: line for key, line in found.items() if math.isfinite(line.value)}


def distinct(known: Mapping[str, Reference], keys: Iterable[str]) -> list[Reference]:
    """The references of those losses that there are, each line once."""
    return list(dict.fromkeys(known[key] for key in keys if key in known))


# Sentences by recipe and key; a star stands for any recipe. `{name}` is a hyper-parameter.
_PROBABLE = {
    "D(x)": "The mean probability that D gives real samples of being real. From 0.5, where it "
    "cannot tell, to about 0.9 is normal; at 1 it has won, and G learns little.",
    "D(G(z))": "The mean probability that D gives generated samples of being real. From about "
    "0.1 to 0.5 is normal; at 0 D has won.",
}
_HOLD_BACK = " A lower --lr-d holds it back."  # in recipes whose players have rates of their own
_SENTENCES: dict[str, dict[str, str]] = {
    "*": {
        "D(x)": "D's mean output on real samples.",
        "D(G(z))": "D's mean output on generated samples.",
        "loss_D": "The loss of D, after which it was updated.",
        "loss_G": "The loss of G, after which it was updated.",
        "estimate": "E[f(x)] - E[f(G(z))], by how much the critic prefers real samples. It "
        "should rise at first, and then fall as the samples get better.",
        "penalty": "The gradient penalty, before its weight. It should become small and stay so.",
    },
    "gan": {
        **_PROBABLE,
        "loss_D": "Cross-entropy of real against generated. Far below its dashed line D is "
        "winning.",
        "loss_G": "How well G fools D: lower is better for G. Growth without end means that D "
        "wins.",
    },
    "lsgan": {
        "loss_D": "Squared error of D's targets, {b:g} for real and {a:g} for generated samples.",
        "loss_G": "Squared distance of D(G(z)) from G's target {c:g}: lower is better for G.",
        "D(x)": "D's mean output on real samples, which it wants to be {b:g}; no probability.",
        "D(G(z))": "D's mean output on generated samples, which it wants to be {a:g}, and G {c:g}.",
    },
    "sngan": {
        "loss_D": "Hinge loss: 0 if D is sure of every sample, 2 if it gives 0 to all. Mostly in "
        "between.",
        "loss_G": "Minus D's mean score of generated samples. Only its course tells something.",
        "D(x)": "D's mean score of real samples, no probability: above 1 it wants no more.",
        "D(G(z))": "D's mean score of generated samples, no probability: below -1 it wants no "
        "less.",
    },
    "wgan": {
        "loss_D": "E[f(G(z))] - E[f(x)], the critic's loss: minus the estimate. Its distance "
        "from 0 should shrink as samples get better.",
        "loss_G": "Minus the critic's mean score of generated samples. Its height means nothing, "
        "since a critic's scores may drift together.",
        "estimate": "E[f(x)] - E[f(G(z))]: on points the Wasserstein distance times an unknown "
        "constant. It should fall; a rise while samples improve means that the critic was "
        "behind.",
    },
    "wgan_gp": {
        "loss_D": "The critic's loss: minus the estimate, plus {penalty:g} times the penalty.",
        "estimate": "E[f(x)] - E[f(G(z))], which estimates the Wasserstein distance. It should "
        "fall slowly towards 0 as samples get better.",
        "penalty": "E[(|gradient of f| - 1)^2] between real and generated samples. Near 0 the "
        "slope is 1, as it should be; growth means that the critic is no longer smooth.",
    },
    "began": {
        "loss_D": "L(x) - k L(G(z)): how badly D reconstructs real images, less k times that of "
        "generated ones. It should fall.",
        "loss_G": "L(G(z)), how badly D reconstructs generated images. It should follow "
        "{gamma:g} times that of real ones.",
        "k": "The weight of generated images in D's loss, from 0 to 1. It begins at 0, rises "
        "while G is ahead, and should settle below 1.",
        "log k": "The logarithm of k, which shows its small values.",
        "M": "M = L(x) + |{gamma:g} L(x) - L(G(z))|, BEGAN's measure of convergence. It should "
        "fall; where it stays level, the run has come to its end.",
    },
    "infogan": {
        **_PROBABLE,
        "loss_D": "Cross-entropy of real against generated, minus {weight:g} times the sum of L_I.",
        "loss_G": "How well G fools D, minus {weight:g} times the sum of L_I: lower is better "
        "for G.",
    },
    "sgan": {
        **_PROBABLE,
        "loss_D": "Cross-entropy of the labelled images, plus half of that of real against "
        "generated.",
        "loss_G": "With feature matching the squared distance of D's mean features on real and "
        "generated images; lower is better for G.",
        "supervised": "Cross-entropy of the few labelled images. It falls to nearly 0; how D "
        "does on other images is what minigan evaluate says.",
    },
    "bigan": {
        "loss_D": "Cross-entropy of pairs (x, E(x)) against (G(z), z). Far below its dashed line "
        "D is winning.",
        "loss_G": "How well (G(z), z) passes for a pair of a real image: lower is better for G.",
        "loss_E": "How well (x, E(x)) passes for a pair of a generated image: lower is better "
        "for E.",
        "D(x, E(x))": "The mean probability that D gives real images with their codes. 0.5 to "
        "about 0.9 is normal.",
        "D(G(z), z)": "The mean probability that D gives generated images with their codes. "
        "About 0.1 to 0.5 is normal.",
    },
    "glo": {
        "loss_Z": "Distance of training images from what G makes of their latent vectors. It "
        "should fall to the end.",
        "loss_G": "The same loss as that of Z, of the same batch.",
    },
    "vae": {
        "loss_E": "Minus the bound for one image, in nats. It should fall to the end; there is no "
        "second side.",
        "loss_G": "The same loss as that of E, of the same batch.",
        "ELBO": "A lower bound of log p(x) for one image, in nats: log p(x|z) minus KL. It should "
        "rise to the end; of a Gaussian it is a density's, and may be above 0.",
        "log p(x|z)": "How well images are made again from their codes, in nats for one image. It "
        "should rise.",
        "KL": "What codes tell about an image, in nats, beyond what the prior says. Near 0 codes "
        "are not used; it should rise at first, and then change slowly.",
    },
    "gon": {
        "loss_G": "Mean squared error of reconstructions from one gradient step. It should fall "
        "to the end; there is no second player.",
        "|z|": "The mean length of the latent vectors that one gradient step finds. It should "
        "rise at first and then change slowly.",
    },
}  # fmt: skip
_SENTENCES["wgan_gp"]["loss_G"] = _SENTENCES["wgan"]["loss_G"]
for _name in ("dcgan", "cgan", "pacgan"):
    _SENTENCES[_name] = _SENTENCES["gan"]

_CODES = re.compile(r"L_I\(c(\d{1,4})\)")


def meaning(recipe: str, fields: Mapping[str, Any], key: str) -> str:
    """What the value `key` of the metrics means, and what is normal; empty if nobody knows."""
    known = _SENTENCES.get(recipe, {})
    try:
        if recipe == "infogan" and (code := _CODES.fullmatch(key)):
            return _of_code(int(code[1]), fields)
        if key in known:
            text = known[key].format_map(fields)
            return text + _HOLD_BACK * (text == _PROBABLE["D(G(z))"] and "lr_d" in fields)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # fields of another recipe
        pass
    return _SENTENCES["*"].get(key, "")


def _of_code(number: int, fields: Mapping[str, Any]) -> str:
    what = f"A lower bound of what a sample tells about its code c{number}, in nats. "
    if number <= fields["categorical"]:
        most = math.log(fields["values"])
        return f"{what}It should rise nearly to ln {fields['values']} = {most:.2f}, which is all."
    if fields["learn_std"]:
        return f"{what}It should rise above 0, and has no upper limit."
    uniform = number <= fields["categorical"] + fields["uniform"]
    most = math.log(2) - math.log(2 * math.pi) / 2 if uniform else 0.5
    return f"{what}It should rise; since Q's width is fixed, it stays below {most:.2f}."


# What scores mean, by the begin of their key, as `minigan evaluate` has them.
_SCORES = {
    "modes_well": "Modes with enough samples each. As many as beside it is perfect.",
    "modes": "Modes of the data that samples reach. As many as beside it is perfect; fewer is "
    "called mode collapse.",
    "high_quality": "Samples within three standard deviations of a mode. Nearly 1 is normal.",
    "reverse_kl": "How unevenly samples are spread over the modes. 0 is even; lower is better.",
    "parzen": "Log-likelihood of test images under windows around samples. Higher is better; it "
    "says little about how good images look.",
    "inception": "Whether each sample looks like one class, and all classes occur: from 1 to the "
    "number of classes. Higher is better.",
    "frechet": "Distance of the features of samples from those of real images. Lower is better; "
    "that of real images beside it is as good as can be. It falls with the number of images.",
    "kernel": "Distance of the features of samples from those of real images. Lower is better; "
    "0 is as good as can be, which real images miss a little on either side.",
    "precision": "Samples that are among real images. Higher is better; low is a sign of samples "
    "that look like nothing.",
    "recall": "Real images that are among samples. Higher is better; low is a sign of samples "
    "without variety.",
    "density": "How dense samples are where real images are. Above the one beside it they keep "
    "to the usual.",
    "coverage": "Real images that have a sample nearby. Higher is better; low is a sign of modes "
    "that are missed.",
    "copies": "Samples as near to a training picture as the nearest twentieth of real ones. Far "
    "above the one beside it is a sign of copies; by pixels blurred samples are near too.",
    "nearest": "Well below 1 is a sign of copies; by pixels blurred samples are near too.",
    "agreement": "Samples in which the classifier sees the class that was asked for. Near the "
    "one beside it is good.",
    "error": "Test images that the recipe's own network classifies wrongly. Lower is better.",
    "code_error": "Test images whose class the code does not tell. Lower is better.",
    "rank": "How well a code follows a true factor of the images, from 0 to 1. Higher is better.",
    "neighbours": "Test images whose nearest neighbour by encoding has their class. Above the "
    "one of pixels, encodings know more than pixels do.",
    "reconstruction": "Error of images made again from their encodings. Lower is better.",
    "singular": "1 is what spectral normalisation promises.",
    "course": "How a reported value changed from the first to the last tenth of the run.",
}


_CONTROL = "By features that learned nothing: the control."


def meaning_of_score(key: str) -> str:
    """What a score of `minigan evaluate` means, and which way is better; empty if nobody knows."""
    plain = key.removeprefix("random_")
    text = next((text for begin, text in _SCORES.items() if plain.startswith(begin)), "")
    return f"{text} {_CONTROL}" if plain != key and text else text
