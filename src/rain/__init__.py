"""RAIN."""
