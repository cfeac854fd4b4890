"""Reports: every bound and complexity measure for a trained net in one table, beside its test error."""

from jaxgen.bounds.report.reports import bound_report as bound_report
from jaxgen.bounds.report.results import BoundReport as BoundReport
from jaxgen.bounds.report.results import Row as Row
from jaxgen.bounds.report.subject import Budget as Budget

__all__ = ["BoundReport", "Budget", "Row", "bound_report"]
