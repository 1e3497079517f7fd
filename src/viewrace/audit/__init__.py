"""The audit: does an ensemble help a user's own model, why, and can one network be taught it."""

from viewrace.audit.audit import Audit, audit_logits
from viewrace.audit.inputs import read_logits

__all__ = ["Audit", "audit_logits", "read_logits"]
