"""Published claims, recomputed: what was found, beside what was published."""

from heavytail.reproduce.claim import Check, Claim, Outcome, Row, Verdict
from heavytail.reproduce.ledger import HEADER, claims, reproduce, table

__all__ = ["HEADER", "Check", "Claim", "Outcome", "Row", "Verdict", "claims", "reproduce", "table"]
