"""Running a pipeline over labelled questions."""
