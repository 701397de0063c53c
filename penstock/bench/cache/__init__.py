"""The replay behind `penstock bench cache`: prompts whose right answers are known, put to a running cache service.

`paraphrases` reads them, `traffic` orders them, `answers` says what is right and how it is worded; `replay` plays the
gateway and notes what comes back, `figures` counts, `confidence` says how sure the counts are; `report`, `table` and
`plot` show them.
"""
