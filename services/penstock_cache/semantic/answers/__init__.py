"""Whether an explored answer says what the stored one says.

`statements` takes an answer apart and `frames` takes away what is said around it; `facts` reads it with `quantities`,
`language` and `words`; `contrast` sets two beside each other with `company` and `order`; `comparison` decides.
"""
