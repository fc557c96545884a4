#!/usr/bin/env bash
# Installs what the tests marked `real` start: PostgreSQL, Redis, etcd, promtool and a Java runtime from the
# distribution (Debian and Ubuntu, as root), Apache Kafka by Maven into build/kafka/lib. Prints nothing when all
# are there. What cannot be had is named, and the exit code is 0 all the same: the tests then skip, or fail
# where MILLRACE_REQUIRE_REAL=1 asks for them. Starts no service and removes nothing.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

KAFKA=4.4.0
LOG4J=2.25.5 # the release that Kafka itself asks for; the broker logs nothing without this binding
KAFKA_DIR=build/kafka
APT_LOG=build/backends-apt.log
POLICY=/usr/sbin/policy-rc.d

# Whether a command is on PATH or where the distributions put servers.
has() {
  PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null
}

# Whether the server programs of PostgreSQL are here: Debian keeps them off PATH.
has_postgresql() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null || has initdb
}

# Whether a Java runtime of 17 or later runs.
has_java() {
  local version
  version=$(java -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p') && [[ -n "$version" ]] && ((version >= 17))
}

# The first of these packages that the distribution has.
available() {
  local package
  for package in "$@"; do
    if apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]'; then
      echo "$package"
      return
    fi
  done
  echo "$1"
}

# Package names of what is missing, one a line. Maven is only needed as long as the jars are not here.
missing() {
  has_postgresql || echo postgresql
  has redis-server || echo redis-server
  has etcd || available etcd-server etcd
  has promtool || echo prometheus
  has_java || available openjdk-17-jre-headless default-jre-headless
  has_kafka || has mvn || echo maven
}

# What Maven resolves: the broker with all it needs at run time.
pom() {
  cat <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$KAFKA</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>$LOG4J</version>
    </dependency>
  </dependencies>
</project>
POM
}

# Whether the jars are those of this pom, all of them: the copy of it is written last.
has_kafka() {
  [[ -d "$KAFKA_DIR/lib" ]] && pom | cmp -s - "$KAFKA_DIR/complete.xml"
}

# A package's own scripts may start its server, unless a policy forbids it; one that is there already stays.
install_packages() {
  if [[ ! -e "$POLICY" ]]; then
    trap 'rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$POLICY" && chmod +x "$POLICY"
  fi
  export DEBIAN_FRONTEND=noninteractive
  mkdir -p build
  apt-get update -qq >"$APT_LOG" 2>&1
  # With empty lists, as in a fresh image, the names of the packages are only known now.
  mapfile -t packages < <(missing)
  echo "Installing ${packages[*]} ..." >&2
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >>"$APT_LOG" 2>&1 || tail -20 "$APT_LOG" >&2
}

install_kafka() {
  echo "Fetching Apache Kafka $KAFKA ..." >&2
  rm -rf "$KAFKA_DIR" && mkdir -p "$KAFKA_DIR" && pom >"$KAFKA_DIR/pom.xml"
  if mvn -B -q -f "$KAFKA_DIR/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$PWD/$KAFKA_DIR/lib" >"$KAFKA_DIR/maven.log" 2>&1; then
    cp "$KAFKA_DIR/pom.xml" "$KAFKA_DIR/complete.xml"
  else
    cat "$KAFKA_DIR/maven.log" >&2
  fi
}

if [[ -n "$(missing)" ]] && has apt-get && ((EUID == 0)); then
  install_packages
fi
if ! has_kafka && has mvn && has_java; then
  install_kafka
fi
if has_kafka && has_java && [[ ! -e "$KAFKA_DIR/kafka.jsa" && -x .venv/bin/python ]]; then
  .venv/bin/python -m millrace_testkit.real.kafka_classes >&2
fi

left=$(missing | tr '\n' ' ')
has_kafka || left+="kafka-$KAFKA-jars "
if [[ -n "$left" ]]; then
  echo "Tests against real servers will skip those that are missing; install: $left" >&2
  echo "(on Debian or Ubuntu run scripts/backends.sh as root; elsewhere PostgreSQL 15, Redis 7.0, etcd 3.4," >&2
  echo "Java 17 and Maven by your package manager, then scripts/backends.sh again for the Kafka jars)" >&2
fi
