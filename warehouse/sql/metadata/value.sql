-- As metadata_value, which need not be asked of what is spelled plainly.
CASE WHEN regexp_full_match(said[:at], :plain) THEN said[:at] ELSE metadata_value(metadata, :column) END
