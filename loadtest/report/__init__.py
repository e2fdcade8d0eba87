"""The report for people, programs and CI."""
