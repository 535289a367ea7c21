"""Coordination of the processes of a job, and locks between jobs that use the same folder."""
