SELECT h.scan_id, h.layer, h.head FROM heads AS h
