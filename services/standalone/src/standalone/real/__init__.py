"""Real mode on one host, for who works on Millrace: `make up`, which is `python -m standalone.real`.

Kafka, PostgreSQL, Redis and etcd from installed programs, with their data below the data directory, then every
process as it runs anywhere, each by its own command. The servers come from `millrace_testkit.real`, which knows
where this repository keeps them; nothing else of standalone needs the testkit.
"""
