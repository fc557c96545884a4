# The image of one package: docker build --build-arg PACKAGE=ingest-service -f deploy/docker/service.Dockerfile .
#
# PACKAGE is a service (id-service, ingest-service, query-service, auth-service), `standalone` or `millrace`, the
# command line. The image holds its console scripts on PATH and no entry point: compose file and manifests name the
# process, `ingest-service webhook`. Runs as uid 10001 on a read-only root; /var/lib/millrace and /tmp are mounted.
#
# A machine whose packages come from elsewhere says so at build time only; nothing of it ends in the image:
#   --secret id=pip,src=FILE    a pip.conf        --secret id=uv,src=FILE    a uv.toml
#   --secret id=ca,src=FILE     the certificates to trust

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
# The newest Python of the base's own security support; its version is the distribution's to choose.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*


# Each member's pyproject.toml alone: what the packages depend on changes less often than their code.
FROM ${BASE} AS manifests
COPY libs /manifests/libs
COPY services /manifests/services
RUN find /manifests -type f ! -name pyproject.toml -delete && find /manifests -type d -empty -delete


FROM python AS dependencies
ARG UV_VERSION=0.13.9
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils python3-pip \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && python3 -m pip install --quiet --break-system-packages "uv==${UV_VERSION}"
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/millrace \
    UV_PYTHON=/usr/bin/python3 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /source
COPY pyproject.toml uv.lock ./
COPY --from=manifests /manifests ./
ARG PACKAGE
RUN --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
 && uv sync --quiet --frozen --no-dev --no-install-workspace --package "${PACKAGE:?--build-arg PACKAGE=...}"
COPY deploy/docker/slim.sh /usr/local/bin/
RUN slim.sh /opt/millrace


# The workspace's own packages, apart from what they depend on: a new version is a small layer.
FROM dependencies AS packages
COPY libs libs
COPY services services
ARG PACKAGE
RUN --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca,target=/run/secrets/ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
 && touch /tmp/before \
 && uv sync --quiet --frozen --no-dev --no-editable --inexact --package "${PACKAGE}" \
 && find /opt/millrace ! -type d -cnewer /tmp/before -print0 >/tmp/own \
 && tar --create --file=/tmp/own.tar --absolute-names --null --files-from=/tmp/own \
 && mkdir /own && tar --extract --file=/tmp/own.tar --directory=/own


FROM python AS service
RUN groupadd --gid 10001 millrace \
 && useradd --uid 10001 --gid millrace --home-dir /var/lib/millrace --no-create-home --shell /usr/sbin/nologin millrace \
 && install --directory --owner=millrace --group=millrace --mode=0750 /var/lib/millrace /var/lib/millrace-objects
COPY --from=dependencies /opt/millrace /opt/millrace
# Who may change the packages' own code: nobody that runs here, but see Tiltfile.
ARG OWNER=root
COPY --from=packages --chown=${OWNER} /own/opt/millrace /opt/millrace
COPY --chmod=0755 deploy/docker/keep-running deploy/docker/ready /usr/local/bin/
ENV PATH=/opt/millrace/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ARG PACKAGE
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="millrace/${PACKAGE}" \
      org.opencontainers.image.version="${VERSION}"
WORKDIR /var/lib/millrace
USER 10001:10001
CMD ["sh", "-c", "echo 'Name a process, such as: ingest-service webhook' >&2; exit 64"]
