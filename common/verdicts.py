"""The exit statuses of every gate: load test, comparison of models, promotion."""

PASS = 0
WRONG_USAGE = 2
BREACH = 10  # an objective is not kept, or the new model is worse
INCONCLUSIVE = 11  # too few requests or pictures to know
INVALID = 12  # the measurement says nothing
NOT_READY = 13  # there is no server that is ready
