"""The processes of one job: who they are, what they agree on, and how a failure ends them all."""
