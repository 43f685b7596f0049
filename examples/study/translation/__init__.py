"""Studies of translation, through scripts/prepare.sh, train.sh, evaluate.sh and compare.sh."""
