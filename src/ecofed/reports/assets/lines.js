// Accuracy against bytes, rounds or simulated time: a line a method.
class Lines {
  constructor(host, data) {
    this.data = data;
    this.known = Object.keys(AXES).filter((axis) => data.lines.some((line) => line[axis]));
    const state = kept.read("lines", {});
    this.axis = this.known.includes(state.axis) ? state.axis : this.known[0];
    this.off = new Set(state.off ?? []);
    this.logs = { ...Object.fromEntries(this.known.map((axis) => [axis, AXES[axis].log])), ...state.logs };
    this.logY = state.logY ?? false;
    this.controls(make("div", { class: "controls" }, host));
    this.plane = new Plane(make("div", { class: "canvas" }, host), this, "Test accuracy of each method; arrow keys move the cursor");
    this.plane.name = "lines";
    this.legend(make("div", { class: "keys", role: "group", "aria-label": "Lines" }, host));
    make("p", { class: "note" }, host, "Each line follows one method from its first round to its last evaluation, whose accuracy stands at its end. Dotted: what sending every image once would cost. Drag to zoom, once clicked also with the wheel; a double click shows all again. The names switch lines off and on.");
    this.plane.paint();
  }

  keep() {
    kept.write("lines", { axis: this.axis, off: [...this.off], logs: this.logs, logY: this.logY });
  }

  controls(bar) {
    const group = make("span", { role: "group", "aria-label": "Horizontal axis" }, bar);
    const buttons = this.known.map((axis) => {
      const button = make("button", { type: "button", "data-axis": axis }, group, AXES[axis].name);
      button.addEventListener("click", () => {
        this.axis = axis;
        show();
        this.plane.zoom(null);
      });
      return button;
    });
    const check = (name, change) => {
      const label = make("label", {}, bar);
      const box = make("input", { type: "checkbox" }, label);
      label.append(` ${name}`);
      box.addEventListener("change", () => {
        change(box.checked);
        this.keep();
        this.plane.zoom(null);
      });
      return box;
    };
    const logX = check("log x", (on) => (this.logs[this.axis] = on));
    check("log y", (on) => (this.logY = on)).checked = this.logY;
    this.reset = make("button", { type: "button", disabled: "" }, bar, "whole chart");
    this.reset.addEventListener("click", () => this.plane.zoom(null));
    const show = () => {
      buttons.forEach((button) => button.setAttribute("aria-pressed", button.dataset.axis === this.axis));
      logX.checked = this.logs[this.axis];
      this.keep();
    };
    show();
  }

  legend(bar) {
    for (const line of this.data.lines) {
      const button = make("button", { type: "button", "aria-pressed": !this.off.has(line.label) }, bar);
      const sample = draw("svg", { width: 30, height: 14, "aria-hidden": "true" }, button);
      draw("path", { d: "M1 7H29", "stroke-dasharray": line.dash, style: `stroke:${line.colour}`, "stroke-width": line.weight }, sample);
      draw("path", { d: markPath(line.marker, 15, 7, 4), style: `fill:${line.colour}` }, sample);
      button.append(line.label);
      button.addEventListener("click", () => {
        this.off.has(line.label) ? this.off.delete(line.label) : this.off.add(line.label);
        button.setAttribute("aria-pressed", !this.off.has(line.label));
        this.keep();
        this.plane.paint();
      });
    }
  }

  zoomed(on) {
    this.reset.disabled = !on;
  }

  axes() {
    const axis = AXES[this.axis];
    const log = this.logs[this.axis];
    return {
      logX: log,
      logY: this.logY,
      time: this.axis === "seconds",
      formatX: this.axis === "round" ? String : axis.format,
      formatY: (value) => (value < 0.1 && value > 0 ? String(Number(value.toPrecision(2))) : value.toFixed(1 + (Math.round(value * 100) % 10 !== 0))),
      titleX: `${(this.plane?.host.clientWidth ?? 999) < 520 ? axis.short : axis.title}${log ? " (log scale)" : ""}`,
    };
  }

  /** Lines that are on, as points that the axes can show. */
  shown() {
    const log = this.logs[this.axis];
    return this.data.lines.filter((line) => !this.off.has(line.label) && line[this.axis]).map((line) => ({
      ...line,
      points: line[this.axis].map((x, at) => ({ x, y: line.mean[at], low: line.low?.[at], high: line.high?.[at], round: line.rounds[at] }))
        .filter((point) => (!log || point.x > 0) && (!this.logY || point.y > 0)),
    })).filter((line) => line.points.length);
  }

  floors() {
    return this.axis === "bytes" ? this.data.floors.filter((floor) => floor.bytes > 0) : [];
  }

