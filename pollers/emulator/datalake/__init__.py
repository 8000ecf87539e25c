"""The Video Datalake ("API 2.0"), under `/serve/datalake/v1`: bare resources, real statuses."""
