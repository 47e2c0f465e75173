# The agent's image: the program, the C libraries that it is linked to, and nothing else; no shell.
#
#   docker build -t nodewhy .
#   docker buildx build --platform linux/amd64,linux/arm64 ...     compiles both on this machine, without emulation
#
# The same sources, SOURCE_DATE_EPOCH, base image and packages give the same layers (docs/install.md).
ARG BASE=docker.io/library/rust:1.95.0-slim-trixie

FROM --platform=$BUILDPLATFORM ${BASE} AS build
# Empty: of the machine that builds.
ARG TARGETARCH
# A program that was compiled already, as a path in the context: it is packed instead of compiling.
ARG PREBUILT
# Cargo's profile: `dev` compiles in a quarter of the time, for tests of this file.
ARG PROFILE=release
# snapshot.debian.org's time (20260901T000000Z) to take packages from; empty: the newest.
ARG SNAPSHOT
COPY deploy/image /image
RUN /image/packages
WORKDIR /src
COPY Cargo.toml Cargo.lock ${PREBUILT} ./
COPY benches benches
COPY tests tests
COPY src src
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target /image/compile
RUN /image/rootfs /rootfs

FROM scratch
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="nodewhy" \
      org.opencontainers.image.description="Explains, on each Kubernetes node, why its containers die." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs/ /
ENV PATH=/usr/bin
# The list of pods is read once, in one piece. By default glibc keeps room for another as large: this gives it back. And it
# keeps a heap for each of the threads, most of which wait for most of the time: one heap is half a megabyte less.
ENV GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072:glibc.malloc.arena_max=1
# Root reads the node's logs, which belong to root. What root may do beyond that, the pod's security context takes away.
USER 0
EXPOSE 9909
ENTRYPOINT ["/usr/bin/nodewhy"]
CMD ["agent", "--listen=0.0.0.0:9909"]
