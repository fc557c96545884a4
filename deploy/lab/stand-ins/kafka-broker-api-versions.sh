#!/bin/bash
# kafka-broker-api-versions.sh --bootstrap-server HOST:PORT: whether the broker listens. The real one is not among the jars.
exec 3<>"/dev/tcp/${2%:*}/${2#*:}"
