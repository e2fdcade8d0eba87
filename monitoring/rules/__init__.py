"""Prometheus' recording and alerting rules, made from the objectives."""
