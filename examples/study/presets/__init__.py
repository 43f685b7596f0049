"""What kinds have in common whose cells are trained from scratch with a preset of train.sh."""
