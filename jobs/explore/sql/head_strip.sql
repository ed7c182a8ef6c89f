-- a picture from each tenth of the pictures, from least to most along the text
FROM text_deciles(:text, :head, scan := :scan, basis := :basis)
