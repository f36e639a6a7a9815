"""What a nonlinear flow does while its inputs are held: fixed points, nullclines, bifurcations; each when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from neuroode._errors import Unsupported
from neuroode.analysis.bifurcations import Bifurcation, Diagram, diagram
from neuroode.analysis.curve import Reduced, reduced
from neuroode.analysis.fixed_points import FixedPoint, fixed_points
from neuroode.analysis.held import HeldFlow, held_flow
from neuroode.analysis.nullclines import Nullcline, nullclines
from neuroode.system.types import OdeSystem

MOST_SHOWN = 20  # bifurcations in a text


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Of one neuron, by its numbers `values`; `inputs` are held, `against` is the one that bifurcations sweep.

    `whole`: texts and JSON hold the bifurcations too. `flow` raises Unsupported where there is no flow with held
    inputs; the lists are then empty, and `refusal` says why.
    """

    system: OdeSystem
    values: Mapping[str, complex]
    inputs: Mapping[str, float] = field(default_factory=dict)
    against: str | None = None
    whole: bool = False

    @cached_property
    def _found(self) -> tuple[HeldFlow | None, Reduced | None, tuple[FixedPoint, ...], str, str]:
        try:
            flow = held_flow(self.system, self.values, self.inputs, self.against)
            curve = reduced(flow)
            return flow, curve, *fixed_points(flow, curve, flow.at), ""
        except Unsupported as error:
            return None, None, (), "", error.what

    @property
    def flow(self) -> HeldFlow:
        if self._found[0] is None:
            raise Unsupported(self.refusal)
        return self._found[0]

    @property
    def curve(self) -> Reduced | None:
        """The fixed points as a curve over one coordinate, where the flow reduces to one."""
        return self._found[1]

    @property
    def refusal(self) -> str:
        """Why nothing was looked for; empty where it was."""
        return self._found[4]

    @property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """At the held inputs."""
        return self._found[2]

    @property
    def evidence(self) -> str:
        """Whether their number is proved or sampled."""
        return self._found[3]

    @cached_property
    def nullclines(self) -> tuple[Nullcline, ...]:
        """Of a flow of two coordinates."""
        return () if self._found[0] is None else nullclines(self.flow)

    @cached_property
    def _swept(self) -> tuple[Diagram | None, str]:
        if self._found[0] is None:
            return None, ""
        try:
            return diagram(self.flow, self.curve), ""
        except Unsupported as error:
            return None, error.what

    @property
    def diagram(self) -> Diagram | None:
        """Fixed points over the swept input; None where there is none to sweep."""
        return self._swept[0]

    @property
    def bifurcations(self) -> tuple[Bifurcation, ...]:
        """Saddle-node and Hopf points of the fixed points as the swept input moves, by input."""
        return self.diagram.bifurcations if self.diagram is not None else ()

    def __str__(self) -> str:
        if self.refusal:
            return f"fixed points not looked for: {self.refusal}"
        rows = [f"{self._points_found()}{self._at()}{self._how()}"]
        rows += [f"    {p}" for p in self.fixed_points]
        rows += ["nullclines", *(f"    {n} ({n.evidence})" for n in self.nullclines)] if self.nullclines else []
        rows += self._diagram() if self.whole else []
        return "\n".join(rows)

    def _diagram(self) -> list[str]:
        if self.diagram is None:
            return [f"bifurcations not looked for: {self._swept[1]}"] if self._swept[1] else []
        unit = {i.name: f" ({i.unit})" if i.unit else "" for i in self.system.spec.inputs}[self.diagram.name]
        head = f"bifurcations as {self.diagram.name}{unit} moves, by {self.diagram.method}"
        rows = [f"    {b}" for b in self.bifurcations[:MOST_SHOWN]]
        more = len(self.bifurcations) - len(rows)
        rows += [f"    and {more} more, see --json"] if more else []
        return [head, *rows] if rows else [f"{head}: none"]

    def _points_found(self) -> str:
        return "fixed points" if self.fixed_points else "no fixed point"

    def _at(self) -> str:
        held = dict.fromkeys((i.name for i in self.system.spec.inputs if i.kind == "current"), 0.0) | dict(self.inputs)
        units = {i.name: f" {i.unit}" if i.unit else "" for i in self.system.spec.inputs}
        return " at " + ", ".join(f"{n} = {x:g}{units.get(n, '')}" for n, x in held.items()) if held else ""

    def _how(self) -> str:
        return f" ({self.evidence}: {self._where()})"

    def _where(self) -> str:
        """What a sampled search looked at."""
        if self.evidence == "proved":
            return "real roots of a polynomial, isolated"
        if self.curve is not None:
            low, high = self.curve.grid[[0, -1]]
            return f"zeros along {self.curve.name} from {low:.4g} to {high:.4g}"
        boxes = zip(self.flow.names, self.flow.boxes, strict=True)
        return "Newton's method from points of " + ", ".join(f"{n} in [{a:.4g}, {b:.4g}]" for n, (a, b) in boxes)

    def to_json(self) -> dict[str, object]:
        return {
            "inputs": dict(self.inputs),
            "refusal": self.refusal or None,
            "evidence": self.evidence or None,
            "fixed points": [p.to_json() for p in self.fixed_points],
            "nullclines": [n.to_json() for n in self.nullclines],
            "bifurcations": [b.to_json() for b in self.bifurcations] if self.whole else None,
        }
