"""From a request to cells: settings, budgets applied, suites, studies, matched widths."""
