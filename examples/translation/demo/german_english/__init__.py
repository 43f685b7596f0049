"""A small German-English grammar that writes sentence pairs for the translation demo.

Dependencies point one way: writer -> questions, complex_sentences, embedded_clauses -> sentences ->
planner -> timing -> adverbials, clauses -> phrases -> noun_phrase -> german, english -> lexicon.
"""
