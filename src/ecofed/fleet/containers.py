"""The container file of a fleet: one file, an image of the server and an image of a device.

The wheel of ecofed has to lie beside it. Nothing secret goes into an image: keys, certificates, pictures are mounted.
"""

from __future__ import annotations

#: Who runs in a container; what is mounted has to be readable by this number.
USER_ID = 10001

CONTAINERFILE = f"""\
# Two images of a fleet. Put the wheel of ecofed (ecofed-*.whl) beside this file, then:
#   podman build --target server --tag ecofed-server .
#   podman build --target device --tag ecofed-device .
# (docker takes the same words.) On a Raspberry Pi the same commands build for ARM.
FROM docker.io/library/python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ENV FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_HOME=/var/lib/ecofed/flwr
RUN useradd --system --uid {USER_ID} --create-home --home-dir /var/lib/ecofed ecofed
COPY ecofed-*.whl /wheels/

# The server trains. Where there is no GPU, PyTorch's CPU build is much smaller: --build-arg PIP_EXTRA_INDEX_URL=...
# names the index that has it, as PyTorch's own installation page gives it.
FROM base AS server
ARG PIP_EXTRA_INDEX_URL
RUN pip install "$(ls /wheels/ecofed-*.whl)[flower,train]"
USER ecofed
WORKDIR /var/lib/ecofed
EXPOSE 9091
ENTRYPOINT ["flower-superlink", "--enable-supernode-auth", "--disable-runtime-dependency-installation", \\
    "--host", "0.0.0.0", "--port", "9091", "--database", "/var/lib/ecofed/superlink.db", \\
    "--ssl-ca-certfile", "/etc/ecofed/ca.crt", "--ssl-certfile", "/etc/ecofed/server.crt", \\
    "--ssl-keyfile", "/etc/ecofed/server.key"]

# A device needs no PyTorch. What follows the image's name is for flower-supernode: the server, its number, its folders.
FROM base AS device
RUN pip install "$(ls /wheels/ecofed-*.whl)[flower,device]"
USER ecofed
WORKDIR /var/lib/ecofed
ENTRYPOINT ["flower-supernode", "--root-certificates", "/etc/ecofed/ca.crt", \\
    "--auth-supernode-private-key", "/etc/ecofed/device.key"]
"""
