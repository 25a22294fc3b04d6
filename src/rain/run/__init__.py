"""Stepping searches: deadline, cancelling, streaming."""
