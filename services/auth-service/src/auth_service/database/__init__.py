"""The relational store: tables, connections and migrations."""
