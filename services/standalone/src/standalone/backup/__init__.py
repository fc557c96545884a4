"""Backup and restore of one data directory, while it is in use: `docs/backup.md` says what for and how.

Read it in this order: `take` (what is copied, in which order and why), then its parts `metadata`, `databases`, `lake`,
`journals`; `staging` (copies with checksums), `manifest` (what a backup says of itself); `restore`, `lay` (what becomes
different by being restored); `cli`.
"""
