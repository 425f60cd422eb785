# A CloudFS node. `docker build --target client` makes the image of the demonstration's client instead.
FROM node:20-bookworm-slim AS build
WORKDIR /opt/cloudfs
COPY scripts/setup-debian scripts/
RUN scripts/setup-debian build
COPY package.json package-lock.json .npmrc tsconfig.json tsconfig.base.json ./
COPY native native
COPY packages packages
COPY bench/package.json bench/
# Only what a node runs: tests and benchmarks stay out.
RUN npm ci --no-audit --no-fund --loglevel=error \
 && npx tsc -b packages/engine packages/cli \
 && npm run build:native \
 && npm prune --omit=dev --no-audit --no-fund --loglevel=error \
 && rm -rf native/build/release/obj

FROM node:20-bookworm-slim AS node
# libisal: checksums. util-linux (in every Debian): flock, for `cloudfs verify`. qemu-utils: import and export.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends libisal2 qemu-utils tini \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/cloudfs /opt/cloudfs
RUN ln -s /opt/cloudfs/packages/cli/bin/cloudfs.js /usr/local/bin/cloudfs
VOLUME /var/lib/cloudfs
EXPOSE 8090 8091 8092 10809
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
  CMD node -e "fetch('http://127.0.0.1:8091/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
# Ctrl-C's signal ends engine and replicator; SIGTERM would leave the engine, whose container goes with it.
STOPSIGNAL SIGINT
ENTRYPOINT ["tini", "--", "cloudfs"]
CMD ["replicator"]

FROM node AS client
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends fio libnbd-bin \
 && rm -rf /var/lib/apt/lists/*
COPY packaging/docker/client /usr/local/bin/cloudfs-client
HEALTHCHECK NONE
ENTRYPOINT ["tini", "--"]
CMD ["cloudfs-client"]
