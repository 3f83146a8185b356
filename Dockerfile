# Grove alone: the binary on a small Debian. The configuration comes from outside.
FROM rust:1-bookworm AS build
WORKDIR /grove
COPY . .
RUN cargo build --release --locked --bin proxyd

FROM debian:bookworm-slim
# curl serves the health check.
RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
COPY --from=build /grove/target/release/proxyd /usr/local/bin/proxyd
COPY proxy-config.yaml /etc/grove/proxy-config.yaml
USER nobody
# SIGTERM lets open transactions end.
STOPSIGNAL SIGTERM
EXPOSE 3306 3308
ENTRYPOINT ["proxyd"]
CMD ["run", "--config", "/etc/grove/proxy-config.yaml"]
