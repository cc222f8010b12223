"""Who may serve a request at all."""

from __future__ import annotations

from collections.abc import Iterable

from coe.contracts import Decision, Excluded, Features, PoolView, Ranked, Reason
from coe.engine._guard import Guard
from coe.errors import CoeError, ExpertUnavailable, InvalidRequest, ModelNotFound, NoEligibleExpert
from coe.pool import eligible


def candidates(
    features: Features, view: PoolView, guard: Guard | None = None
) -> tuple[PoolView, tuple[Excluded, ...]]:
    """The experts of the view that can serve the request, at least one, and those that cannot, with reasons.

    Raises:
        CoeError: what the `guard` raises.
        NoEligibleExpert: none can.
        ExpertUnavailable: those that could keep failing.
    """
    fit, excluded = eligible(features, view)
    if guard is not None and fit.experts:
        fit, barred = guard.narrow(fit)
        excluded += barred
    if not fit.experts:
        raise _nobody(excluded)
    return fit, excluded


def requested(expert: str) -> Decision:
    """The decision when the caller named an expert: nothing was routed."""
    return Decision(expert=expert, ranked=(Ranked(expert),), reason=Reason.REQUESTED)


def unknown_model(name: str, routers: Iterable[str], experts: Iterable[str]) -> ModelNotFound:
    """The error for a `model` that is neither a virtual model nor an expert."""
    virtual = ", ".join(f"`{each}`" for each in routers)
    known = ", ".join(f"`{each}`" for each in experts)
    hint = f"Ask for {virtual} to let coe choose, or for an expert: {known}."
    return ModelNotFound(f"No model is called `{name}`.", param="model", hint=hint)


def choose_one(model: str, able: Iterable[str]) -> InvalidRequest:
    """The error for a virtual model where several experts could be meant, and what they say differs."""
    names = ", ".join(f"`{each}`" for each in able)
    return InvalidRequest(
        f"`{model}` stands for several experts that can do this, and their answers cannot be compared.",
        param="model",
        hint=f"Name one of them: {names}.",
    )


def _nobody(excluded: tuple[Excluded, ...]) -> CoeError:
    reasons = "; ".join(f"`{each.expert}` {each.why}" for each in excluded)
    if any("left alone" in each.why for each in excluded):
        return ExpertUnavailable(f"No expert can serve this request now: {reasons}.")
    return NoEligibleExpert(f"No expert can serve this request: {reasons}.")
