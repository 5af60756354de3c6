"""Terms packs into clauses and rules, and what they authorise for a customer. Pure: no file is read here."""
