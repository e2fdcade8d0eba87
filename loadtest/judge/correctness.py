"""Correctness of the answers: none contradicts itself, and one model answers, or two in a rollout.

This takes no statistics: one answer whose label is not its most probable class shows that the server is broken.
"""

from collections import Counter
from collections.abc import Sequence

from common.binomial import lower_bound, upper_bound
from common.verdicts import Verdict
from loadtest.generate.recorder import NAMELESS, Collector, Model
from loadtest.judge.summary import Finding
from loadtest.report.words import plain, plural

# Number of parts of the measured time: in a rollout, the old model does not answer in the last ones.
PARTS = 10


def judge_correctness(
    collector: Collector, seconds: Sequence[int], confidence: float, max_models: int
) -> list[Finding]:
    """Judge the answers in the measured seconds; nothing where there was none.

    Args:
        confidence: of the bounds that are shown beside the verdict.
        max_models: models that may answer side by side. In a rollout there is one more, for a time.
    """
    counts = sum((collector.total(name, seconds) for name in collector.names()), Counter())
    count = counts["answered"] + counts["contradictory"]
    if not count:
        return []
    reasons = []
    if counts["contradictory"]:
        reasons.append(f"{counts['contradictory']} of {count} answers contradict themselves")
    bad = counts["contradictory"]
    if reason := too_many_models(models_by_part(collector, seconds), max_models):
        reasons.append(reason)
        answers = models(collector, seconds)
        # The answers of the most frequent models are taken for right.
        bad += answers.total() - sum(number for _, number in answers.most_common(max_models))
    sentence = f"correctness: {'; '.join(reasons)}." if reasons else f"correctness: {count} answers are consistent."
    return [
        Finding(
            name="correctness",
            stage="all",
            objective=1.0,
            asserted=1.0,
            threshold=None,
            count=count,
            bad=bad,
            bad_low=lower_bound(bad, count, confidence),
            bad_high=upper_bound(bad, count, confidence),
            design_effect=1.0,
            verdict=Verdict.BREACH if reasons else Verdict.PASS,
            sentence=plain(sentence),
        )
    ]


def models(collector: Collector, seconds: Sequence[int]) -> Counter[Model]:
    """Count the answers of each model that named itself."""
    measured, counts = set(seconds), Counter[Model]()
    for (second, model), count in collector.models.items():
        if second in measured and model != NAMELESS:
            counts[model] += count
    return counts


def models_by_part(collector: Collector, seconds: Sequence[int]) -> list[set[Model]]:
    """Divide the seconds into equal parts, and return the models that answered in each part with answers."""
    size = max(1, len(seconds) // PARTS)
    parts = [seconds[start : start + size] for start in range(0, len(seconds), size)]
    return [answering for part in parts if (answering := set(models(collector, part)))]


def too_many_models(parts: Sequence[set[Model]], max_models: int) -> str | None:
    """Return why these are not the models of a server, a canary or a rollout; None where they may be."""
    answering = set().union(*parts)
    if len(answering) > max_models + 1:
        return f"{len(answering)} models answered ({listed(answering)}), and a rollout has {max_models + 1} at most"
    if len(answering) <= max_models:
        return None
    if min(len(parts[0]), len(parts[-1])) > max_models:
        return (
            f"{plural(len(answering), 'model')} answered from the beginning to the end ({listed(answering)}), in turn,"
            f" as no rollout does. Where that is meant, as by a canary, say so: --max-models {len(answering)}"
        )
    if max_models == 1 and all(appearances(parts, model) > 1 for model in answering):
        return f"{plural(len(answering), 'model')} answered in turn ({listed(answering)}): each was gone and came back"
    return None


def appearances(parts: Sequence[set[Model]], model: Model) -> int:
    """Count the runs of parts in which a model answered."""
    answered = [model in part for part in parts]
    return sum(now and not before for before, now in zip([False, *answered], answered, strict=False))


def listed(answering: set[Model]) -> str:
    names = sorted(f"{version or 'no version'} {(sha256 or 'no sha256')[:12]}" for version, sha256 in answering)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
