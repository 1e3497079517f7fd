"""The audit: does an ensemble help a user's own model, why, and can one network be taught it."""

from viewrace.auditing.audit import Audit, audit_logits
from viewrace.auditing.inputs import read_logits
from viewrace.auditing.run import audit

__all__ = ["Audit", "audit", "audit_logits", "read_logits"]
