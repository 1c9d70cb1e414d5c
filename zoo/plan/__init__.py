"""From what a user asks for to cells: settings, budgets applied, suites, studies, matched widths."""