  extent(plane) {
    const lines = this.shown();
    const points = lines.flatMap((line) => line.points);
    const xs = [...points.map((point) => point.x), ...this.floors().map((floor) => floor.bytes)].map((x) => plane.scale(x, plane.logX));
    let [x0, x1] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [0, 1];
    if (!plane.logX) x0 = 0;
    const span = Math.max(x1 - x0, plane.logX ? 0.3 : 1e-9);
    x1 = x0 + span * 1.03;
    if (plane.logX) x0 -= Math.max(0.04, 26 / (plane.right - plane.left)) * span; // words beside the first mark
    if (plane.width >= 620 && lines.length <= 8) {
      // Room for the names beside the lines' ends, about 7 px a character.
      for (const line of lines) {
        const end = plane.scale(line.points.at(-1).x, plane.logX);
        const share = Math.min(0.45, (20 + 7 * (Math.min(line.label.length, 30) + 6)) / (plane.right - plane.left));
        x1 = Math.max(x1, x0 + (end - x0) / (1 - share));
      }
    }
    const highest = Math.max(0.05, ...points.map((point) => point.high ?? point.y));
    const top = [0.1, 0.2, 0.4, 0.6, 0.8, 1].find((each) => highest <= each * 0.96) ?? 1;
    const lowest = Math.min(top, ...points.map((point) => point.low ?? point.y).filter((y) => y > 0));
    return plane.logY ? { x0, x1, y0: Math.log10(lowest) - 0.05, y1: Math.log10(top) } : { x0, x1, y0: 0, y1: top };
  }

  paint(plane) {
    const lines = this.shown();
    const layer = plane.clipped;
    const taken = [];
    for (const line of lines) line.places = line.points.map((point) => [plane.x(point.x), plane.y(point.y)]);
    const dots = lines.flatMap((line) => along(line.places));
    paintFloors(plane, this.floors(), dots, taken);
    lines.slice(0, 12).forEach((line, at) => {
      // A line that lies on another one is dashed, and the one below it wider, so that both are seen.
      line.onTop = lines.slice(0, at).filter((other) => lies(line.places, other.places));
      line.onTop.forEach((other) => (other.below = true));
    });
    for (const line of lines) {
      const style = `stroke:${line.colour}`;
      const path = `M${line.places.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
      if (line.low) {
        const edge = (name) => line.points.map((point) => `${plane.x(point.x).toFixed(1)} ${plane.y(Math.max(point[name], 1e-4)).toFixed(1)}`);
        draw("path", { class: "band", d: `M${[...edge("high"), ...edge("low").reverse()].join("L")}Z`, style: `fill:${line.colour}` }, layer);
      }
      draw("path", {
        class: line.below ? "line below" : "line",
        d: path,
        style,
        "stroke-width": line.weight * (line.below ? 2.4 : 1),
        "stroke-dasharray": line.onTop?.length ? "7 5" : line.dash,
        "data-label": line.label,
      }, layer);
      const marked = line.points.length <= 40 ? line.places : line.places.slice(-1);
      marked.forEach(([x, y], at) => draw("path", { d: markPath(line.marker, x, y, at === marked.length - 1 ? 5 : 2.4), style: `fill:${line.colour}` }, layer));
    }
    if (plane.width >= 620 && lines.length <= 8) {
      for (const { places } of lines) taken.push(around(places.at(-1)));
      paintNames(plane, lines.map((line) => ({ name: line.label, value: line.points.at(-1).y, colour: line.colour, place: line.places.at(-1) })), dots, taken);
    }
  }

  read(plane, px, py) {
    const at = plane.valueAt(px);
    const rows = [];
    const dots = [];
    for (const line of this.shown()) {
      const done = line.points.filter((point) => point.x <= at * (1 + 1e-9));
      if (!done.length) continue;
      const point = done.at(-1);
      const range = point.low !== undefined && point.low !== point.high ? ` (${point.low.toFixed(3)}-${point.high.toFixed(3)})` : "";
      const where = this.axis === "round" ? "" : `, round ${point.round}`;
      rows.push({ colour: line.colour, name: line.label, value: `${point.y.toFixed(3)}${range}${where}`, distance: Math.abs(plane.y(point.y) - py), y: point.y });
      dots.push({ x: plane.x(point.x), y: plane.y(point.y), colour: line.colour });
    }
    const nearest = Math.min(...rows.map((row) => row.distance));
    rows.forEach((row) => (row.strong = row.distance === nearest && rows.length > 1));
    rows.sort((one, two) => two.y - one.y);
    const title = this.axis === "round" ? `round ${Math.floor(at)}` : `after ${AXES[this.axis].format(at)}`;
    return { x: px, title, rows, dots: dots.filter((dot) => dot.x >= plane.left) };
  }
}
