"""Every rule that a declaration must obey, in the order in which a mistake is best reported."""

from __future__ import annotations

from neuroode.spec import (
    rules_axes,
    rules_complex,
    rules_events,
    rules_names,
    rules_order,
    rules_time,
    rules_units,
    rules_values,
)
from neuroode.spec.scope import Scope
from neuroode.spec.types import NeuronSpec

RULES = (
    rules_names.reserved,
    rules_names.one_namespace,
    rules_names.states_have_equations,
    rules_axes.declared_axes,
    rules_names.units_are_not_names,
    rules_names.known_functions,
    rules_names.known_names,
    rules_events.resets,
    rules_axes.special_arguments,
    rules_axes.bound_indices,
    rules_time.lags,
    rules_time.delays,
    rules_time.horizon,
    rules_time.whole_sequence,
    rules_order.no_circles,
    rules_complex.complex_values,
    rules_events.refractory,
    rules_events.surrogates,
    rules_events.noise_gradients,
    rules_events.infinity,
    rules_events.impulses,
    rules_values.differentials,
    rules_values.fractional_orders,
    rules_values.domains,
    rules_values.transforms,
    rules_values.inits,
    rules_values.values,
    rules_values.methods,
    rules_units.unit_rules,
    rules_names.nothing_unread,
)


def check(spec: NeuronSpec) -> None:
    """Check a declaration against all rules; the first that is broken is reported.

    Raises:
        SpecError: a rule is broken.
    """
    scope = Scope(spec)
    for rule in RULES:
        rule(scope)
