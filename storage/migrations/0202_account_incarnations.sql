-- Which of the accounts that may have been made with one name, on sites apart, this is: random; empty for accounts from
-- before. What sites tell each other of a user says whose it is.
ALTER TABLE accounts ADD COLUMN incarnation TEXT NOT NULL DEFAULT '';
