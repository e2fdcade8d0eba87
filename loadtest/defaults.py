"""Defaults that the verbs' help names. Nothing beside the standard library is loaded for them."""

from pathlib import Path

from serving.client.samples import SAMPLES

SLO = Path(__file__).with_name("slo.yaml")
PROTOCOLS = ("rest", "multipart", "kserve", "grpc")
PICTURES = SAMPLES
