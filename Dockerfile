# One party: its console, and whatever is started from it. The home is a volume; nothing else is written.
FROM python:3.11-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY protocols protocols
COPY secure_hfl secure_hfl
# The kernel is compiled here; a machine that runs the image needs no compiler.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
COPY --from=build /wheels /wheels
# PyTorch's CPU build first: an open range takes gigabytes of CUDA.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu 'torch>=2.4,<2.14' 'torchvision>=0.19,<0.29' \
    && pip install --no-cache-dir "$(ls /wheels/*.whl)[console,http,data,evaluate,fast,mnist]" \
    && rm -r /wheels \
    && useradd --uid 10001 --create-home party \
    && install --directory --owner party --mode 700 /home/party/.secure-hfl
USER party
WORKDIR /home/party
ENV SECURE_HFL_HOME=/home/party/.secure-hfl PYTHONUNBUFFERED=1
VOLUME /home/party/.secure-hfl
ENTRYPOINT ["secure-hfl"]
CMD ["console", "--no-open"]
