"""What users should know about stems although nothing failed, each in one sentence."""

from __future__ import annotations

from unbraid.output.export import Exported


def remark_on_rate(model: str, model_rate: int, sample_rate: int) -> str | None:
    """Where a recording, with its rate in Hz, has a band that the model does not know."""
    if sample_rate <= model_rate:
        return None
    return (
        f"the model '{model}' works at {model_rate / 1000:g} kHz, so stems of recordings at {sample_rate / 1000:g} kHz "
        f"hold nothing above {model_rate / 2000:g} kHz"
    )


def remarks_on(exported: Exported, name: str, num_sources: int) -> list[str]:
    """On the stems of one recording."""
    remarks = [f"'{name}' {remark}" for remark in exported.remarks]
    if exported.is_silent:
        remarks.append(f"'{name}' came out silent: is the recording itself silent?")
    elif exported.hardly_heard:
        stems = " and ".join(exported.hardly_heard)
        remarks.append(
            f"'{name}': hardly anybody is heard in {stems}, so there may be fewer than {num_sources} "
            "speakers; listen to it before you throw it away"
        )
    if exported.uncertain_joins:
        places = "one place" if exported.uncertain_joins == 1 else f"{exported.uncertain_joins} places"
        remarks.append(f"'{name}': the speakers may have changed files at {places}; listen there before you rely on it")
    return remarks
