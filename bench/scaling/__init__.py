"""One replica, two behind a balancer, and the plan for any load: docs/reports/scaling.md.

replicas      one replica at saturation, and one of two that is killed
comparison    the queueing model beside two real replicas
queueing      the model itself, and the plan that follows from it
"""
