"""How negative is a negative? Numbers, verdicts and a suggestion, for given images."""

from nda_augment.auditing.choice import auto_policy
from nda_augment.auditing.intervals import Estimate
from nda_augment.auditing.procedure import audit
from nda_augment.auditing.report import Check, Examples, Measures, Report, Row, Settings

__all__ = ["Check", "Estimate", "Examples", "Measures", "Report", "Row", "Settings", "audit", "auto_policy"]
