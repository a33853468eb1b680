"""Rules that decide from a model's norms whether its gradients are healthy, and the words for people.

verdict        the findings of all rules, and the worst of them as the verdict
looked_for     which findings were looked for, and why others were not
rules          one function per finding, and why each rule is as it is
thresholds     the thresholds, with their meanings
profile        the relative gradient over depth
evidence       the numbers that the rules look at
seen           what was seen, in one sentence per rule
explanations   the table of what each finding means and what to try
glossary       what the words mean
debugger       the rules of Amazon SageMaker Debugger, for comparison
"""
