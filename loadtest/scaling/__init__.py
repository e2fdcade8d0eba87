"""Throughput by the number of workers and of pods: does it grow in a straight line?"""
