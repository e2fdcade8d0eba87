"""Defaults that the verbs' help names. Only the standard library is imported here."""

from pathlib import Path

SLO = Path(__file__).with_name("slo.yaml")
PROTOCOLS = ("rest", "multipart", "kserve", "grpc")
# Beside the repository's, those of the image, in which the packages lie elsewhere.
SAMPLES = Path("docs", "samples")
OURS = Path(__file__).resolve().parents[1] / SAMPLES
PICTURES = OURS if OURS.is_dir() else SAMPLES
