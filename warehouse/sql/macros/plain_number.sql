-- Neither zeros in front nor behind, nor -0.
regexp_replace(
    regexp_replace(
        regexp_replace(regexp_replace(number, '(\.[0-9]*?)0+$', '\1'), '\.$', ''),
        '^(-?)0+([0-9])', '\1\2'
    ),
    '^-0$', '0'
)
