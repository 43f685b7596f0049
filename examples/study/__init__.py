"""The runner of studies: many trainings of any kind of task, one table."""
