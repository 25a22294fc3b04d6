"""What a check measured of one judge, as it is kept."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

Verdict: TypeAlias = Literal["can judge", "judges weakly", "cannot judge this", "only recognises refusals"]

OWN = "samples"
"""What :attr:`Calibration.data` says of samples of our own."""


class Calibration(BaseModel):
    """What was measured of one judge: one model, preference, evaluator, placement, wording and style."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    model: str
    """Fingerprint of the weights; never used for another model."""
    preference: str
    builtin: bool | None = None
    """Whether that is one of ours, and not a file that bears the same name; None where an earlier version measured."""
    digest: str
    """Of everything this judge asks, see :func:`rain.preferences.calibration.digest_of`: other words, another judge."""
    evaluator: str
    placement: str
    wording: str
    style: str
    zero: float
    """Evidence of content-free text."""
    slope: float
    """Logistic regression of good on evidence - zero: calibrated soft = tanh(slope (evidence - zero) / 2)."""
    threshold: float
    """Calibrated soft score below which a share of ``false_alarms`` of the good texts lies."""
    false_alarms: float = 0.05
    """Wished for when the threshold was set."""
    held_out_false_alarms: float | None = None
    """Share of good texts below a threshold that was set on others; None where an earlier version measured."""
    caught: float | None = None
    """Share of bad texts below it."""
    mean_good: float | None = None
    """Mean calibrated soft score of the good texts; None where an earlier version measured."""
    mean_bad: float | None = None
    auc: float
    auc_low: float
    auc_high: float
    pair_accuracy: float | None = None
    pair_low: float | None = None
    pair_high: float | None = None
    n: int
    forward_tokens: float
    """For each judgement, beyond the reply itself."""
    verdict: Verdict
    reason: str
    refusing_is_good: bool | None = None
    """Whether the texts that refuse were mostly the good ones; None where none did, or an earlier version measured."""
    data: str
    """What it was measured on: "samples" (our own) or a file's name and digest."""
    version: str
    made: str
    """Date, ISO 8601."""

    @property
    def source(self) -> str:
        """What it was measured on, in words."""
        return "our own samples" if self.data == OWN else self.data.rpartition(" ")[0] or self.data

    @property
    def key(self) -> Key:
        """What it is found by, beside the model."""
        return self.preference, self.digest, self.evaluator, self.placement, self.wording, self.style

    def soft_of(self, value: float) -> float:
        """The mean soft score of texts whose mean score would be ``value`` if each were scored 1 (good) or -1 (bad).

        So V = 0.8 of three-valued scores, nine good texts of ten, asks no more of a judge that is rarely sure.
        """
        if self.mean_good is None or self.mean_bad is None:
            return value
        return self.mean_bad + (value + 1) / 2 * (self.mean_good - self.mean_bad)


Key: TypeAlias = tuple[str, str, str, str, str, str]
