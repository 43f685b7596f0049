"""What a training has left behind: its log, its time, its memory."""
