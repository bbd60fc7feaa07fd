"""Figures, and the report of a test."""
