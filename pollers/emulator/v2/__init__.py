"""Visual Intelligence (v2), under `/serve/api/v2`: assets, tasks, transcription, the VLM."""
