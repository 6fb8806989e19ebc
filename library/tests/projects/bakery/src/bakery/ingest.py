"""Stage ingest, as the template has it."""

from bakery import stage
from mlgates import Project, data


def main(project: Project) -> None:
    """Write the closed periods."""
    periods = data.closed_periods(project)
    for period in data.absent_periods(project, periods):
        visits = project.data.lookup("visits", period)
        data.close_period(project, period, {data.ROWS: project.data.read(period), "visits": visits})
    data.write_manifest(project, periods)


if __name__ == "__main__":
    stage.run(main)
