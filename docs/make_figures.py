"""Draw the README's figure from a results folder: python docs/make_figures.py RESULTS docs/figures/overview.png"""

import json
import sys
from pathlib import Path

import xarray as xr

from viewrace.report.style import COLOURS, INK, VIEW_COLOURS, band, figure, look


def line(curves: dict[str, list[float]], name: str) -> tuple[list[float], list[float], list[float]]:
    return curves[f"{name}_estimate"], curves[f"{name}_low"], curves[f"{name}_high"]


def main(results: Path, target: Path) -> None:
    verdicts = {verdict["id"]: verdict for verdict in json.loads((results / "verdicts.json").read_text())}
    single = xr.open_dataset(results / "single-view.nc", engine="h5netcdf")
    with look():
        made, axes = figure(columns=4, width=3.1, height=2.9)
        race, ensemble, student, heirs = axes[0]
        film, label = single["race_correlation"].values, 0
        winner = int(single["race_winner"].values[label])
        for view in range(film.shape[2]):
            wins = view == winner
            style = {"linewidth": 2.2 if wins else 1.3, "color": VIEW_COLOURS[view], "label": f"view {view + 1}"}
            race.plot(single["race_time"], film[:, label, view], **style)
        race.set(
            xscale="log",
            yscale="log",
            xlabel="time on the gradient flow",
            ylabel=r"$\max_r \langle w_r, v\rangle / \rho$",
            title="One network learns one view",
        )
        race.set_xlim(single["race_time"].values[-1] / 1e3, None)
        race.set_ylim(5e-3, None)
        race.legend(loc="upper left")
        curves = verdicts["ensemble"]["curves"]
        ensemble.plot(curves["members"], curves["predicted"], color=INK, linestyle="--", label=r"law $1-(1-1/M)^N$")
        band(ensemble, curves["members"], line(curves, "margin"), COLOURS["margin"], "ensemble")
        ensemble.set(xlabel="members N", title="An ensemble collects them")
        curves = verdicts["distillation"]["curves"]
        data = xr.open_dataset(results / "distillation.nc", engine="h5netcdf")
        student.axhline(float(data["margin_teacher"].mean()), color=INK, linewidth=1.2, label="ensemble")
        band(student, curves["tau"], line(curves, "margin_temperature"), COLOURS["margin"], "student")
        hard = float(data["margin_baseline"].mean())
        student.axhline(hard, color=COLOURS["baseline"], linestyle=":", linewidth=1.6, label="same, hard labels")
        student.set(xscale="log", xlabel="temperature", title="A student keeps them")
        student.set_xticks(curves["tau"], [f"{tau:g}" for tau in curves["tau"]])
        student.minorticks_off()
        curves = verdicts["self-distillation"]["curves"]
        heirs.plot(curves["generation"], curves["predicted"], color=INK, linestyle="--", label=r"law $1-(1-1/M)^{g+1}$")
        for protocol in ("cold", "warm"):
            band(heirs, curves["generation"], line(curves, f"margin_{protocol}"), COLOURS[protocol], protocol)
        heirs.set(xlabel="generation", xticks=curves["generation"], title="Self-distillation gains some")
        for ax in (ensemble, student, heirs):
            ax.set_ylim(0, 1.04)
            ax.legend(loc="lower right")
        ensemble.set_ylabel("view coverage")
    target.parent.mkdir(parents=True, exist_ok=True)
    made.savefig(target, dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
