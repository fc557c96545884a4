"""Ports of Millrace and their adapters: bus, coordination."""
