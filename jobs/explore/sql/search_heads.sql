-- the heads that most tell pictures apart along the text
SELECT name, variance, explained FROM heads_by_vector(:vector::FLOAT[], k := 5, scan := :scan)
