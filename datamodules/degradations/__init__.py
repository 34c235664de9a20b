"""Degradations: pure functions on numpy images, drawn from an explicit generator."""
