"""Choosing the scores that apply to a run, and computing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.stacked import first_channel, labels_of_parts
from ..errors import RunError, UserError
from ..metrics import modes, pca, scores
from ..metrics.classifier import Classifier, classifier
from ..metrics.parzen import SAMPLES, VALIDATION, Parzen, parzen
from ..metrics.score import Evaluation, Score
from ..metrics.spectral import spectral
from ..progress import Progress
from ..random import Generator
from ..training.recipe import Recipe
from ..training.state import State
from .distances import compared
from .sides import sides

COUNT = 10_000  # samples of images, and real images beside them, unless another number is given
STACKED = 26_000  # samples of images of several channels with a class each, as in the papers
CHUNK = 500  # images between two updates of the progress
SMALL = 1024  # values of an image up to which a Parzen window is tried

Say = Callable[[str], None]


def evaluate(
    state: State,
    train: Dataset,
    test: Dataset | None,
    *,
    count: int | None = None,
    encoded: int | None = None,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Evaluation:
    """Every score that the recipe's answers and the data allow.

    `train` is the data of the run (or, if they are generated, more of the same kind), `test` data
    that it has not seen. `count` samples are drawn from latent vectors of the stream of `seed`: by
    default 2,500 points, 26,000 stacked images, or 10,000 images, of which without labels there are
    no more than real ones to compare them with. `encoded` images, by default `count`, are encoded
    of either part of the data.

    Batch norm uses the running moments of training.

    Raises:
        UserError: if no score applies.
        RunError: if a sample is not finite.
    """
    found = Evaluation()
    if not train.is_image:
        _points(found, state, train, test, count or modes.POINTS, seed)
    else:
        run = _Images(state, train, test, count, seed, say)
        run.likelihood(found)
        if train.y is None or len(train.classes) < 2:
            found.left_out.append("all that a classifier says: the data have no labels")
        else:
            say(f"{train.name}: looking for its classifier")
            if train.parts:
                single = first_channel(train), None if test is None else first_channel(test)
                found.judge = classifier(*single, say=say)
                run.stacked(found, found.judge)
            else:
                found.judge = classifier(train, test, say=say)
                run.judged(found, found.judge)
            run.read(found)
        if not train.parts:
            run.compared(found)
        run.encodings(found, encoded or run.count)
    found.scores += spectral(state.players)
    if not found.scores:
        raise UserError(
            f"no score applies to this run: the density of {train.name} is not known, and its "
            "samples are no images; look at the samples"
        )
    return found


def _points(
    found: Evaluation, state: State, train: Dataset, test: Dataset | None, count: int, seed: int
) -> None:
    if train.mixture is None:
        found.left_out.append("modes: the density of the data is not known")
        return
    perfect = (test or train).x[:count]
    a = modes.mode_scores(_samples(state, _latent(state, count, seed)), train.mixture)
    b = modes.mode_scores(perfect, train.mixture)
    of: dict[str, Any] = {"baseline_of": "a perfect sampler", "real": len(perfect), "fake": count}
    found.scores += [
        Score("modes", f"modes covered, of {a.total}", a.covered, None, b.covered, **of),
        Score("high_quality", "share of high quality", a.high_quality, None, b.high_quality, **of),
        Score("reverse_kl", "reverse KL, nats", a.reverse_kl, None, b.reverse_kl, **of),
    ]


class _Images:
    """The scores of a run on images. All images are uint8, as they would be in a file."""

    def __init__(
        self,
        state: State,
        train: Dataset,
        test: Dataset | None,
        count: int | None,
        seed: int,
        say: Say,
    ) -> None:
        bounds = state.recipe.output_range(train.shape)
        assert bounds is not None
        self.state, self.train, self.test = state, train, test
        self.seed, self.say, self.bounds = seed, say, bounds
        order = np.random.default_rng(seed).permutation(len(train))
        held = 0 if self.no_likelihood() else VALIDATION  # images that only choose sigma
        self.validation, order = order[:held], order[held:]
        most = STACKED if train.parts else COUNT
        self.beside = sides(train, test, count or most, order, seed)
        if not (held or train.y is not None):  # nothing has use for more samples than that
            most = max(1, len(self.beside.real))
        self.count = count = count or most
        self.some = order[:count]
        say(f"drawing {count:,} samples")
        self.fake = self.generated(_latent(state, count, seed))

    def no_likelihood(self) -> str:
        """Why there is no Parzen-window score; empty if there is one."""
        size, known = self.train.x[0].size, len(self.train)
        if size > SMALL:
            return f"images have {size:,} values, and it wants at most {SMALL:,}"
        if self.test is None:
            return "there are no test images"
        if known < 2 * VALIDATION:
            return f"it wants {2 * VALIDATION:,} training images, and there are {known:,}"
        return ""

    def likelihood(self, found: Evaluation) -> None:
        """Parzen windows around samples, and around training images.

        Training images choose sigma: the run has seen them, but they are not among the training
        images that windows are put around.
        """
        if why := self.no_likelihood():
            found.left_out.append(f"Parzen-window log-likelihood: {why}")
            return
        assert self.test is not None
        n = min(len(self.fake), len(self.some), SAMPLES)  # windows, on either side
        self.say(f"Parzen windows around {n:,} samples, then real images")
        validation = self.train.x[self.validation]
        mine = parzen(self.fake[:n], validation, self.test.x)
        real = parzen(self.train.x[self.some[:n]], validation, self.test.x)
        found.scores.append(
            Score(
                "parzen", "Parzen log-likelihood, nats", mine.mean, mine.error, real.mean,
                "training images", len(self.test), n,
                f"sigma {_sigma(mine)}, beside it {_sigma(real)}",
            )
        )  # fmt: skip

    def judged(self, found: Evaluation, judge: Classifier) -> None:
        """Whether samples look like classes, and like those that were asked for."""
        self.say("classifying")
        beside, n = self.beside, len(self.beside.real)
        real = scores.inception_score(judge(beside.data.x[beside.other])[0])[0]
        of: dict[str, Any] = {"real": n, "fake": n, "note": f"{n:,} images on each side"}
        of |= {"baseline_of": beside.other_of, "baseline": real}
        score = scores.inception_score(judge(self.fake[:n])[0])
        found.scores.append(Score("inception", f"inception score ({judge.name})", *score, **of))
        asked = np.arange(self.count) % judge.classes
        z = self.state.recipe.with_labels(_latent(self.state, self.count, self.seed), asked)
        if z is not None:
            agreed = scores.share(judge.classify(self.generated(z)) == asked)
            of = {"baseline_of": "the classifier on test images", "fake": self.count}
            name = f"agreement with the asked class ({judge.name})"
            found.scores.append(Score("agreement", name, *agreed, judge.accuracy, **of))

    def compared(self, found: Evaluation) -> None:
        """The scores that compare samples with real images: the first of all."""
        mine = compared(
            self.train, self.test, self.beside, self.fake, judge=found.judge, say=self.say
        )
        found.scores[:0], found.features, found.nearest = mine.scores, mine.features, mine.nearest
        found.left_out, found.nearest_by = found.left_out + mine.left_out, mine.nearest_by

    def stacked(self, found: Evaluation, judge: Classifier) -> None:
        """The scores by a classifier of images whose channels are images themselves."""
        found.left_out.append(
            f"inception score and Fréchet distance: the {judge.name} sees single channels"
        )
        self.say("classifying each channel")
        unseen = self.test is not None and self.test.y is not None
        real = self.test if self.test is not None and unseen else self.train
        assert real.y is not None  # evaluate() asks for labels to train on
        channels = real.shape[0]
        # Real images, classified in the same way: any of them may be in any channel.
        places = np.random.default_rng(self.seed).integers(len(real), size=(self.count, channels))
        seen = judge.classify(real.x[:, :1])[places]
        true = labels_of_parts(real, real.y)[:, 0][places]
        a = modes.stacked_modes(_by_channel(judge, self.fake), judge.classes)
        b = modes.stacked_modes(seen, judge.classes)
        kind = "test" if unseen else "training"
        of: dict[str, Any] = {"baseline_of": f"stacked {kind} images"}
        of |= {"real": self.count, "fake": self.count}
        well = f"modes with {modes.WELL} samples or more"
        found.scores += [
            Score("modes", f"modes covered, of {a.total}", a.covered, None, b.covered, **of),
            Score("modes_well", well, a.well_covered, None, b.well_covered, **of),
            Score("reverse_kl", "reverse KL, nats", a.reverse_kl, None, b.reverse_kl, **of),
        ]

        asked = np.arange(self.count) % len(self.train.classes)
        z = self.state.recipe.with_labels(_latent(self.state, self.count, self.seed), asked)
        if z is None:
            return
        agree = _by_channel(judge, self.generated(z)) == labels_of_parts(self.train, asked)
        right, name = seen == true, "agreement with the asked class"
        found.scores += [
            Score(
                f"agreement_{i + 1}", f"{name} of channel {i + 1} ({judge.name})",
                *scores.share(agree[:, i]), float(right[:, i].mean()), **of,
            )
            for i in range(channels)
        ]  # fmt: skip
        every = float(right.all(axis=1).mean())
        share = scores.share(agree.all(axis=1))
        found.scores.append(Score("agreement", f"{name} of all channels", *share, every, **of))

    def read(self, found: Evaluation) -> None:
        """The scores of what the recipe's own networks read in labelled images."""
        recipe, train, test = self.state.recipe, self.train, self.test
        if test is None or test.y is None or train.y is None:
            found.left_out.append("errors on test images: there are none with labels")
            return
        logits = self.ask(recipe.classify, test.x)
        if logits is not None:
            wrong = logits.argmax(axis=1) != test.y
            error = scores.share(wrong)
            note = f"{wrong.sum()} of {len(test):,}"
            found.scores.append(
                Score("error", "classification error", *error, real=len(test), note=note)
            )
        codes = self.ask(recipe.codes, test.x)
        if codes is None:
            return
        # Training images decide what a code means, test images how well it fits.
        before = self.ask(recipe.codes, train.x[self.some])
        assert before is not None
        whole = [bool((c == np.rint(c)).all() and c.min() >= 0) for c in before.T]
        for i in np.flatnonzero(whole):
            meaning = scores.match_codes(before[:, i].astype(np.int64), train.y[self.some])
            meaning = np.append(meaning, -1)  # of a value that was not seen before
            value = np.minimum(codes[:, i].astype(np.int64), len(meaning) - 1)
            error = scores.share(meaning[value] != test.y)
            name = f"code {i + 1} to class: error"
            found.scores.append(Score(f"code_error_{i + 1}", name, *error, real=len(test)))
        rest = np.flatnonzero(~np.array(whole))
        names = [name for name in train.factors if name in test.factors]
        if len(rest) and names:
            known = np.stack([train.factors[name][self.some] for name in names], axis=1)
            for c, f in scores.match_factors(before[:, rest], known):
                rho = abs(scores.rank_correlation(codes[:, rest[c]], test.factors[names[f]]))
                name = f"rank correlation of code {rest[c] + 1} and {names[f]}, without its sign"
                found.scores.append(Score(f"rank_{names[f]}", name, rho, real=len(test)))

    def encodings(self, found: Evaluation, count: int) -> None:
        """The scores of encodings of test images: is the class kept, and the image?"""
        recipe, test = self.state.recipe, self.test
        encodes = type(recipe).encode is not Recipe.encode
        own = type(recipe).reconstruct is not Recipe.reconstruct
        if test is None or not (encodes or own):
            return
        places = self.some_of(test, count)
        x, note = test.x[places], f"{len(places):,} of {len(test):,} test images"
        z = None
        if encodes:
            self.say(f"encoding {note}")
            z = self.ask(recipe.encode, x)
        if z is not None and test.y is not None and self.train.y is not None:
            some = self.some[:count]
            known, y = self.train.x[some], self.train.y[some]
            self.say(f"encoding {len(known):,} training images, to find the nearest among them")
            codes = self.ask(recipe.encode, known)
            assert codes is not None
            right = [
                scores.share(y[scores.nearest_neighbours(_rows(a), _rows(b))] == test.y[places])
                for a, b in ((z, codes), (x / np.float32(255), known / np.float32(255)))
            ]
            name = "nearest-neighbour accuracy of encodings"
            of: dict[str, Any] = {"baseline_of": "pixels", "real": len(x) + len(known)}
            of["note"] = f"{note}, {len(known):,} of {len(self.train):,} training images"
            found.scores.append(Score("neighbours", name, *right[0], right[1][0], **of))
        if own:
            self.say(f"reconstructing {note}")
            answer = self.ask(recipe.reconstruct, x)
            again = None if answer is None else self.bytes(answer)
        else:
            again = None if z is None else self.generated(z)
        if again is not None:
            # A recipe that reconstructs without encoding has codes of the size of z.
            size = _rows(_latent(self.state, 1, self.seed) if z is None else z).shape[1]
            self.reconstructions(found, x, again, size, note)

    def reconstructions(
        self, found: Evaluation, x: np.ndarray, again: np.ndarray, size: int, note: str
    ) -> None:
        """The distance of the images `again` from x. The baseline is PCA with `size` components,
        clipped and rounded as `again` was.
        """
        try:
            linear = pca.fit(self.train.x, size).reconstruct(_rows(x))
            error = pca.mean_squared_error(_rows(x), np.rint(np.clip(linear, 0, 255)))
            of: dict[str, Any] = {"baseline": error, "baseline_of": f"PCA, {size} components"}
        except UserError as why:
            found.left_out.append(f"PCA beside the reconstructions: {why}")
            of = {}
        value = pca.mean_squared_error(_rows(x), _rows(again))
        name = "mean squared error of reconstructions, of pixels in [0, 1]"
        found.scores.append(Score("reconstruction", name, value, real=len(x), note=note, **of))

    def some_of(self, data: Dataset, count: int) -> np.ndarray:
        """The indices of `count` samples, drawn by the seed, since files may be sorted by class."""
        return np.random.default_rng(self.seed).permutation(len(data))[:count]

    def ask(self, question: Callable[..., Any], images: np.ndarray) -> np.ndarray | None:
        """The recipe's answer to a question about images uint8; None if it has none."""
        levels = np.linspace(*self.bounds, 256).astype(np.float32)
        first = self.state.ask(question, levels[images[:CHUNK]])
        if first is None:
            return None
        answers: list[Any] = [first]
        done, total = min(CHUNK, len(images)), len(images)
        with Progress(done, total, name="asking the networks", unit="images") as progress:
            for start in range(CHUNK, total, CHUNK):
                answers.append(self.state.ask(question, levels[images[start : start + CHUNK]]))
                progress.update(min(start + CHUNK, total), {})
        return np.concatenate(answers)

    def generated(self, z: np.ndarray) -> np.ndarray:
        """Samples of latent vectors, as uint8."""
        with Progress(0, len(z), name="generating", unit="samples") as progress:
            parts = []
            for start in range(0, len(z), CHUNK):
                parts.append(self.bytes(_samples(self.state, z[start : start + CHUNK])))
                progress.update(min(start + CHUNK, len(z)), {})
        return np.concatenate(parts)

    def bytes(self, samples: np.ndarray) -> np.ndarray:
        low, high = self.bounds
        return np.rint(np.clip((samples - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _by_channel(judge: Classifier, images: np.ndarray) -> np.ndarray:
    """The class that the judge sees in each channel, (N, channels)."""
    return np.stack([judge.classify(images[:, c : c + 1]) for c in range(images.shape[1])], axis=1)


def _latent(state: State, count: int, seed: int) -> np.ndarray:
    return state.recipe.latent(Generator(seed, "evaluation"), count)


def _samples(state: State, z: np.ndarray) -> np.ndarray:
    samples = state.samples(z)
    if not np.isfinite(samples).all():
        raise RunError(f"the samples of G are not finite after step {state.step}")
    return samples


def _sigma(found: Parzen) -> str:
    return f"{found.sigma:.3g}" + (" (the last that was tried)" if found.last else "")


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)
