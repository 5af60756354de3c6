"""The same questions from the same customers to every front, and one plain model of what each must be answered.

* `world`   a seed's lists, terms, customers, measures, exceptions and questions, and the tables they make
* `model`   the expected verdict, in plain Python over the world's own values
* `people`  why a list reaches a customer or does not
* `measured` what measures do to a customer, and exemptions from them
* `upstream` the resolver behind all fronts
* `fronts`  the servers asked: the plane, and resolvers with the checkpoint in them
* `limits`  what a front cannot express: the table of README, as code
"""
