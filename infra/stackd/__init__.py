"""What infra/stack does, one subject a file. Python 3.11, standard library only."""
