"""Write each closed period once, as data.py gives it. A closed period is one data version."""

from mlgates import Project, data


def main(project: Project) -> None:
    """Read the periods that data/raw lacks, and list all periods in reports/manifest.json."""
    periods = data.closed_periods(project)
    new = data.absent_periods(project, periods)
    for period in new:
        with data.reading(period):  # an error in data.py is reported with the period
            tables = {data.ROWS: project.data.read(period)}
            for lookup in project.contract.lookups:
                tables[lookup.name] = project.data.lookup(lookup.name, period)
        data.close_period(project, period, tables)
    data.write_manifest(project, periods)
    print(f"ingest: {len(periods)} periods until {periods[-1]}, {len(new)} new")
