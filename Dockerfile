# One party: its console, and whatever is started from it. The home is a volume; nothing else is written.
#
# BASE: any Debian with Python 3.10 or later, its headers, venv and pip. TORCH_INDEX: where PyTorch's CPU build is.
ARG BASE=docker.io/library/python:3.11-slim
FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY protocols protocols
COPY secure_hfl secure_hfl
# The kernel is compiled here; a machine that runs the image needs no compiler.
RUN python3 -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=build /wheels /wheels
RUN python3 -m venv /opt/secure-hfl
ENV PATH=/opt/secure-hfl/bin:${PATH}
# PyTorch's CPU build first: an open range takes gigabytes of CUDA.
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" 'torch>=2.4,<2.14' 'torchvision>=0.19,<0.29' \
    && pip install --no-cache-dir "$(ls /wheels/*.whl)[console,http,data,evaluate,examples,fast]" \
    && rm -r /wheels \
    && useradd --uid 10001 --create-home party \
    && install --directory --owner party --mode 700 /home/party/.secure-hfl
# party, by number: where a host asks for a user that is not root, it can see that this is none.
USER 10001
WORKDIR /home/party
ENV SECURE_HFL_HOME=/home/party/.secure-hfl PYTHONUNBUFFERED=1
VOLUME /home/party/.secure-hfl
ENTRYPOINT ["secure-hfl"]
CMD ["console", "--no-open"]
