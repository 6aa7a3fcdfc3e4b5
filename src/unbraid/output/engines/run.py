"""One door to all engines: the same jobs, events and files wherever recordings are separated."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from unbraid.output.batch import run_jobs
from unbraid.output.engines.config import EngineConfig
from unbraid.output.engines.dispatch import Task, dispatch
from unbraid.output.engines.processes import ProcessCrew
from unbraid.output.jobs import BatchEvent, Job
from unbraid.separation.separator import Separator


def run_on(
    jobs: Sequence[Job], separator: Separator, task: Task, engine: EngineConfig
) -> Generator[BatchEvent, None, None]:
    """Runs every job where `engine` says; `separator` is the model in this process, which other engines load anew."""
    if not engine.is_remote:
        return run_jobs(jobs, separator, task.identity, task.output, resume=task.resume)
    if engine.engine == "ray":
        from unbraid.output.engines.ray_actors import RayCrew

        return dispatch(jobs, RayCrew(task, engine), engine.retries)
    return dispatch(jobs, ProcessCrew(task, engine.devices, engine.num_threads), engine.retries)
