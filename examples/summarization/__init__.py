"""CNN/DailyMail: documents, fine-tuning of BART, ROUGE."""
