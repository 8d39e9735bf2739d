-- Everything that a user signed is read at once, whoever it is of.
CREATE INDEX key_signatures_by_signer ON key_signatures (signer_nid);
