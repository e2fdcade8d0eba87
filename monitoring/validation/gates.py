"""Checks of a server's answers to labelled pictures, each with a verdict and a sentence.

A picture counts once, however often it is asked about: the same model gives it the same answer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.paired import accuracy_difference, mcnemar_p_value
from common.verdicts import Verdict
from common.wilson import trials_needed, wilson_bounds
from monitoring.validation.labelled import Model, Prediction, Reply
from monitoring.validation.recorded import differing
from serving.client.answers import some_of

SIGNIFICANT = 0.05
"""Two-sided p-value of McNemar's test below which two models differ."""
MANY = 3
"""Pictures that a sentence names."""


@dataclass(frozen=True, slots=True)
class Check:
    """One judged statement about a server."""

    name: str
    verdict: Verdict
    sentence: str


def overall(checks: Sequence[Check]) -> Verdict:
    """Return the verdict of all checks together. What is shown to be broken is broken, whatever else is not known."""
    verdicts = {check.verdict for check in checks}
    for verdict in (Verdict.NOT_READY, Verdict.BREACH, Verdict.INVALID, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if checks else Verdict.INVALID


def answered(replies: Sequence[Reply]) -> Check:
    """Judge whether every picture got a prediction.

    An error of the server (500), or an answer without a prediction, is a breach. A server that is overloaded or out of
    reach cannot be measured, and neither can pictures that it refuses.
    """
    name = "answers"
    failed = [reply for reply in replies if reply.prediction is None]
    if not failed:
        return Check(name, Verdict.PASS, f"{len(replies)} of {len(replies)} pictures got a prediction.")
    broken = [reply for reply in failed if not reply.refused and not reply.temporary]
    refused = [reply for reply in failed if reply.refused]
    shown = (broken or refused or failed)[0]
    sentence = f"{len(failed)} of {len(replies)} pictures got no prediction; {shown.picture.path}: {shown.problem}."
    if broken:
        return Check(name, Verdict.BREACH, sentence.replace("..", "."))
    advice = " Leave out the pictures that the server refuses." if refused else ""
    return Check(name, Verdict.INVALID, sentence.replace("..", ".") + advice)


def models(replies: Sequence[Reply]) -> Counter[Model]:
    """Return how many predictions each model gave."""
    return Counter(reply.prediction.model for reply in replies if reply.prediction)


def one_model(replies: Sequence[Reply], what: str = "The server") -> Check:
    """Judge whether a single model gave all answers: figures of a mixture are figures of none."""
    by_model = models(replies)
    if len(by_model) == 1:
        return Check("model", Verdict.PASS, f"{what} serves {next(iter(by_model))}.")
    parts = ", ".join(f"{model}: {count} answers" for model, count in by_model.most_common())
    return Check("model", Verdict.INVALID, f"{what} serves several models ({parts}): wait until its rollout is over.")


def accuracy(replies: Sequence[Reply], floor: float, confidence: float, what: str = "") -> Check:
    """Judge whether the accuracy is at least `floor`, by Wilson's bounds at this confidence each."""
    right, count = sum(reply.right for reply in replies), len(replies)
    low, high = wilson_bounds(right, count, confidence)
    observed = f"{what}{right} of {count} pictures are right"
    at_confidence = f"at {100 * confidence:g} % confidence"
    if low >= floor:
        return Check(
            "accuracy",
            Verdict.PASS,
            f"{observed}: an accuracy of at least {low:.3f} {at_confidence}, and the floor is {floor:g}.",
        )
    wrong = some_of((str(reply.picture.path) for reply in replies if not reply.right), MANY)
    if high < floor:
        return Check(
            "accuracy",
            Verdict.BREACH,
            f"{observed}: an accuracy of at most {high:.3f} {at_confidence}, and "
            f"the floor is {floor:g}. Wrong: {wrong}.",
        )
    needed = trials_needed(right / count, floor, confidence)
    more = (
        f"At this accuracy {needed} pictures would show the floor to be kept."
        if needed
        else "The accuracy observed is not above the floor: with more pictures this becomes BREACH or PASS."
    )
    return Check(
        "accuracy",
        Verdict.INCONCLUSIVE,
        f"{observed}: an accuracy of {low:.3f} to {high:.3f} {at_confidence} "
        f"each, which does not tell whether it is above the floor of {floor:g}. {more} Wrong: {wrong}.",
    )


def same_as_recorded(replies: Sequence[Reply], recorded: Mapping[str, Prediction], max_difference: float) -> Check:
    """Judge whether the server gives the answers that were recorded, each within `max_difference` of a probability."""
    name = "recorded"
    predictions = {reply.picture.key: reply.prediction for reply in replies if reply.prediction}
    if missing := [key for key in predictions if key not in recorded]:
        return Check(
            name,
            Verdict.INVALID,
            f"{len(missing)} of {len(predictions)} pictures have no recorded answer, such "
            f"as {missing[0]}: record those of the same pictures.",
        )
    served = {prediction.model for prediction in predictions.values()}
    expected = {recorded[key].model for key in predictions}
    if len(expected) > 1:
        return Check(name, Verdict.INVALID, "The recorded answers are of several models: record them again.")
    (server,), (record,) = served, expected
    if server.sha256 != record.sha256:
        return Check(name, Verdict.BREACH, f"The server serves {server}, and the recorded answers are of {record}.")
    if record.precision and server.precision and record.precision != server.precision:
        return Check(
            name,
            Verdict.INVALID,
            f"The server computes in {server.precision}, and the answers were recorded in "
            f"{record.precision}: record them on a machine like the server's.",
        )
    apart = differing(predictions, recorded, max_difference)
    if apart:
        first = apart[0]
        given, wanted = predictions[first], recorded[first]
        return Check(
            name,
            Verdict.BREACH,
            f"{len(apart)} of {len(predictions)} answers differ from the recorded ones; "
            f"{first}: {given.label} {given.probability:.4f}, recorded {wanted.label} {wanted.probability:.4f}.",
        )
    return Check(
        name,
        Verdict.PASS,
        f"{len(predictions)} answers are the recorded ones, within {max_difference:g} of a probability.",
    )


def not_worse(stable: Sequence[Reply], candidate: Sequence[Reply], max_loss: float | None) -> Check:
    """Judge whether the candidate is as accurate as stable, on the same pictures in the same order.

    McNemar's exact test shows that it is worse. With `max_loss`, Tango's interval must show that it does not lose more.
    """
    name = "comparison"
    pairs = list(zip(stable, candidate, strict=True))
    only_stable = sum(old.right and not new.right for old, new in pairs)
    only_candidate = sum(new.right and not old.right for old, new in pairs)
    p = mcnemar_p_value(only_stable, only_candidate)
    gap = accuracy_difference(only_stable, only_candidate, len(pairs))
    observed = (
        f"{only_stable} of {len(pairs)} pictures are right by stable alone, {only_candidate} by the candidate alone "
        f"(McNemar p = {p:.2g}); the accuracy differs by {100 * gap.estimate:+.1f} points "
        f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    )
    if p < SIGNIFICANT and only_stable > only_candidate:
        return Check(name, Verdict.BREACH, f"The candidate is worse: {observed}.")
    if max_loss is None:
        return Check(name, Verdict.PASS, f"The candidate is not shown to be worse: {observed}.")
    if gap.low >= -max_loss:
        return Check(name, Verdict.PASS, f"The candidate loses at most {100 * max_loss:g} points: {observed}.")
    if gap.high < -max_loss:
        return Check(name, Verdict.BREACH, f"The candidate loses more than {100 * max_loss:g} points: {observed}.")
    return Check(
        name,
        Verdict.INCONCLUSIVE,
        f"Too few pictures tell whether the candidate loses more than {100 * max_loss:g} points: {observed}.",
    )


def agreement(stable: Sequence[Reply], candidate: Sequence[Reply], least: float, confidence: float) -> Check:
    """Judge whether both tracks predict the same class of at least this share of the pictures."""
    name = "agreement"
    pairs = [
        (old.prediction.label, new.prediction.label)
        for old, new in zip(stable, candidate, strict=True)
        if old.prediction and new.prediction
    ]
    if not pairs:
        return Check(name, Verdict.INVALID, "No picture was answered by both tracks.")
    same = sum(old == new for old, new in pairs)
    low, high = wilson_bounds(same, len(pairs), confidence)
    observed = f"Both tracks predict the same class of {same} of {len(pairs)} pictures"
    interval = f"{low:.3f} to {high:.3f} at {100 * confidence:g} % confidence each, and the least is {least:g}"
    if low >= least:
        return Check(name, Verdict.PASS, f"{observed}: {interval}.")
    if high < least:
        return Check(name, Verdict.BREACH, f"{observed}: {interval}.")
    return Check(name, Verdict.INCONCLUSIVE, f"{observed}: {interval}. More pictures would tell.")
