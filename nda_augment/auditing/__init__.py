"""How negative is a negative? Numbers, verdicts and a suggestion, for given images.

A report is data. It is measured in ``measuring``, judged in ``verdicts``, and shown by ``rendering``.
"""

from nda_augment.auditing.rendering import save_html, table
from nda_augment.auditing.report import Check, Estimate, Examples, Measures, Purpose, Report, Row, Settings
from nda_augment.auditing.run import audit
from nda_augment.auditing.suggestion import auto_policy

__all__ = [
    "Check",
    "Estimate",
    "Examples",
    "Measures",
    "Purpose",
    "Report",
    "Row",
    "Settings",
    "audit",
    "auto_policy",
    "save_html",
    "table",
]
