# docker build -t gfnet-bench .          what pip installs by itself: torch for CUDA, which runs on a CPU too
#     --build-arg INDEX=ADDRESS          the index of torch's wheels for CPUs alone, for an image a fifth of the size
# docker run --rm -v "$PWD:/work" gfnet-bench robustness --suite mini       with --gpus all where there are any
FROM python:3.11-slim
ARG INDEX=
# OpenCV, which the reference corruptions need, draws on these.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY gfnet_bench /src/gfnet_bench
RUN pip install --no-cache-dir --constraint /src/constraints.txt ${INDEX:+--extra-index-url "$INDEX"} "/src[reference]"
WORKDIR /work
ENTRYPOINT ["gfnet-bench"]
CMD ["--help"]
